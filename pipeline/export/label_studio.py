"""Write coded papers as tasks of Label Studio.

The codes of people become annotations, and the decisions of a model become predictions. A second file contains the
labelling configuration, which the user enters in Label Studio. The format is described at
https://labelstud.io/guide/task_format.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lxml import etree

from mechtag.core.errors import MechtagError
from mechtag.core.files import replacing, write_text
from mechtag.pipeline.export.coded_papers import Code, CodedPaper, CodedPapers, paper_text
from mechtag.pipeline.export.documents import legal_text

_TEXT, _EVIDENCE, _CODES, _RELEVANCE = "text", "evidence", "codes", "relevance"
_INCLUDED, _EXCLUDED = "Included", "Excluded"
# Root of a labelling configuration, and the number of bytes in which it begins.
_VIEW, _HEAD = b"<View", 200


def write(path: Path, coded: CodedPapers) -> tuple[Path, int]:
    """Write coded papers as tasks of Label Studio, and the labelling configuration for these tasks.

    The configuration is written to a file of the same name, but with the extension ``.xml``. A yes becomes a choice,
    and each passage of evidence becomes a labelled span. A passage is left out if the text does not contain it, or if
    its label needs review.

    Returns
    -------
    config : Path
        Path of the configuration.
    left_out : int
        Number of passages that were left out.

    Raises
    ------
    MechtagError
        If the configuration would overwrite a file that is not a labelling configuration.
    """
    config = path.with_suffix(".xml")
    if config.exists() and _VIEW not in config.read_bytes()[:_HEAD]:
        raise MechtagError(
            f"{config}: the labelling configuration cannot be written to this file, because it contains something "
            "else; rename the file, or choose a different name for the output"
        )
    tasks, lost = [], 0
    for number, paper in enumerate(coded.papers, start=1):
        text, _ = paper_text(paper)
        record = paper.record
        task: dict[str, Any] = {
            "id": number,
            "data": {
                "record_id": record.record_id,
                "title": " ".join(record.title.split()),
                "doi": record.doi,
                "year": record.year,
                _TEXT: text,
            },
            "annotations": [],
            "predictions": [],
        }
        coders: dict[str, list[Code]] = {}
        for code in paper.codes:
            coders.setdefault(code.coder, []).append(code)
        for place, (coder, codes) in enumerate(coders.items(), start=1):
            result, missing = _result(paper, codes, coded, f"{number}-{place}")
            lost += missing
            if codes[0].model_id:
                relevance = next((code for code in codes if code.label == coded.codebook.relevance.key), None)
                score = {} if relevance is None or relevance.probability is None else {"score": relevance.probability}
                task["predictions"].append({"model_version": codes[0].model_id, "result": result, **score})
            else:
                date = next((code.date for code in codes if code.date), None)
                created = {"created_at": f"{date}T00:00:00Z"} if date else {}
                task["annotations"].append({"completed_by": {"email": coder}, "result": result, **created})
        tasks.append(task)
    with replacing(config) as part:
        part.write_bytes(_config(coded))
    write_text(path, json.dumps(tasks, ensure_ascii=False, indent=1) + "\n")
    return config, lost


def _result(
    paper: CodedPaper, codes: Sequence[Code], coded: CodedPapers, prefix: str
) -> tuple[list[dict[str, Any]], int]:
    """Return one coder's codes and quotations for Label Studio, and the number of quotations that were left out."""
    text, starts = paper_text(paper)
    names, codebook = coded.names, coded.codebook
    chosen = [names[code.label] for code in codes if code.value == 1 and code.label != codebook.relevance.key]
    result: list[dict[str, Any]] = []
    if chosen:
        result.append(_choices(f"{prefix}-codes", _CODES, chosen))
    for code in codes:
        if code.label == codebook.relevance.key and code.value is not None:
            result.append(_choices(f"{prefix}-relevance", _RELEVANCE, [_INCLUDED if code.value else _EXCLUDED]))
    lost = 0
    for code in codes:
        for quote in code.quotes if code.answer in ("yes", "needs review") else ():
            if quote.start is None or quote.basis not in starts or code.value != 1:
                lost += 1
                continue
            start = starts[quote.basis] + quote.start
            end = start + len(quote.text)
            result.append(
                {
                    **{"id": f"{prefix}-{len(result)}", "type": "labels", "from_name": _EVIDENCE, "to_name": _TEXT},
                    "value": {
                        # Label Studio counts UTF-16 units, as JavaScript does.
                        **{"start": _units(text[:start]), "end": _units(text[:end])},
                        **{"text": text[start:end], "labels": [names[code.label]]},
                    },
                }
            )
    return result, lost


def _choices(name: str, group: str, chosen: Sequence[str]) -> dict[str, Any]:
    value = {"choices": list(chosen)}
    return {"id": name, "type": "choices", "from_name": group, "to_name": _TEXT, "value": value}


def _units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def _config(coded: CodedPapers) -> bytes:
    """Return the labelling configuration for Label Studio as XML."""
    view = etree.Element("View")
    etree.SubElement(view, "Header", value="$title")
    relevance = etree.SubElement(view, "Choices", name=_RELEVANCE, toName=_TEXT, choice="single")
    for word in (_INCLUDED, _EXCLUDED):
        etree.SubElement(relevance, "Choice", value=word)
    codes = etree.SubElement(view, "Choices", name=_CODES, toName=_TEXT, choice="multiple")
    evidence = etree.SubElement(view, "Labels", name=_EVIDENCE, toName=_TEXT)
    names = coded.names
    for label in coded.codebook.labels:
        hint = " ".join(legal_text(label.definition).split())
        etree.SubElement(codes, "Choice", value=names[label.key], hint=hint)
        etree.SubElement(evidence, "Label", value=names[label.key])
    etree.SubElement(evidence, "Label", value=names[coded.codebook.relevance.key])
    etree.SubElement(view, "Text", name=_TEXT, value=f"${_TEXT}")
    return bytes(etree.tostring(view, encoding="UTF-8", xml_declaration=True, pretty_print=True))
