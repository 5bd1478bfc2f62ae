"""Store the annotations that were added by retraining. All versions are kept, and at most one is in use.

The folder ``train.added`` contains one subfolder per version with three files:

- ``codings.jsonl``: all codings added so far;
- ``records.parquet``: the records of these codings;
- ``definitions.json``: the label definitions.

``in_use.json`` names the version that training reads. ``history.jsonl`` records each change of the model. If the
project is a DVC repository, DVC tracks the folder.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from mechtag.core.errors import MechtagError
from mechtag.core.files import StrPath, read_json, write_json, write_jsonl, write_text
from mechtag.core.parquet import read_records, write_records
from mechtag.core.records import LATER_FIELDS, Coding, Record
from mechtag.core.temporary import temporary_folder
from mechtag.pipeline.annotations.coded_records import json_lines


def track_with_dvc(path: Path) -> str:
    """Track a file or folder with DVC, and return its DVC hash; ``""`` if the project does not use DVC.

    Raises
    ------
    MechtagError
        If DVC fails. Files that were already written are kept, so the command can be repeated.
    """
    if not any((parent / ".dvc").is_dir() for parent in path.resolve().parents):
        return ""
    # Call the command line, because DVC guarantees a stable interface for it but not for the library.
    done = subprocess.run(
        [sys.executable, "-m", "dvc", "add", "--quiet", str(path)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise MechtagError(
            f"dvc add {path} failed: {(done.stderr or done.stdout).strip()[:500]}; correct the cause and run "
            "the command again"
        )
    note = yaml.safe_load(path.with_name(f"{path.name}.dvc").read_text(encoding="utf-8"))
    return str(note["outs"][0]["md5"])


CODINGS, RECORDS, DEFINITIONS = "codings.jsonl", "records.parquet", "definitions.json"
IN_USE = "in_use.json"
HISTORY = "history.jsonl"
# Key of ``Additions.definitions`` for the label definitions under which ``train.records`` was coded.
BASE = ""
_NAME = re.compile(r"(\d{1,6})-[0-9a-f]{12}")


@dataclass(frozen=True)
class Additions:
    """All annotations that were added to ``train.records``.

    Attributes
    ----------
    codings
        Codings, each with a record id, in the order in which they were added.
    records
        Records that belong to ``codings`` and are not in ``train.records``, in the order in which they were added.
    definitions
        Label definitions under which the codings were made, keyed by the ``codebook_version`` of the codings. The
        definitions for ``train.records`` have the key ``BASE``. See `mechtag.core.codebook.Codebook.definitions`.
    """

    codings: tuple[Coding, ...] = ()
    records: tuple[Record, ...] = ()
    definitions: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """Return the hash that names this version: a hash of its codings, records and definitions."""
        rows = [*map(_content, self.codings), *(row.model_dump(mode="json") for row in self.records)]
        text = json.dumps([rows, self.definitions], sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def _content(coding: Coding) -> dict[str, Any]:
    """Return the fields of a coding that are part of the hash of a version of the annotations."""
    # Fields that later releases added are left out if they have their default value, so that old hashes remain valid.
    content = coding.model_dump(mode="json")
    return {
        name: value
        for name, value in content.items()
        if name not in LATER_FIELDS or getattr(coding, name) != Coding.model_fields[name].default
    }


def read_additions(folder: StrPath, name: str | None = None) -> Additions:
    """Read a version of the added annotations. By default, the version in use is read.

    If no version is in use, the result is empty.

    Raises
    ------
    MechtagError
        If there is no such version, if it cannot be read, or if it was changed after it was created.
    """
    name = version_in_use(folder) if name is None else name
    if not name:
        return Additions()
    path = _version_folder(folder, name)
    definitions = read_json(path / DEFINITIONS)
    codings = path / CODINGS
    if not codings.is_file():
        raise MechtagError(f"{codings}: no such file; restore it, for example with 'dvc checkout'")
    rows = json_lines(codings, Coding, "codings, one JSON object per line") if codings.stat().st_size else ()
    found = Additions(tuple(row for _, row in rows), tuple(read_records(path / RECORDS)), definitions)
    if found.digest != name.split("-")[1]:
        raise MechtagError(
            f"{path}: the annotations in this folder were changed after they were written (their hash is now "
            f"{found.digest}); restore the folder, for example with 'dvc checkout'. To correct annotations, use "
            "'mechtag retrain'"
        )
    return found


def write_additions(folder: str | Path, additions: Additions) -> str:
    """Write added annotations as a new version, and return the name of the version.

    If a version with the same content exists, its name is returned and nothing is written. The version is written
    completely or not at all.
    """
    folder = Path(folder)
    names = list_versions(folder)
    for name in names:
        if name.endswith(f"-{additions.digest}"):
            return name
    name = f"{1 + max((_number(name) for name in names), default=0)}-{additions.digest}"
    with temporary_folder(folder) as part:
        made = part / name
        made.mkdir()
        write_jsonl(made / CODINGS, additions.codings)
        write_records(made / RECORDS, additions.records)
        write_json(made / DEFINITIONS, additions.definitions)
        made.replace(folder / name)
    return name


def list_versions(folder: StrPath) -> list[str]:
    """Return the names of all versions, the oldest first."""
    found = [path.name for path in Path(folder).glob("*/") if _NAME.fullmatch(path.name)]
    return sorted(found, key=_number)


def version_in_use(folder: StrPath) -> str:
    """Return the name of the version that training reads; ``""`` if there is none.

    Raises `MechtagError` if ``in_use.json`` does not contain the name of a version.
    """
    path = Path(folder) / IN_USE
    if not path.is_file():
        return ""
    name = read_json(path).get("version")
    if not isinstance(name, str) or (name and not _NAME.fullmatch(name)):
        raise MechtagError(
            f"{path}: {name!r} is not a valid version name; restore the file from version control, or write "
            '{"version": ""} into it to train without any version of the annotations'
        )
    return name


def latest_version(folder: StrPath) -> str:
    """Return the name of the version to which the next retraining adds codings; ``""`` if there is none.

    This is the version of the last retraining or rollback. It is not in use if the last retraining did not promote its
    model. Raises the errors of `read_history` and `version_in_use`.
    """
    history = read_history(folder)
    return str(history[-1]["version"]) if history else version_in_use(folder)


def use_version(folder: str | Path, name: str) -> None:
    """Set the version that training reads. If ``name`` is ``""``, training reads no version.

    Raises `MechtagError` if there is no such version.
    """
    if name:
        _version_folder(folder, name)
    write_json(Path(folder) / IN_USE, {"version": name})


def version_files(folder: StrPath, name: str | None = None) -> dict[str, Path]:
    """Return the paths of the files with the codings and the records of one version of the annotations.

    By default, this is the version in use. The paths are keyed by ``VERSION/FILE``, as in the ``config.json`` of a
    model. If no version is in use, the result is empty.
    """
    name = version_in_use(folder) if name is None else name
    return {f"{name}/{file}": Path(folder) / name / file for file in (CODINGS, RECORDS)} if name else {}


def read_history(folder: StrPath) -> list[dict[str, Any]]:
    """Return the history of model changes (promotions, rejected challengers and rollbacks), the oldest first.

    Raises `MechtagError` if a line of ``history.jsonl`` is not a JSON object.
    """
    path = Path(folder) / HISTORY
    if not path.is_file():
        return []
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            rows.append(dict(json.loads(line)))
        except (ValueError, TypeError, RecursionError):
            raise MechtagError(
                f"{path}: line {number}: the line is not a JSON object; restore the file from version control"
            ) from None
    return rows


def append_history(folder: str | Path, row: Mapping[str, Any]) -> None:
    """Append a row to the history of model changes, unless the row equals the last one."""
    rows = read_history(folder)
    if not rows or rows[-1] != row:
        text = "".join(json.dumps(each, ensure_ascii=False, allow_nan=False) + "\n" for each in (*rows, row))
        write_text(Path(folder) / HISTORY, text)


def _number(name: str) -> int:
    return int(name.split("-")[0])


def _version_folder(folder: StrPath, name: str) -> Path:
    path = Path(folder) / name
    if not _NAME.fullmatch(name) or not path.is_dir():
        raise MechtagError(
            f"{path}: there is no such version of the annotations (versions found: "
            f"{', '.join(list_versions(folder)) or 'none'}); "
            "if the version was created on a different machine, fetch it with 'dvc pull'"
        )
    return path
