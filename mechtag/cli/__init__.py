"""The command line, which parses arguments, calls workflows and prints their results."""
