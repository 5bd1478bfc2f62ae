"""Tag batches of records; a batch may contain any number of records."""
