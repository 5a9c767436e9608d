"""Briefs: Markdown and the HTML of feeds into stories, whose bodies are trees of blocks and spans."""
