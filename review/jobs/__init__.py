"""Provide the jobs of the worker process, one module per kind of job."""
