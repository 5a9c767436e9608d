"""What is read from files: briefs and feeds, templates and samples. Refuses to fetch anything over the network."""
