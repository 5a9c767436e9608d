"""Checks of a mail: pure functions from a mail to findings. Nothing here fetches, connects or reads a file."""
