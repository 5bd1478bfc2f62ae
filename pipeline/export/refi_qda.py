"""Write projects (``.qdpx``) and codebooks (``.qdc``) in the REFI-QDA standard.

NVivo, MAXQDA, ATLAS.ti, QualCoder and other programs for qualitative analysis read these files; see
https://www.qdasoftware.org. Before a project is written, it is checked against the published schema,
``schemas/Project-mrt2019.xsd``.
"""

from __future__ import annotations

import io
import re
import uuid
import zipfile
from collections.abc import Iterator, Sequence, Set
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from lxml import etree

from mechtag.core.codebook import Codebook, EvidenceRole, Label, Relevance
from mechtag.core.errors import MechtagError
from mechtag.core.files import replacing
from mechtag.core.records import SIGNS, Basis, Sign
from mechtag.pipeline.export.coded_papers import Code, CodedPaper, CodedPapers, Quote, locate_passage, paper_text
from mechtag.pipeline.export.documents import UndatedZip, legal_text
from mechtag.pipeline.export.evidence_roles.configurations import RolePassage
from mechtag.pipeline.export.review_rows import column_names

PROJECT = "urn:QDA-XML:project:1.0"
CODEBOOK = "urn:QDA-XML:codebook:1.0"
#: Variable of a case that contains the identifier of its record.
RECORD_ID = "record_id"
#: End of the name of the code for passages of labels that were referred; it follows the name of the label.
REFERRED = " (needs review)"
#: First words of the paragraphs that follow the definition in the description of a code.
KEY, INCLUDE, EXCLUDE, ABSENCE = "Key: ", "Include: ", "Exclude: ", "Absence: "
#: First words of the description of a code that is a sign of evidence of a label, and not a label.
SIGN = "Sign of evidence: "
#: First words of the description of a code that is a role of evidence below a label, and not a label.
ROLE = "Role of evidence: "
#: Text between the rules in such a paragraph.
BETWEEN_RULES = "; "

_MEANINGS: dict[Sign, str] = {
    "present": "the passage says that what the label describes is there.",
    "absent": "the passage says that what the label describes is lacking, weak or failing.",
    "unclear": "the passage says both, or neither.",
}
_SCHEMA = Path(__file__).parent / "schemas/Project-mrt2019.xsd"
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "urn:mechtag:refi-qda")
# Programs use the name of a source as a file name.
_FORBIDDEN = re.compile(r'[/\\:*?"<>|\x00-\x1f\x7f-\x9f]+')
_LONGEST_NAME, _LONGEST_EXCERPT = 100, 60
_DATE = re.compile(r"\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])")


def code_variable(name: str, coder: str, basis: Basis) -> str:
    """Return the name of the variable that contains a coder's answer for a label.

    Answers are stored in variables, because a coding in a QDA program can express "yes", but not "no".

    Parameters
    ----------
    name
        Name of the label.
    """
    return _one_line(f"{name}: {coder} ({basis})")


