"""Tag the records of a batch of any size."""
