"""The store's versions, one chain, run by `digest init` (Alembic)."""
