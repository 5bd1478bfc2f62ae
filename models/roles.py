"""The role of a sentence in an abstract."""

from __future__ import annotations

from typing import Literal

#: What a printed heading says: one of `ROLES`, a note (funding, registration, copyright ...), or nothing.
Role = Literal["background", "methods", "results", "note", ""]

#: What a sentence can be.
ROLES = ("background", "methods", "results")
