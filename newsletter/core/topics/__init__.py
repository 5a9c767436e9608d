"""Topics: the catalogue, matching stories to it with the evidence kept, and how good it is."""
