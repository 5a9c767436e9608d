"""What relays report by HTTP: that a call is theirs (signatures.py), and what it says (events.py)."""
