"""Readers of full texts, one module per format; each reader returns the content of a file as a `document.Draft`."""
