"""What a user asks for, step by step: the command line, the Python API and the review page call these functions."""
