"""From search exports to tagged records."""
