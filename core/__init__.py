"""Shared foundations: errors, records, codebook, settings and files. Imports no other mechtag package."""
