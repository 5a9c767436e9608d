"""An email newsletter service: a brief becomes one mail per reader with just their topics, and a log that closes."""
