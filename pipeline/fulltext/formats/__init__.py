"""Readers of full texts, one module per format; each reader returns a `document.Draft`."""
