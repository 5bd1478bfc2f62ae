"""The user-facing error, for packages that must not import ``models``."""

from models.errors import MechtagError

__all__ = ["MechtagError"]
