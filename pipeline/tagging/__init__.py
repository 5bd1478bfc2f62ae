"""Tag batches of records of any size."""
