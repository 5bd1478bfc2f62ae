"""Run the command line in the process of the test."""

from functools import cache

import typer.testing
from typer.testing import CliRunner, Result

from mechtag.cli.main import app
from mechtag.core.errors import MechtagError

# Without the cache, Typer builds the options of all commands each time that the command line is called.
typer.testing._get_command = cache(typer.testing._get_command)


def call(*words: object) -> tuple[int, str, str]:
    """Run the command line as a shell would, and return exit status, standard output and standard error."""
    result: Result = CliRunner().invoke(app, [str(word) for word in words])
    if isinstance(result.exception, MechtagError):
        return 1, result.stdout, result.exception.on_command_line
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr
