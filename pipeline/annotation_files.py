"""Files of annotations: a single file or a folder of them, and what is said about the texts of each."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, RootModel

from models.codebook import Strict, read_yaml
from pipeline.errors import MechtagError

#: What the texts of a file are; ``unknown`` where nobody said.
Texts = Literal["synopses", "invented", "published", "unknown"]

#: Name of the set of records that came in by 'mechtag retrain'.
ADDED = "added"
ABOUT = "about.yaml"
_LINES = "*.jsonl"


class About(Strict):
    """What is said about a file of coded records.

    ``title`` is what reports call it. ``texts`` are ``synopses`` of published abstracts in other words,
    ``invented`` texts, or abstracts as ``published``.
    """

    title: str = Field(min_length=1)
    texts: Literal["synopses", "invented", "published"]


class _Abouts(RootModel[dict[str, About]]):
    """Content of ``about.yaml``: by name of the file, without its ending."""


def files_of(path: str | Path, what: str) -> list[Path]:
    """List the files that a setting names: the file itself, or all ``*.jsonl`` of a folder in alphabetical order.

    Parameters
    ----------
    what
        What is expected, for messages.

    Raises
    ------
    MechtagError
        The folder holds no such file, or a table (CSV), which would go unread.
    """
    path = Path(path)
    if not path.is_dir():
        return [path]
    # macOS leaves files such as ._codes.jsonl on shared drives.
    found = sorted(file for file in path.glob(_LINES) if not file.name.startswith("."))
    tables = sorted(file.name for file in path.glob("*.csv"))
    if tables:
        raise MechtagError(
            f"{path}: a folder may hold {_LINES} only, and {', '.join(tables)} would not be read; move the table out, "
            "or name it alone instead of the folder"
        )
    if any(file.stem == ADDED for file in found):
        raise MechtagError(
            f"{path}: the name {ADDED}.jsonl is reserved for what 'mechtag retrain' adds; rename the file"
        )
    if not found:
        raise MechtagError(f"{path}: no {_LINES} in this folder; expected {what}")
    return found


def read_about(path: str | Path, what: str) -> dict[str, tuple[str, Texts]]:
    """Read title and kind of text of each file, by its name without the ending, in the order of `files_of`.

    They are in ``about.yaml`` in the same folder. A file that is not described there goes by its name,
    and its texts are ``unknown``.

    Raises
    ------
    MechtagError
        As `files_of`; or ``about.yaml`` is faulty, or describes a file that is not in the folder.
    """
    path = Path(path)
    files = files_of(path, what)
    about = (path if path.is_dir() else path.parent) / ABOUT
    known: dict[str, About] = {}
    if about.is_file():
        expected = "descriptions of files are a mapping of file name to {title: ..., texts: ...}"
        known = read_yaml(about, _Abouts, missing="no such file", expected=expected, empty={}).root
        here = {file.stem for file in about.parent.glob(_LINES)}
        if strays := sorted(known.keys() - here):
            raise MechtagError(
                f"{about}: describes {', '.join(strays)}, but there is no such *.jsonl in its folder; "
                f"files found: {', '.join(sorted(here)) or 'none'}"
            )
    return {
        file.stem: (known[file.stem].title, known[file.stem].texts) if file.stem in known else (file.stem, "unknown")
        for file in files
    }
