"""Presentation of the metrics: HTML report, accuracy table, charts, text for the paper."""
