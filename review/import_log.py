"""Save the imported records and full texts as text files, from which a lost database can be restored.

The files are next to the log of events, in ``data/review/log``.

The first line of ``import-1.jsonl`` describes import 1. Each further line is a row of one of three tables: ``record``,
``copy`` (duplicates) or ``pair`` (possible duplicates). The file is written again only if its first line would change.
People's actions do not change the file, because the log of events stores them.

``full-text-1.jsonl`` consists of two lines, which together contain one row of table ``full_text``. The second line
contains the text.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Select, Table, func, select

from mechtag.core.errors import MechtagError
from mechtag.core.files import replacing
from mechtag.review.full_texts import log_of_file
from mechtag.review.journal import lines_of
from mechtag.review.store import schema
from mechtag.review.workspace import Workspace

_TABLES: tuple[Table, ...] = (schema.record, schema.copy, schema.pair)
_FILE = schema.full_text
_LONG = (_FILE.c.text, _FILE.c.document, _FILE.c.sentences)


def write_imports(workspace: Workspace) -> None:
    """Write the log files of all imports and full texts that have changed, and delete unneeded log files.

    A log file is unneeded if its import or full text no longer exists. Only the worker process calls this function.
    """
    folder = workspace.folder / "log"
    folder.mkdir(exist_ok=True)
    with workspace.store.read() as connection:
        heads = {path_of(folder, number): head for number, head in _heads(connection)}
        for path, head in heads.items():
            if not path.exists() or _first_line(path) != head:
                _write(connection, path, head)
        texts = dict[Path, dict[str, Any]]()
        for row in connection.execute(select(*(column for column in _FILE.c if column not in _LONG))).all():
            path, head = log_of_file(workspace, row.id), dict(row._mapping)
            texts[path] = head
            if not path.exists() or _first_line(path) != head:
                long = connection.execute(select(*_LONG).where(_FILE.c.id == row.id)).one()
                _write_lines(path, [head, dict(long._mapping)])
    for pattern, known in (("import-*.jsonl", heads), ("full-text-*.jsonl", texts)):
        for path in folder.glob(pattern):
            if path not in known:
                path.unlink()


def path_of(folder: Path, number: int) -> Path:
    """Return the path of the file of an import, such as ``import-1.jsonl`` in the folder of the log."""
    return folder / f"import-{number}.jsonl"


def _heads(connection: Connection) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the number of each import, and the JSON object for the first line of ``import-N.jsonl``."""
    counts = {table.name: {wave: number for wave, number in connection.execute(_counted(table))} for table in _TABLES}
    batches = {row.id: dict(row._mapping) for row in connection.execute(select(schema.batch))}
    # Records that the project had before its first import belong to no batch.
    for number in sorted({*batches, *(wave for found in counts.values() for wave in found)}):
        upload = schema.upload
        uploads = connection.execute(select(upload).where(upload.c.batch == number).order_by(upload.c.name))
        yield (
            number,
            {
                "import": number,
                "batch": batches.get(number),
                "uploads": [dict(row._mapping) for row in uploads],
                "rows": {table.name: counts[table.name].get(number, 0) for table in _TABLES},
            },
        )


def _counted(table: Table) -> Select[Any]:
    return select(table.c.wave, func.count()).group_by(table.c.wave)


def _first_line(path: Path) -> Any:
    with path.open(encoding="utf-8", newline="\n") as file:
        try:
            return json.loads(file.readline())
        except ValueError:
            return None  # The file is written again.


def _write(connection: Connection, path: Path, head: dict[str, Any]) -> None:
    rows = (
        {table.name: dict(row._mapping)}
        for table in _TABLES
        for row in connection.execute(select(table).where(table.c.wave == head["import"]).order_by(table.c.id))
    )
    _write_lines(path, chain([head], rows))


def _write_lines(path: Path, lines: Iterable[Mapping[str, Any]]) -> None:
    with replacing(path) as part, part.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(json.dumps(line, ensure_ascii=False, sort_keys=True) + "\n" for line in lines)
        file.flush()
        os.fsync(file.fileno())


def read_import_log(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the database rows in the log files of imports and full texts, each with the name of its table.

    Imports are read in the order of their numbers, because a row can refer to a row of an earlier import.

    Raises
    ------
    MechtagError
        If a line is damaged, or if rows are missing from a file.
    """
    numbers = sorted(int(path.stem.partition("-")[2]) for path in folder.glob("import-*.jsonl"))
    for path in (path_of(folder, number) for number in numbers):
        try:
            lines = lines_of(path)
            head = json.loads(next(lines, b""))
            missing = dict(head["rows"])
            if head["batch"] is not None:
                yield schema.batch.name, head["batch"]
            yield from ((schema.upload.name, row) for row in head["uploads"])
            for line in lines:
                ((name, row),) = json.loads(line).items()
                missing[name] -= 1
                yield name, row
        except (ValueError, KeyError, TypeError, AttributeError):
            raise _damaged(path) from None
        if any(missing.values()):
            raise _damaged(path)
    for path in sorted(folder.glob("full-text-*.jsonl")):
        try:
            head, rest = map(json.loads, path.read_text(encoding="utf-8").removesuffix("\n").split("\n"))
            yield _FILE.name, {**head, **rest}
        except (ValueError, TypeError):
            raise _damaged(path) from None


def _damaged(path: Path) -> MechtagError:
    return MechtagError(f"{path}: this file is damaged or incomplete; restore it from a backup")
