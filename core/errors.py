"""Define the error whose message commands show to users instead of a traceback."""

from __future__ import annotations


class MechtagError(Exception):
    """A problem that the user can act on.

    The message states what was found and where (file, record number, line), what is allowed, and what to do. The
    command line prints the message and exits with status 1.
    """
