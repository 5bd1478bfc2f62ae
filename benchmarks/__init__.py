"""Comparisons and measurements, one script each. May import anything; nothing imports it."""
