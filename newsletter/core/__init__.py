"""The pure core: no I/O, no clock, no environment, no logging; a function takes what it needs and returns a value."""
