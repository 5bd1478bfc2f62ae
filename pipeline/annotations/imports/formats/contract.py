"""Read mechtag's own format of codings: CSV, XLSX or JSON lines with one row per paper, coder, label and role."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, get_args

from pydantic import ValidationError

from mechtag.core.records import LATER_FIELDS, Coding, is_llm, is_person
from mechtag.core.tables import CONFIRMED, Value, read_tick
from mechtag.pipeline.annotations.cited_papers import fold, paper_of, text_of
from mechtag.pipeline.annotations.coded_records import Basis
from mechtag.pipeline.annotations.imports.formats.base import Asked, Code, CodingFormat, Content, Item, date_of, faulty
from mechtag.pipeline.annotations.record_finder import identifying
from mechtag.pipeline.reading.tagged import Entry

_NEEDED = {"label", "value"}


def recognise(content: Content) -> bool:
    """Return whether a file has columns for a label, for the value of the label, and for an identifier of the paper."""
    names = set(map(fold, content.names))
    return content.kind != "records" and names >= _NEEDED and bool(identifying(content.names))


def read(content: Content, asked: Asked) -> Iterator[Item]:
    """Yield one `Item` per row of a table of codings; each `Item` has one code.

    If the cell ``value`` is empty, the label is not judged.
    """
    for entry in content.entries:
        yield faulty(entry) if entry.fault else _item(entry)


def _item(entry: Entry) -> Item:
    cells = {fold(name): value for name, value in entry.fields}
    label, basis = text_of(cells.get("label")), text_of(cells.get("basis"))
    role = text_of(cells.get("role"))
    fault = "the label is empty" if not label else ""
    value, unknown = _value(cells.get("value"))
    fault = unknown or fault
    coder, person = text_of(cells.get("coder")), text_of(cells.get(CONFIRMED))
    if is_llm(coder):
        if not is_person(person):
            fault = f"this is a coding by a language model ({coder}) that no person confirmed in '{CONFIRMED}'"
        # The person saw the answer of the model before. The reason is the model's, not the person's.
        coder, cells[CONFIRMED], cells["assisted"], cells["reason"] = person, None, True, None
    if basis and basis not in get_args(Basis):
        fault = f"the basis is {basis[:100]!r}; use {' or '.join(get_args(Basis))}"
    details, wrong = _details(cells, value)
    fault = fault or wrong
    code = Code(
        label=f"{label}: {role}" if role else label,
        value=value,
        coder=coder,
        evidence=text_of(cells.get("evidence")),
        date=date_of(cells.get("date")),
        basis=basis or None,  # type: ignore[arg-type]
        codebook_version=text_of(cells.get("codebook_version")),
        details=details,
    )
    return Item(entry.number, entry.line, paper_of(entry.fields), (code,), fault=fault)


def _details(cells: Mapping[str, Any], value: Value) -> tuple[dict[str, Any], str]:
    """Return the contents of the optional columns, keyed by column name, and an error message.

    If all cells are valid, the message is ``""``. If a cell is invalid, the dict is empty.
    """
    # The role is part of the label here.
    own = {name: cells[name] for name in LATER_FIELDS - {"role"} if cells.get(name) not in (None, "")}
    rest = {"coder": "any", "label": "any", "basis": "abstract", "evidence": text_of(cells.get("evidence"))}
    try:
        coding = Coding.model_validate({**own, **rest, "value": value})
    except ValidationError as error:
        first = error.errors()[0]
        where = f"column '{first['loc'][0]}': " if first["loc"] else ""
        return {}, f"{where}{first['msg'].removeprefix('Value error, ')}"
    return {name: getattr(coding, name) for name in own}, ""


def _value(value: Any) -> tuple[Value, str]:
    """Return the code in a cell (``1``, ``0`` or ``None``), and an error message; ``""`` if the cell is valid."""
    try:
        found = read_tick(str(value) if isinstance(value, bool) else text_of(value))
    except ValueError as error:
        return None, f"value {error}"
    return None if found == "unticked" else found, ""


FORMAT = CodingFormat("coding contract", recognise, read)
