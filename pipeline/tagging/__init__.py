"""Tag records, in batches of any size."""
