"""Refuse to overwrite files that a command reads, and tables in which a person has entered decisions."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from mechtag.core import delimited, workbook
from mechtag.core.errors import MechtagError
from mechtag.core.files import StrPath
from mechtag.core.source import Source
from mechtag.core.tables import CONFIRMED, DECISION, NOTES, OWN_CODE, is_table, read_table
from mechtag.core.words import counted

# Tables in which people fill in the column 'decision' have one of these too; tables of a model's decisions do not.
_ABOUT_PAPERS = frozenset(("title", "title_1"))


def check_outputs(
    outputs: Iterable[StrPath], sources: Iterable[StrPath | None] = (), *, decided: StrPath | None = None
) -> None:
    """Raise an error, before anything is written, if an output would overwrite a source or a person's decisions.

    Parameters
    ----------
    outputs
        All files that will be written, whether or not they exist.
    sources
        Files and folders that the command reads. ``None`` stands for an optional source that the user did not pass.
    decided
        Output that may contain decisions. The command itself must protect these decisions.

    Raises
    ------
    MechtagError
        In these cases:

        - An output is a source, even under a different path.
        - An output is an existing file in a folder of sources.
        - Two outputs are the same file.
        - An output other than ``decided`` contains decisions that a person entered.
    """
    read = [Path(source) for source in sources if source is not None]
    written: list[Path] = []
    for output in map(Path, outputs):
        if any(_within(output, source) for source in read):
            raise MechtagError(f"{output} would be overwritten, but this command reads it; choose a different output")
        if any(same_file(output, other) for other in written):
            raise MechtagError(
                f"this command would write two results to the same file, {output}; choose different outputs"
            )
        written.append(output)
        if (decided is None or not same_file(output, Path(decided))) and (count := _decisions(output)):
            raise MechtagError(
                f"overwriting {output} would delete {counted(count, 'decision')} that a person filled in; rename the "
                "existing file, or choose a different output"
            )


def digest_of(path: Path) -> str | None:
    """Return the SHA-256 of a file, or ``None`` if there is no file at this path."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


def refuse_changed(path: Path, digest: str | None) -> None:
    """Raise `MechtagError` if a file no longer has the digest that `digest_of` returned before the file was read."""
    if digest_of(path) != digest:
        raise MechtagError(
            f"{path} was changed while this command was running, so it was not overwritten; run the command again, "
            "so that it reads the changes"
        )


def require_csv(output: Path) -> None:
    """Raise a `MechtagError` if the name of the file does not end in ``.csv``."""
    if output.suffix.lower() != ".csv":
        raise MechtagError(f"{output}: the table is written as CSV, so its name must end in .csv")


def same_file(left: Path, right: Path) -> bool:
    """Return whether two paths refer to the same file; the file need not exist."""
    try:
        return left.samefile(right)
    except OSError:  # one of them does not exist
        return os.path.normcase(left.resolve()) == os.path.normcase(right.resolve())


def _within(output: Path, source: Path) -> bool:
    """Return whether writing ``output`` would replace the file ``source``, or a file in the folder ``source``."""
    if source.is_dir():
        return output.exists() and output.resolve().is_relative_to(source.resolve())
    return same_file(output, source)


def _decisions(path: Path) -> int:
    """Return the number of rows of a table in which a person filled in a decision, code, note or confirmation."""
    if not is_table(path) or not path.is_file() or not path.stat().st_size:
        return 0
    try:
        source = Source(path)
        # Most tables have neither column, so reading a large table would be useless.
        if not workbook.recognise(source):
            names = set(map(str.strip, delimited.header(source).names))
            if names.isdisjoint((DECISION, CONFIRMED)):
                return 0
        table = read_table(source, "a table", needed=())
    except MechtagError as error:
        raise MechtagError(
            f"{error}\nThis file would be overwritten, but it may contain decisions that a person filled in; rename "
            "the file, or choose a different output"
        ) from None
    if CONFIRMED in table.names:
        return sum(bool(row.cells[CONFIRMED]) for row in table.rows)
    if DECISION not in table.names or _ABOUT_PAPERS.isdisjoint(table.names):
        return 0
    own = [name for name in table.names if name in (DECISION, NOTES) or name.endswith(OWN_CODE)]
    return sum(any(row.cells[name] for name in own) for row in table.rows)
