"""Read exports of doccano (JSON lines or JSON): text classification, sequence labelling, or both.

If the members of a project annotate separately, the export has one file per member, which is named after the member. If
they share their annotations, the file is named ``all``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mechtag.pipeline.annotations.cited_papers import paper_of, text_of, texts
from mechtag.pipeline.annotations.imports.formats.base import Asked, Code, CodingFormat, Content, Item, faulty
from mechtag.pipeline.reading.tagged import Entry

_TEXTS = ("text", "data")
_LABELS = ("label", "labels", "entities", "cats", "categories", "annotations")
# File names that do not name a member.
_NOBODY = ("all", "unknown")


def recognise(content: Content) -> bool:
    """Return whether a file consists of objects with a text and labels, but without a key ``value``.

    Objects with a key ``value`` are in mechtag's own format.
    """
    names = set(content.names)
    return (
        content.kind == "objects"
        and not names.isdisjoint(_TEXTS)
        and not names.isdisjoint(_LABELS)
        and "value" not in names
    )


def read(content: Content, asked: Asked) -> Iterator[Item]:
    """Yield one item per text; a text without labels has no codes, because it may not have been annotated yet."""
    member = "" if content.stem.lower() in _NOBODY else content.stem
    if member and asked.coder:
        content.notes.append(
            f"the file name suggests that the coder is {member!r}, but the codes are recorded as those of "
            f"{asked.coder!r}, as you specified; specify no coder if the file name is right"
        )
        member = ""
    elif member:
        content.notes.append(f"the file name suggests that the coder is {member!r}; specify the coder if this is wrong")
    for entry in content.entries:
        yield faulty(entry) if entry.fault else _item(entry, member)


def _item(entry: Entry, member: str) -> Item:
    row = dict(entry.fields)
    text = next((row[name] for name in _TEXTS if isinstance(row.get(name), str)), "")
    meta = row.get("meta")
    # The numbers that doccano assigns do not identify a paper.
    fields = [(name, value) for name, value in entry.fields if name != "id" and name not in _LABELS]
    fields += meta.items() if isinstance(meta, dict) else ()
    codes = tuple(_codes(row, text, member))
    finished = tuple(dict.fromkeys(code.coder for code in codes))
    return Item(entry.number, entry.line, paper_of(fields, text=text), codes, finished)


def _codes(row: Mapping[str, Any], text: str, member: str) -> Iterator[Code]:
    for name in _LABELS:
        values = row.get(name)
        for value in values if isinstance(values, list) else [values]:
            if isinstance(value, str | int):
                yield from (Code(label, 1, member) for label in texts(value))
            elif isinstance(value, list) and len(value) == 3:
                yield Code(text_of(value[2]), 1, member, _quote(text, value[0], value[1]))
            elif isinstance(value, dict) and text_of(value.get("label")):
                coder = text_of(value.get("user")) or member
                yield Code(
                    text_of(value["label"]), 1, coder, _quote(text, value.get("start_offset"), value.get("end_offset"))
                )


def _quote(text: str, start: Any, end: Any) -> str:
    return text_of(text[start:end]) if isinstance(start, int) and isinstance(end, int) and 0 <= start < end else ""


FORMAT = CodingFormat("doccano", recognise, read)
