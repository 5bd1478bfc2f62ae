"""Read JSON and JSON_MIN exports of Label Studio with choices, taxonomies and labelled text spans.

The format is described on https://labelstud.io/guide/task_format. The export does not contain the labelling interface.
Therefore, it does not show which labels coders could choose from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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

_LABELS = ("choices", "labels", "hypertextlabels", "paragraphlabels", "taxonomy")
# Keys that JSON_MIN writes after the results.
_MIN = ("annotator", "annotation_id", "created_at", "updated_at", "lead_time", "agreement")
_LONGEST_LABEL = 200


def recognise(content: Content) -> bool:
    """Return whether the first object of a file is an annotated task of Label Studio, in JSON or JSON_MIN."""
    names = set(content.names)
    full = "data" in names and not names.isdisjoint({"annotations", "completions"})
    return content.kind == "objects" and (full or {"annotation_id", "lead_time"} <= names)


def read(content: Content, asked: Asked) -> Iterator[Item]:
    """Yield each annotation as an `Item` with its codes. If the coder skipped the task, the item has no codes."""
    for entry in content.entries:
        task = dict(entry.fields)
        if entry.fault:
            yield faulty(entry)
        elif "data" not in task:
            yield _minimal(entry, task)
        else:
            annotations = objects(task.get("annotations", task.get("completions")))
            for annotation in annotations or [{"was_cancelled": True}]:
                yield _item(entry, task, annotation)


def _paper_fields(data: Any) -> tuple[Sequence[tuple[str, Any]], str]:
    """Return the fields of a task that may identify its paper, and the longest text among the fields."""
    fields = list(data.items()) if isinstance(data, dict) else []
    shown = [value for _, value in fields if isinstance(value, str)]
    named = {name.lower(): value for name, value in fields}
    if isinstance(named.get("meta"), dict):
        fields += named["meta"].items()
    # The longest text was probably shown to the coders.
    return fields, max(shown, key=len, default="")


def _item(entry: Entry, task: Mapping[str, Any], annotation: Mapping[str, Any]) -> Item:
    fields, text = _paper_fields(task.get("data"))
    paper = paper_of(fields, text=text)
    if annotation.get("was_cancelled") or annotation.get("skipped"):
        return Item(entry.number, entry.line, paper)
    coder = _coder(annotation.get("completed_by"))
    date = date_of(annotation.get("updated_at") or annotation.get("created_at"))
    codes = tuple(
        Code(label, 1, coder, evidence, date)
        for result in objects(annotation.get("result"))
        for label, evidence in _chosen(result.get("value"))
    )
    return Item(entry.number, entry.line, paper, codes, (coder,))


def _chosen(value: Any) -> list[tuple[str, str]]:
    """Return the labels in one result of an annotation, each with the marked text (``""`` if no text was marked)."""
    if not isinstance(value, dict):
        return []
    text = text_of(value.get("text")) if "start" in value else ""
    labels = [label for kind in _LABELS if kind != "taxonomy" for label in texts(value.get(kind, []))]
    paths = value.get("taxonomy")
    # A choice in a taxonomy is exported as its path from the root.
    labels += [path[-1] for path in map(texts, paths if isinstance(paths, list) else []) if path]
    return [(label, text) for label in labels]


def _coder(value: Any) -> str:
    if isinstance(value, dict):
        name = " ".join(filter(None, (text_of(value.get("first_name")), text_of(value.get("last_name")))))
        return text_of(value.get("email")) or name or text_of(value.get("id"))
    return text_of(value)


def _minimal(entry: Entry, task: Mapping[str, Any]) -> Item:
    """Convert an entry in Label Studio's export format JSON_MIN to a paper with its codes."""
    names = list(task)
    # The fields before ``id`` describe the task, and the fields after ``id`` are the coder's results.
    begin = names.index("id") + 1 if "id" in names else 0
    results = {name: value for name, value in task.items() if name in names[begin:] and name not in _MIN}
    coder, date = _coder(task.get("annotator")), date_of(task.get("updated_at") or task.get("created_at"))
    codes: list[Code] = []
    data = {name: value for name, value in task.items() if name not in results and name not in _MIN and name != "id"}
    for name, value in results.items():
        parts = value if isinstance(value, list) else [value]
        chosen = [pair for part in parts for pair in _chosen(part)]
        # A single choice is written as plain text.
        chosen += [(part, "") for part in parts if isinstance(part, str) and len(part) <= _LONGEST_LABEL]
        codes += [Code(label, 1, coder, evidence, date) for label, evidence in chosen]
        if not chosen:
            data[name] = value
    fields, text = _paper_fields(data)
    return Item(entry.number, entry.line, paper_of(fields, text=text), tuple(codes), (coder,))


FORMAT = CodingFormat("Label Studio", recognise, read)
