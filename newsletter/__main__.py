"""`python -m newsletter` is the command line too."""

from newsletter.cli import main

main()
