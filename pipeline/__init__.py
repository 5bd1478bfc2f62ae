"""The pipeline from search exports to tagged records: reading, deduplication, splitting, tagging and export."""
