"""Provide the database of a review: an append-only log of events, and tables that are derived from this log."""
