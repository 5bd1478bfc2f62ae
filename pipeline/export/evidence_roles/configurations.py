"""Read and write ``configurations.csv``, a table of passages with roles that people link into configurations.

A configuration explains a label. It states the context in which a mechanism leads to an outcome. The mechanism consists
of a resource, and of the reasoning with which people respond to the resource. Each row of the table is one passage.
Passages with the same ``config_id`` are linked. A passage without a ``config_id`` has a role, but is not linked to
other passages.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Self

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from mechtag.core.codebook import Codebook
from mechtag.core.errors import MechtagError
from mechtag.core.files import StrPath, write_csv
from mechtag.core.records import Basis, Coding, Rejected, Row, Sign, passages_of
from mechtag.core.tables import TableRow, read_table

_NEEDED = ("config_id", "label", "role", "text")


def _absent(value: Any) -> Any:
    return None if value == "" else value


class RolePassage(Row):
    """A passage of a text, and its role in a configuration (the linked passages that explain a label).

    Attributes
    ----------
    config_id
        Identifier of the configuration. If the passage belongs to no configuration, the value is ``""``.
    record_id
        Identifier of the record. If the passage summarises several papers, the value is ``""``.
    coder
        Name of the coder; ``""`` if the name is not known.
    label
        Key of the label that the configuration explains.
    role
        Key of one of the codebook's roles.
    sign
        Whether the passage says that what the label describes is ``present`` or ``absent``. ``unclear`` if the passage
        says both or neither; ``None`` if the coder did not give a sign.
    start, end
        Offsets of the passage into the abstract or the full text; ``None`` if the offsets are not known.
    text
        Text of the passage.
    order
        Position of the passage in its configuration, from 1.
    basis
        Text that contains the passage: ``abstract`` or ``full-text``; ``None`` if this is not known.
    page
        Page of the full text on which the passage begins; ``None`` if the page is not known.
    """

    config_id: str = ""
    record_id: str = ""
    coder: str = ""
    label: str
    role: str
    sign: Annotated[Sign | None, BeforeValidator(_absent)] = None
    start: Annotated[int | None, BeforeValidator(_absent)] = Field(default=None, ge=0)
    end: Annotated[int | None, BeforeValidator(_absent)] = Field(default=None, ge=1)
    text: str = Field(pattern=r"\S")
    order: Annotated[int | None, BeforeValidator(_absent)] = Field(default=None, ge=1)
    basis: Annotated[Basis | None, BeforeValidator(_absent)] = None
    page: Annotated[str | None, BeforeValidator(_absent)] = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.start is None) != (self.end is None):
            raise ValueError("only one of 'start' and 'end' is filled in; fill in both, or leave both empty")
        if self.start is not None and self.end is not None and self.start >= self.end:
            raise ValueError(f"the passage ends at {self.end}, but begins at {self.start}; correct 'start' or 'end'")
        return self


#: Columns of ``configurations.csv``.
COLUMNS = tuple(RolePassage.model_fields)


class Configurations(NamedTuple):
    """The passages that were read from a table, and the rejected rows, each with its reason."""

    passages: tuple[RolePassage, ...]
    rejected: tuple[Rejected, ...]


def read_configurations(path: StrPath, codebook: Codebook) -> Configurations:
    """Read a table of passages with roles; invalid rows are rejected, each with a reason.

    Passages with the same ``config_id`` form a configuration: together, they explain a label. The columns
    ``config_id``, ``label``, ``role`` and ``text`` are required. A row is rejected in these cases:

    - The label or the role is not in the codebook.
    - A cell has an invalid value.
    - The row repeats an earlier row.
    - An earlier row of the same configuration has a different label or coder.
    - An earlier row of the same configuration has the same ``order``, but a different passage.

    If a passage has several roles, all its rows may have the same ``order``.

    Raises
    ------
    MechtagError
        If the file is missing, is not a table, or lacks a required column.
    """
    table = read_table(path, "a table of configurations, one row per passage", _NEEDED)
    if missing := [name for name in _NEEDED if name not in table.names]:
        raise MechtagError(
            f"{table.path}: the column '{missing[0]}' is missing; add it (columns found: {', '.join(table.names)})"
        )
    passages, rejected = [], []
    owners: dict[str, tuple[str, str]] = {}
    seen: dict[RolePassage, int] = {}
    ordered: dict[tuple[str, int | None], tuple[RolePassage, int]] = {}
    for row in table.rows:
        cells = {name: cell for name, cell in row.cells.items() if name in COLUMNS}
        try:
            passage = RolePassage.model_validate(cells)
        except ValidationError as error:
            rejected.append(_rejected(table.path, row, _described(error)))
            continue
        owner = passage.label, passage.coder
        place = passage.config_id, passage.order
        first, first_row = ordered.get(place, (passage, row.number))
        before = seen.setdefault(passage.model_copy(update={"order": None}), row.number)
        if passage.label not in codebook.keys:
            fault = f"the codebook has no label {passage.label!r}; use one of: {', '.join(codebook.keys)}"
        elif passage.role not in codebook.role_names:
            fault = f"the codebook has no role {passage.role!r}; use one of: {', '.join(codebook.role_names)}"
        elif before != row.number:
            fault = f"the row repeats row {before}; delete one of them"
        elif passage.config_id and owners.setdefault(passage.config_id, owner) != owner:
            label, coder = owners[passage.config_id]
            fault = (
                f"configuration {passage.config_id!r} is about label '{label}'{f', by {coder}' if coder else ''}; use "
                "a different config_id for each label and each coder"
            )
        elif passage.config_id and passage.order and _without_role(first) != _without_role(passage):
            fault = (
                f"row {first_row} is already passage {passage.order} of configuration {passage.config_id!r}; enter a "
                "different 'order' for each passage of a configuration, or leave the cell empty"
            )
        else:
            ordered.setdefault(place, (passage, row.number))
            passages.append(passage)
            continue
        rejected.append(_rejected(table.path, row, fault))
    return Configurations(tuple(passages), tuple(rejected))


def _without_role(passage: RolePassage) -> tuple[object, ...]:
    return passage.record_id, passage.basis, passage.page, passage.start, passage.end, passage.text


def _described(error: ValidationError) -> str:
    faults = []
    for fault in error.errors():
        column = ".".join(map(str, fault["loc"]))
        message = fault["msg"].removeprefix("Value error, ")
        shown = f"{str(fault['input'])[:50]!r}: " if column and fault["type"] != "missing" else ""
        faults.append(f"column {column}: {shown}{message}" if column else message)
    return "; ".join(faults)


def _rejected(path: str, row: TableRow, reason: str) -> Rejected:
    return Rejected(file=Path(path).name, line=row.number, reason=reason, raw=tuple(row.cells.items()))


def write_configurations(path: Path, passages: Iterable[RolePassage]) -> None:
    """Write passages with their roles as a CSV table, which `read_configurations` can read."""
    rows = ([getattr(passage, name) for name in COLUMNS] for passage in passages)
    write_csv(path, COLUMNS, rows, bom=True)


def passages_from(codings: Iterable[Coding]) -> Iterator[RolePassage]:
    """Yield each passage that a coding with a role of evidence quotes.

    The passages are not linked to a configuration.
    """
    for row in codings:
        texts = passages_of(row.evidence) if row.role else []
        signs: Sequence[Sign | None] = row.signs if len(row.signs) == len(texts) else [None] * len(texts)
        for text, sign in zip(texts, signs, strict=True):
            yield RolePassage(
                record_id=row.record_id or row.key or "",
                coder=row.coder,
                label=row.label,
                role=row.role or "",
                sign=sign,
                text=text,
                basis=row.basis,
            )
