"""The database of a review page: an append-only log of what people did, and tables that are derived from it."""