def write_project(path: Path, coded: CodedPapers) -> None:
    """Write papers with their codes as a REFI-QDA project.

    Each paper becomes a text source and a case. The text consists of the title, the abstract and, if known, the full
    text. The variables of the case describe the record, and contain the answers of all coders.

    Each passage becomes a selection with a coding. Positions count code points, and the end is exclusive. A yes without
    a passage becomes a coding of the whole source. A quotation that is not in the text becomes a note on a coding of
    the whole source.

    The answer *needs review* has a separate code below the code of the label. Each sign of a label (present, absent or
    unclear) also has a separate code. A passage with a sign therefore has two codings: one for the label, and one for
    the sign.

    Raises
    ------
    MechtagError
        If the result does not conform to the schema.
    """
    project = _Project(coded)
    document = project.xml()
    if not _schema().validate(document):
        raise MechtagError(
            f"{path}: the REFI-QDA project was not written, because it does not conform to the schema of the standard: "
            f"{_schema().error_log[0]}; please report this error, and export to a different format"
        )
    target = io.BytesIO()
    with UndatedZip(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("project.qde", _bytes(document))
        for guid, text in project.texts.items():
            archive.writestr(f"sources/{guid}.txt", text.encode())
    with replacing(path) as part:
        part.write_bytes(target.getvalue())


def write_codebook(path: Path, codebook: Codebook) -> None:
    """Write a codebook as a REFI-QDA codebook; the description of each code contains the definition and the rules."""
    root = etree.Element(f"{{{CODEBOOK}}}CodeBook", {"origin": "mechtag"}, nsmap={None: CODEBOOK})
    codes = etree.SubElement(root, f"{{{CODEBOOK}}}Codes")
    names = column_names(codebook.names)
    for entry in codebook.entries:
        _add_code(codes, entry, names[entry.key], CODEBOOK)
    with replacing(path) as part:
        part.write_bytes(_bytes(root))


@cache
def _schema() -> Any:
    return etree.XMLSchema(etree.parse(_SCHEMA))


def _bytes(root: Any) -> bytes:
    return bytes(etree.tostring(root, xml_declaration=True, encoding="UTF-8", pretty_print=True))


def _guid(*parts: object) -> str:
    return str(uuid.uuid5(_NAMESPACE, "\n".join(legal_text(str(part)) for part in parts))).upper()


def sign_code(name: str, sign: Sign) -> str:
    """Return the name of the code for a label and a sign, such as ``Trust (absent)``.

    ``name`` is the name of the label. The sign states whether what the label describes is present, absent or unclear.
    """
    return f"{_one_line(name)} ({sign})"


def _add_code(
    parent: Any,
    entry: Label | Relevance,
    name: str,
    namespace: str,
    referred: bool = False,
    roles: Sequence[EvidenceRole] = (),
    signs: Sequence[Sign] = (),
) -> None:
    code = etree.SubElement(
        parent,
        f"{{{namespace}}}Code",
        {"guid": _guid("code", entry.key), "name": _one_line(name), "isCodable": "true"},
    )
    description = etree.SubElement(code, f"{{{namespace}}}Description")
    description.text = _description(entry)
    if referred:
        etree.SubElement(
            code,
            f"{{{namespace}}}Code",
            {"guid": _guid("code", entry.key, "referred"), "name": f"{_one_line(name)}{REFERRED}"}
            | {"isCodable": "true"},
        )
    for role in roles:
        below = etree.SubElement(
            code,
            f"{{{namespace}}}Code",
            {"guid": _guid("code", entry.key, "role", role.key), "name": _one_line(f"{name}: {role.name}")}
            | {"isCodable": "true"},
        )
        etree.SubElement(below, f"{{{namespace}}}Description").text = _one_line(f"{ROLE}{role.definition}")
    for sign in signs:
        below = etree.SubElement(
            code,
            f"{{{namespace}}}Code",
            {"guid": _guid("code", entry.key, "sign", sign), "name": sign_code(name, sign), "isCodable": "true"},
        )
        etree.SubElement(below, f"{{{namespace}}}Description").text = f"{SIGN}{_MEANINGS[sign]}"


def _description(entry: Label | Relevance) -> str:
    parts = [entry.definition, f"{KEY}{entry.key}"]
    parts += [f"{INCLUDE}{BETWEEN_RULES.join(entry.include)}"] if entry.include else []
    parts += [f"{EXCLUDE}{BETWEEN_RULES.join(entry.exclude)}"] if entry.exclude else []
    if isinstance(entry, Label) and entry.absence:
        parts.append(f"{ABSENCE}{BETWEEN_RULES.join(entry.absence)}")
    return legal_text("\n\n".join(" ".join(part.split()) for part in parts))


def _one_line(text: str) -> str:
    return legal_text(" ".join(text.split()))


class _Signed(NamedTuple):
    """The code or role of a passage, together with the sign of the passage."""

    code: Code | RolePassage
    sign: Sign | None


class _Project:
    """Builds a REFI-QDA project from coded papers."""

    def __init__(self, coded: CodedPapers) -> None:
        self._coded = coded
        self._names: set[str] = set()
        self._variables: dict[str, str] = {}  # type by name
        self._notes: list[Any] = []
        self._passages: dict[str, list[RolePassage]] = {}
        # A passage that is in several configurations is coded once.
        alone = (one.model_copy(update={"config_id": "", "order": None}) for one in coded.passages)
        for passage in dict.fromkeys(alone):
            self._passages.setdefault(passage.record_id, []).append(passage)
        # Label and sign of the passages that were written.
        self._signs: set[tuple[str, Sign]] = set()
        # Text of each source, keyed by the GUID of the source.
        self.texts: dict[str, str] = {}

    def xml(self) -> Any:
        book = self._coded.codebook
        referred = {code.label for code in self._coded.codes if code.refer}
        root = _element("Project", name=_one_line(book.title or book.name), origin="mechtag")
        # Variables and notes come before the sources in the file, but are known only after all papers were added.
        sources, cases = _element("Sources"), _element("Cases")
        for paper in self._coded.papers:
            self._add(paper, sources, cases)
        users = [_element("User", guid=_guid("user", name), name=_one_line(name)) for name in self._coded.coders]
        root.append(_element("Users", *users))
        codebook, codes = _element("CodeBook"), _element("Codes")
        codebook.append(codes)
        written = {paper.record.record_id for paper in self._coded.papers}
        used = {(one.label, one.role) for one in self._coded.passages if one.record_id in written}
        for entry in book.entries:
            roles = [role for role in book.roles if (entry.key, role.key) in used]
            signs = [sign for sign in SIGNS if (entry.key, sign) in self._signs]
            _add_code(codes, entry, self._coded.names[entry.key], PROJECT, entry.key in referred, roles, signs)
        variables = [
            _element("Variable", guid=_guid("variable", name), name=_one_line(name), typeOfVariable=kind)
            for name, kind in self._variables.items()
        ]
        root.extend((codebook, _element("Variables", *variables), cases, sources))
        if self._notes:
            root.append(_element("Notes", *self._notes))
        if used:
            sets = (_set_of(role, book, used) for role in book.roles if any(key == role.key for _, key in used))
            root.append(_element("Sets", *sets))
        return root

    def _add(self, paper: CodedPaper, sources: Any, cases: Any) -> None:
        record = paper.record
        guid, name = _guid("source", record.record_id), self._name(paper)
        text, starts = paper_text(paper)
        self.texts[guid] = text
        source = _element("TextSource", guid=guid, name=name, plainTextPath=f"internal://{guid}.txt")
        spans: dict[tuple[int, int], list[_Signed]] = {}
        whole: list[tuple[Code | RolePassage, Quote | None]] = []
        for code in paper.codes:
            if code.answer in ("yes", "needs review"):
                placed = [quote for quote in code.quotes if quote.start is not None and quote.basis in starts]
                for quote in placed:
                    start = starts[quote.basis] + (quote.start or 0)
                    spans.setdefault((start, start + len(quote.text)), []).append(_Signed(code, quote.sign))
                lost = [quote for quote in code.quotes if quote not in placed]
                whole += [(code, quote) for quote in lost] or ([] if placed else [(code, None)])
        for passage in self._passages.get(record.record_id, ()):
            quote = locate_passage(passage, paper)
            if quote.start is None or quote.basis not in starts:
                whole.append((passage, quote._replace(sign=passage.sign)))
            else:
                start = starts[quote.basis] + quote.start
                spans.setdefault((start, start + len(quote.text)), []).append(_Signed(passage, passage.sign))
        for (start, end), codes in sorted(spans.items()):
            selection = _element(
                "PlainTextSelection",
                guid=_guid("selection", record.record_id, start, end),
                name=" ".join(text[start:end].split())[:_LONGEST_EXCERPT],
                startPosition=str(start),
                endPosition=str(end),
                **_user(codes[0].code),
            )
            selection.extend(_coding(each.code, record.record_id, start, end) for each in codes)
            # A passage that has a role in evidence of a label may also be evidence of the label itself.
            signed = {(each.code.label, each.sign, each.code.coder): each for each in codes if each.sign}
            selection.extend(self._sign(each, record.record_id, start, end) for each in signed.values())
            source.append(selection)
        for number, (given, lost_quote) in enumerate(whole):
            coding = _coding(given, record.record_id, "whole", number)
            source.append(coding)
            if lost_quote:
                note = self._note(lost_quote.text, record.record_id, given, number)
                coding.append(note)
                if lost_quote.sign:
                    sign = self._sign(_Signed(given, lost_quote.sign), record.record_id, "whole", number)
                    sign.append(deepcopy(note))
                    source.append(sign)
        sources.append(source)
        case = _element("Case", guid=_guid("case", record.record_id), name=name)
        case.extend(self._values(paper))
        case.append(_element("SourceRef", targetGUID=guid))
        cases.append(case)

    def _name(self, paper: CodedPaper) -> str:
        """Return a unique name for the source that contains a paper's text."""
        record = paper.record
        author = record.authors[0].split(",")[0] if record.authors else ""
        parts = filter(None, (author, str(record.year or ""), record.title))
        whole = _one_line(_FORBIDDEN.sub(" ", " ".join(parts))) or "untitled"
        name, number = whole[:_LONGEST_NAME].rstrip(" ."), 1
        while name.casefold() in self._names:
            number += 1
            end = f" ({number})"
            name = whole[: _LONGEST_NAME - len(end)].rstrip(" .") + end
        self._names.add(name.casefold())
        return name

    def _note(self, text: str, record_id: str, code: Code | RolePassage, number: int) -> Any:
        guid = _guid("note", record_id, code.label, code.coder, number)
        note = _element("Note", guid=guid, name="Quotation that is not in the text")
        content = _element("PlainTextContent")
        content.text = legal_text(text)
        note.append(content)
        self._notes.append(note)
        return _element("NoteRef", targetGUID=guid)

    def _sign(self, signed: _Signed, *place: object) -> Any:
        """Return a REFI-QDA coding that states the sign of a passage; ``place`` identifies the passage."""
        code, sign = signed
        assert sign is not None
        self._signs.add((code.label, sign))
        guid = _guid("coding", *place, code.label, "sign", sign, code.coder)
        reference = _element("CodeRef", targetGUID=_guid("code", code.label, "sign", sign))
        return _element("Coding", reference, guid=guid, **_user(code))

    def _values(self, paper: CodedPaper) -> Iterator[Any]:
        record, names = paper.record, self._coded.names
        yield self._value(RECORD_ID, "Text", record.record_id)
        for name, value in (("DOI", record.doi), ("PubMed id", record.pmid), ("journal", record.journal)):
            if value:
                yield self._value(name, "Text", value)
        if record.year is not None:
            yield self._value("year", "Integer", str(record.year))
        for code in paper.codes:
            yield self._value(code_variable(names[code.label], code.coder, code.basis), "Text", code.answer)
            if code.probability is not None:
                name = f"probability of {names[code.label]}: {code.coder} ({code.basis})"
                yield self._value(name, "Float", f"{code.probability:.4f}")

    def _value(self, name: str, kind: str, value: str) -> Any:
        self._variables.setdefault(name, kind)
        content = _element(f"{kind}Value")
        content.text = _one_line(value)
        return _element("VariableValue", _element("VariableRef", targetGUID=_guid("variable", name)), content)


def _element(tag: str, *children: Any, **attributes: str) -> Any:
    element = etree.Element(f"{{{PROJECT}}}{tag}", attributes, nsmap={None: PROJECT})
    element.extend(children)
    return element


def _set_of(role: EvidenceRole, codebook: Codebook, used: Set[tuple[str, str]]) -> Any:
    """Return the REFI-QDA set of a role of evidence, with one code for each label that occurs with this role."""
    labels = [key for key in codebook.keys if (key, role.key) in used]
    description = _element("Description")
    description.text = _description(role)
    members = (_element("MemberCode", targetGUID=_guid("code", key, "role", role.key)) for key in labels)
    return _element("Set", description, *members, guid=_guid("set", role.key), name=_one_line(role.name))


def _user(code: Code | RolePassage) -> dict[str, str]:
    return {"creatingUser": _guid("user", code.coder)} if code.coder else {}


def _coding(code: Code | RolePassage, *place: object) -> Any:
    """Return the REFI-QDA coding of a passage or of a whole source; ``place`` identifies the passage or source."""
    if isinstance(code, RolePassage):
        meaning = (code.label, "role", code.role)
        attributes = {"guid": _guid("coding", *place, *meaning, code.coder), **_user(code)}
        return _element("Coding", _element("CodeRef", targetGUID=_guid("code", *meaning)), **attributes)
    reference = _guid("code", code.label, *(["referred"] if code.refer else []))
    attributes = {"guid": _guid("coding", *place, code.label, code.coder), **_user(code)}
    if code.date and _DATE.fullmatch(code.date):
        attributes["creationDateTime"] = f"{code.date}T00:00:00Z"
    return _element("Coding", _element("CodeRef", targetGUID=reference), **attributes)
