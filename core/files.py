"""Write text, JSON and CSV files atomically, and read JSON."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from mechtag.core.errors import MechtagError
from mechtag.core.temporary import temporary_folder
from mechtag.core.words import counted

# Types that are accepted as a path.
StrPath = str | os.PathLike[str]
# A file name that is not UTF-8 contains surrogates, which UTF-8 cannot encode. They are written as \udce4, which JSON
# reads back as the same name.
_ESCAPED = "backslashreplace"


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Write a file atomically: yield a temporary path, and rename the file at this path to ``path`` at the end.

    The caller must write the temporary file. On an error, ``path`` is left unchanged, and the temporary file is
    deleted. If the process is killed, the next run that writes to the same folder deletes the temporary file.
    """
    path = Path(path)
    with temporary_folder(path.parent) as folder:
        part = folder / path.name
        yield part
        part.replace(path)


def write_text(path: str | Path, text: str, encoding: str = "utf-8") -> None:
    """Write a text file atomically, with line endings unchanged."""
    with replacing(path) as part:
        part.write_bytes(text.encode(encoding, errors=_ESCAPED))


def write_json(path: str | Path, data: Mapping[str, Any]) -> None:
    """Write a mapping to a file as indented JSON; raise `ValueError` if the mapping contains NaN."""
    with replacing(path) as part:
        part.write_bytes(json_bytes(data))


def json_bytes(data: Mapping[str, Any]) -> bytes:
    """Convert a mapping to indented JSON, encoded as UTF-8; raise `ValueError` if the mapping contains NaN."""
    return (json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode(errors=_ESCAPED)


def read_json(path: str | Path) -> dict[str, Any]:
    """Read a JSON file that contains a single object.

    Raises
    ------
    MechtagError
        If the file is missing or is not a JSON object.
    """
    path = Path(path)
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise MechtagError(f"{path}: no such file; check the path") from None
    except (ValueError, RecursionError) as error:
        raise MechtagError(
            f"{path}: the file is not readable as JSON: {error}; restore it from a backup, or "
            "repeat the command that wrote it"
        ) from None
    if not isinstance(data, dict):
        raise MechtagError(
            f"{path}: found a value of type {type(data).__name__}, but expected one JSON object ({{...}}); "
            "restore the file from a backup, or repeat the command that wrote it"
        )
    return data


def write_jsonl(path: str | Path, rows: Iterable[BaseModel]) -> None:
    """Write a JSON Lines file with one object per line, atomically."""
    with replacing(path) as part, part.open("w", encoding="utf-8", errors=_ESCAPED, newline="\n") as file:
        for row in rows:
            file.write(json.dumps(row.model_dump(mode="json"), ensure_ascii=False) + "\n")


# First characters that make a spreadsheet treat a cell as a formula; https://owasp.org/www-community/attacks/CSV_Injection.
# The full-width forms are treated as formulas by spreadsheets in East Asian languages.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def neutralise(cell: str) -> str:
    """Put an apostrophe before text that a spreadsheet would run as a formula; return all other text unchanged.

    If a formula already has apostrophes before it, one more is added, so that `restore` recovers the original text.
    """
    return f"'{cell}" if cell.lstrip("'").startswith(_FORMULA_STARTS) else cell


def restore(cell: str) -> str:
    """Return the original text of a cell, without the apostrophe that `neutralise` put before a formula."""
    return cell[1:] if cell.startswith("'") and cell.lstrip("'").startswith(_FORMULA_STARTS) else cell


def write_csv(path: str | Path, header: Sequence[str], rows: Iterable[Sequence[Any]], bom: bool = False) -> None:
    """Write a CSV file (RFC 4180, UTF-8) atomically.

    Parameters
    ----------
    header
        Column names.
    rows
        Cells of each row. Texts are passed through `neutralise`, and ``None`` is written as an empty cell.
    bom
        Whether the file begins with a byte order mark, by which Excel recognises UTF-8.

    Raises
    ------
    ValueError
        If a row has more or fewer cells than the header.
    """
    with (
        replacing(path) as part,
        part.open("w", encoding="utf-8-sig" if bom else "utf-8", errors="replace", newline="") as file,
    ):
        writer = csv.writer(file)
        for row in chain([header], rows):
            if len(row) != len(header):
                raise ValueError(
                    f"write_csv: a row for {path} has {counted(len(row), 'cell')}, but the header has {len(header)}; "
                    "each row must have as many cells as the header"
                )
            writer.writerow([neutralise(cell) if isinstance(cell, str) else cell for cell in row])
