"""What comes from outside: briefs from files and feeds over HTTP, lists of people, templates and samples."""
