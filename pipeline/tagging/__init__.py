"""Records to predictions, for batches of any size."""
