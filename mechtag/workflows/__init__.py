"""Workflows that perform a user's tasks; the command line, the Python API and the review page call them."""
