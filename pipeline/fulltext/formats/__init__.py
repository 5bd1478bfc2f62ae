"""Readers of full texts, one module per format: each returns the blocks of a file as a `document.Draft`."""
