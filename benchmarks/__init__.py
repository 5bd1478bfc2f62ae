"""Compare mechtag with other tools and measure it, with one script per comparison or measurement.

The scripts may import any module of mechtag, but no module of mechtag imports them.
"""
