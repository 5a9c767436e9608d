"""The migrations of the schema, applied by the program itself."""
