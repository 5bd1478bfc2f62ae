"""Read search exports into records."""
