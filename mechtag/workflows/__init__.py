"""Perform users' tasks; the command line, the Python API and the review page call these workflows."""
