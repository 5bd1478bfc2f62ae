"""The commands: each module parses, calls and prints for some of them; no logic."""
