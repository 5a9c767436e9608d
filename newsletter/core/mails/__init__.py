"""Mails: from templates and stories to bytes ready for the wire. Compiled once, filled per person."""
