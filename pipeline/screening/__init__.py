"""Which record to read next, and when to stop."""
