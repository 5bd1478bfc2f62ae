"""Shared foundations: errors, records, codebook, settings and files. This package imports no other mechtag package."""
