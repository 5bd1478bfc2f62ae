"""mechtag's own form: one row a paper, coder and label, as CSV, XLSX or JSON lines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

from mechtag.pipeline.annotations.coded_records import Basis
from mechtag.pipeline.annotations.imports.formats.base import (
    NO,
    NOT_JUDGED,
    UNTICKED,
    YES,
    Asked,
    Code,
    CodingFormat,
    Content,
    Item,
    date_of,
    faulty,
    fold,
    paper_of,
    text_of,
)
from mechtag.pipeline.reading.source import Entry

_NEEDED = {"label", "value"}
_PAPER = {"record_id", "key", "doi", "pmid", "title"}


def recognise(content: Content) -> bool:
    """Whether there are columns for a label, its value, and something that names the paper."""
    names = set(map(fold, content.names))
    return content.kind != "records" and names >= _NEEDED and not names.isdisjoint(_PAPER)


def read(content: Content, asked: Asked) -> Iterator[Item]:
    """Read one code a row; an empty value is not judged."""
    for entry in content.entries:
        yield faulty(entry) if entry.fault else _item(entry)


def _item(entry: Entry) -> Item:
    cells = {fold(name): value for name, value in entry.fields}
    label, basis = text_of(cells.get("label")), text_of(cells.get("basis"))
    fault = "the label is empty" if not label else ""
    value, known = _value(cells.get("value"))
    if not known:
        fault = f"value {str(cells.get('value'))[:100]!r} is no code; allowed are 1, 0 and empty (not judged)"
    if basis and basis not in get_args(Basis):
        fault = f"basis {basis[:100]!r}; allowed are {' and '.join(get_args(Basis))}"
    code = Code(
        label=label,
        value=value,
        coder=text_of(cells.get("coder")),
        evidence=text_of(cells.get("evidence")),
        date=date_of(cells.get("date")),
        basis=basis or None,  # type: ignore[arg-type]
        codebook_version=text_of(cells.get("codebook_version")),
    )
    return Item(entry.number, entry.line, paper_of(entry.fields), (code,), fault=fault)


def _value(value: Any) -> tuple[Any, bool]:
    """Value of a code, and whether it is one."""
    word = str(int(value)) if isinstance(value, bool) else text_of(value).casefold()
    if word in YES or word in NO:
        return int(word in YES), True
    return None, word in UNTICKED or word in NOT_JUDGED


FORMAT = CodingFormat("coding contract", recognise, read)
