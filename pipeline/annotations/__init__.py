"""Codings made by people, and their import from other tools."""
