"""The way out: SMTP connections to a relay, and the catching server that stands in for one in the demo."""
