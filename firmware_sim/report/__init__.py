"""What became of every message: the ledger, its accounts, and how people read them."""
