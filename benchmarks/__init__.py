"""Comparisons and measurements, one script each. They may import anything; nothing imports them."""
