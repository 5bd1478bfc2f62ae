"""Deduplicate records: find the records that describe the same paper, and merge them."""
