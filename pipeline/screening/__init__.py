"""Ranking of unread records, and stopping rules."""
