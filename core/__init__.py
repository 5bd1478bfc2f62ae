"""Provide what all other packages build on: errors, records, codebook, settings and files.

This package imports no other package of mechtag.
"""
