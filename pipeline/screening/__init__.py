"""Rank unread records, and decide when reading may stop."""
