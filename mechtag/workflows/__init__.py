"""Workflows: functions that perform the tasks of users, for the command line, the Python API and the review page."""
