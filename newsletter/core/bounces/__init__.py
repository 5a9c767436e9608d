"""What comes back of the mails that went out, read: bytes in, reports out (reading.py)."""
