"""The way out: the ledger, the wire and the run. See `ledger` for the protocol."""
