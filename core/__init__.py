"""What everything may import: errors, records, codebook, settings and files. Imports nothing else of mechtag."""
