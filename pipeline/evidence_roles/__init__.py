"""Roles of evidence: passages with their roles, such as context and outcome, linked into configurations."""
