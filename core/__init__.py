"""Provide the shared foundations: errors, records, codebook, settings and files.

This package imports no other package of mechtag.
"""
