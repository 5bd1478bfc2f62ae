"""Read projects of qualitative analysis programs (NVivo, MAXQDA, ATLAS.ti, QualCoder) in the REFI-QDA format ``.qdpx``.

If a coder coded a passage with a label, the answer is yes. Projects that mechtag exported also contain variables, which
store the answers ``no`` and ``not judged``. A variable is ignored if its coder also coded the text with the label.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mechtag.core.records import SIGNS, Sign, normalise_doi, normalise_pmid
from mechtag.core.tables import Value
from mechtag.pipeline.annotations.cited_papers import CitedPaper
from mechtag.pipeline.annotations.coded_records import Basis
from mechtag.pipeline.annotations.imports.formats.base import (
    Asked,
    Code,
    CodingFormat,
    Content,
    Item,
    date_of,
    faulty,
    name_in_tree,
)
from mechtag.pipeline.annotations.imports.qda_project import QdaCoding, QdaSource
from mechtag.pipeline.export.coded_papers import VALUES, is_model
from mechtag.pipeline.export.refi_qda import RECORD_ID, REFERRED, code_variable, sign_code
from mechtag.pipeline.export.review_rows import column_names

_BASES: tuple[Basis, ...] = ("abstract", "full-text")


def recognise(content: Content) -> bool:
    """Return whether a file is a REFI-QDA project."""
    return content.kind == "objects" and content.names == ("source",)


def read(content: Content, asked: Asked) -> Iterator[Item]:
    """Yield one item per source (text) of a project, with the codings of all users.

    The suggestions of a model are omitted.
    """
    models: set[str] = set()
    for entry in content.entries:
        if entry.fault:
            yield faulty(entry)
            continue
        source: QdaSource = entry.fields[0][1]
        models |= {coding.coder for coding in source.codings if is_model(coding.coder)}
        codes = tuple(_codes(source, asked))
        finished = tuple(dict.fromkeys(code.coder for code in codes))
        offered = tuple(name_in_tree(path, asked) for path in source.codes)
        yield Item(entry.number, entry.line, _paper(source), codes, finished, offered)
    if models:
        content.notes.append(
            f"the suggestions of {', '.join(sorted(models))} were not read, because no person made them"
        )


def _paper(source: QdaSource) -> CitedPaper:
    variables = {name.casefold(): value for name, value in source.variables.items()}
    title = source.text.partition("\n")[0]
    return CitedPaper(
        names=tuple(filter(None, (variables.get(RECORD_ID), " ".join(source.name.split())))),
        doi=normalise_doi(variables.get("doi")),
        pmid=normalise_pmid(variables.get("pubmed id")),
        title=" ".join((title or source.name).split()),
        text=source.text,
    )


def _codes(source: QdaSource, asked: Asked) -> Iterator[Code]:
    """Yield the codes that people gave to a source (a text).

    The codes are read from the codings of passages and of the whole source, and from the variables in which mechtag
    exports answers.
    """
    names = column_names(asked.labels.codebook.names)
    answers = {
        (key, coder, basis): source.variables[name]
        for key in names
        for coder in source.users
        for basis in _BASES
        if (name := code_variable(names[key], coder, basis)) in source.variables
    }
    bases = {(key, coder): basis for key, coder, basis in answers}
    signs, codings = _signs([coding for coding in source.codings if not is_model(coding.coder)], asked)
    coded = set()
    for coding in codings:
        label, value = _label(coding, asked)
        meaning = asked.labels.find(label)
        key = meaning.key if meaning else None
        coded.add((key, coding.coder))
        sign = signs.get((key, coding.coder, coding.quote))
        details = {"signs": (sign,)} if sign else {}
        basis = bases.get((key or "", coding.coder))
        yield Code(label, value, coding.coder, coding.quote, date_of(coding.date), basis, details=details)
    for (key, coder, basis), answer in answers.items():
        # Each yes is also a coding. If a coder coded the source with a label, the answer for this label is skipped.
        if answer in VALUES and answer != "yes" and (key, coder) not in coded and not is_model(coder):
            yield Code(key, VALUES[answer], coder, basis=basis)


def _signs(
    codings: Sequence[QdaCoding], asked: Asked
) -> tuple[dict[tuple[str | None, str, str], Sign], list[QdaCoding]]:
    """Return the signs of passages (present, absent or unclear), and all other codings.

    The signs are keyed by a tuple of label key, coder and text of the passage. A sign also becomes a coding with its
    label, unless the coder coded the same passage with this label.
    """
    signs: dict[tuple[str | None, str, str], Sign] = {}
    others: list[QdaCoding] = []
    alone: dict[tuple[str | None, str, str], QdaCoding] = {}
    for coding in codings:
        last = coding.path[-1]
        sign = next((one for one in SIGNS if last.endswith(sign_code("", one))), None)
        name = last.removesuffix(sign_code("", sign)) if sign else ""
        meaning = asked.labels.find(name) if sign and not asked.labels.find(last) else None
        if meaning is None or sign is None:
            others.append(coding)
            continue
        place = meaning.key, coding.coder, coding.quote
        alone[place] = coding._replace(path=(*coding.path[:-1], name.strip()))
        if coding.quote:
            signs[place] = sign
    for coding in others:
        known = asked.labels.find(_label(coding, asked)[0])
        alone.pop((known.key if known else None, coding.coder, coding.quote), None)
    return signs, [*others, *alone.values()]


def _label(coding: QdaCoding, asked: Asked) -> tuple[str, Value]:
    """Return the label name and the value of a coding: ``1`` (yes), or ``None`` if the label needs review."""
    name = coding.path[-1].removesuffix(REFERRED)
    if name != coding.path[-1] and asked.labels.find(name):
        return name, None
    name = name_in_tree(coding.path, asked)
    meaning = asked.labels.find(name)
    # A code in a set that is named after a role of evidence has this role, as in ``Trust: Context``.
    role = next(filter(asked.labels.find_role, coding.sets), "")
    if meaning and not meaning.role and asked.labels.find(f"{name}: {role}"):
        return f"{name}: {role}", 1
    return name, 1


FORMAT = CodingFormat("REFI-QDA project", recognise, read)
