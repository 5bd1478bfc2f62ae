"""Workflows that perform users' tasks. The command line, the Python API and the review page call them."""
