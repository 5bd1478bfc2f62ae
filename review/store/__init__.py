"""Store the data of a review in a database: an append-only log of events, and tables that are derived from the log."""
