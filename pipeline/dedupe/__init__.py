"""Records to unique records."""
