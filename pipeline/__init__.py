"""From search exports to tagged records: reading, deduplication, sentence splitting, tagging and export."""
