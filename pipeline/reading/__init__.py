"""Search exports to records."""
