"""Define the error whose message commands show to users instead of a traceback."""

from __future__ import annotations


class MechtagError(Exception):
    """A problem that the user can act on.

    The message states what was found and where (file, record number, line), what is allowed, and what to do. The
    command line prints the message and exits with status 1.

    Parameters
    ----------
    options
        Options of the command that solve the problem, such as ``--coder NAME``. Only the command line shows them,
        because the Python API and the review page have no such options.
    """

    def __init__(self, message: str = "", *, options: str = "") -> None:
        super().__init__(message)
        self.options = options

    @property
    def on_command_line(self) -> str:
        """Return the message, followed by the options in brackets."""
        return f"{self} ({self.options})" if self.options else str(self)
