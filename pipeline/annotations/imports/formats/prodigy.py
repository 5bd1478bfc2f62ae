"""Read JSON lines written by Prodigy's ``db-out``: tasks with categories, choices or spans, and their answers.

The format is described on https://prodi.gy/docs/api-interfaces.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from mechtag.pipeline.annotations.cited_papers import paper_of, text_of, texts
from mechtag.pipeline.annotations.imports.formats.base import (
    Asked,
    Code,
    CodingFormat,
    Content,
    Item,
    date_of,
    faulty,
    objects,
)
from mechtag.pipeline.reading.tagged import Entry

_ANSWERS = ("accept", "reject", "ignore")
_OWN = {"label", "options", "accept", "spans", "tokens", "answer", "config", "meta", "text", "id"}
_LAST_SECOND = 4_102_444_800  # the year 2100


def recognise(content: Content) -> bool:
    """Return whether a file consists of objects with the key ``answer`` or with Prodigy's task hashes."""
    return content.kind == "objects" and not {"answer", "_task_hash", "_input_hash"}.isdisjoint(content.names)


def read(content: Content, asked: Asked) -> Iterator[Item]:
    """Yield each answered task as an `Item` with its codes; a task that the coder ignored has no codes."""
    for entry in content.entries:
        yield faulty(entry) if entry.fault else _item(entry, asked)


def _item(entry: Entry, asked: Asked) -> Item:
    task = dict(entry.fields)
    meta = task.get("meta")
    text = task.get("text")
    fields = [(name, value) for name, value in entry.fields if name not in _OWN and not name.startswith("_")]
    fields += meta.items() if isinstance(meta, dict) else ()
    paper = paper_of(fields, text=text)
    answer = task.get("answer", "accept")
    if answer not in _ANSWERS:
        fault = f"the answer is {str(answer)[:50]!r}; use one of: {', '.join(_ANSWERS)}"
        return Item(entry.number, entry.line, paper, fault=fault)
    coder = text_of(task.get("_annotator_id") or task.get("_session_id"))
    codes = tuple(code._replace(coder=coder, date=_date(task)) for code in _codes(task, answer, asked))
    config = task.get("config")
    offered = [_option(option, asked) for option in objects(task.get("options"))]
    offered += texts(config.get("labels", [])) if isinstance(config, dict) else []
    finished = (coder,) if answer == "accept" and "label" not in task and _labelled(task) else ()
    return Item(entry.number, entry.line, paper, codes, finished, tuple(offered) or None)


def _labelled(task: Mapping[str, Any]) -> bool:
    return "options" in task or "spans" in task or "accept" in task


def _codes(task: Mapping[str, Any], answer: str, asked: Asked) -> Iterator[Code]:
    if label := text_of(task.get("label")):
        # One label, answered yes or no; spans only show why it was asked.
        yield Code(label, {"accept": 1, "reject": 0}.get(answer))  # type: ignore[arg-type]
        return
    if answer != "accept":
        return  # A rejection does not say which of several labels is wrong.
    accepted = set(texts(task.get("accept", [])))
    options = objects(task.get("options"))
    config = task.get("config")
    several = isinstance(config, dict) and config.get("choice_style") == "multiple"
    for option in options:
        chosen = text_of(option.get("id")) in accepted
        # If coders could choose only one option, the options that they did not choose may apply as well.
        if chosen or several:
            yield Code(_option(option, asked), 1 if chosen else 0)
    shown = {text_of(option.get("id")) for option in options}
    yield from (Code(label, 1) for label in sorted(accepted - shown))
    text = task["text"] if isinstance(task.get("text"), str) else ""
    for span in objects(task.get("spans")):
        if label := text_of(span.get("label")):
            start, end = span.get("start"), span.get("end")
            inside = isinstance(start, int) and isinstance(end, int) and 0 <= start < end
            yield Code(label, 1, evidence=text_of(text[start:end]) if inside else "")


def _option(option: Mapping[str, Any], asked: Asked) -> str:
    """Return the label name of an answer option: its id if the id is a label, otherwise its text."""
    name, shown = text_of(option.get("id")), text_of(option.get("text"))
    return shown if shown and not asked.labels.find(name) else name


def _date(task: Mapping[str, Any]) -> str:
    """Return the date of an answer in ISO 8601."""
    # Prodigy stores dates in seconds since 1970.
    seconds = task.get("_timestamp")
    if isinstance(seconds, int | float) and 0 < seconds < _LAST_SECOND:
        return datetime.fromtimestamp(seconds, UTC).date().isoformat()
    return date_of(seconds)


FORMAT = CodingFormat("Prodigy", recognise, read)
