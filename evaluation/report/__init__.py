"""Present the metrics: HTML report, accuracy table, charts, and text for the paper."""
