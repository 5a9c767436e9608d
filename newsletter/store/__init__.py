"""The ledger: all SQL of the service. Functions take a connection; the caller decides where a transaction ends."""
