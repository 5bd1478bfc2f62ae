"""The figures as people read them: HTML report, table, charts, text for the paper."""
