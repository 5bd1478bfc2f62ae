"""Test that REFI-QDA projects fit the schema, and that mechtag and pyrefiqda read the same codes and passages."""

from __future__ import annotations

import io
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from mechtag.core.codebook import load_codebook
from mechtag.core.errors import MechtagError
from mechtag.core.records import Coding, Evidence, Prediction, Record
from mechtag.core.settings import DedupeSettings
from mechtag.pipeline.annotations.coded_records import read_coded
from mechtag.pipeline.annotations.imports.importer import read_codings_from
from mechtag.pipeline.annotations.imports.label_names import MapFile
from mechtag.pipeline.export.coded_papers import from_codings, from_predictions, joined
from mechtag.pipeline.export.refi_qda import PROJECT, write_codebook, write_project
from tests.support.hostile import BOOK, hostile_codings, hostile_records, read_back, said
from tests.support.paths import ROOT

SCHEMA = ROOT / "pipeline/export/schemas/Project-mrt2019.xsd"
SIMS = load_codebook(ROOT / "data/annotated/codebook.yaml")


def tag(name: str) -> str:
    return f"{{{PROJECT}}}{name}"


def project_of(path: Path) -> etree._Element:
    with zipfile.ZipFile(path) as archive:
        return etree.fromstring(archive.read("project.qde"))


def changed(path: Path, *pairs: tuple[str, str], text: tuple[str, str] | None = None) -> Path:
    """Write a copy of the project with ``pairs`` replaced in its project file and ``text`` replaced in its sources."""
    other = path.with_stem("changed")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(other, "w") as new:
        for name in old.namelist():
            data = old.read(name).decode()
            for before, after in pairs if name.endswith(".qde") else ():
                assert before in data
                data = data.replace(before, after)
            if text and name.endswith(".txt"):
                data = data.replace(*text)
            new.writestr(name, data.encode())
    return other


@pytest.fixture
def records() -> list[Record]:
    return hostile_records()


@pytest.fixture
def path(records: list[Record], tmp_path: Path) -> Path:
    write_project(tmp_path / "a.qdpx", from_codings(hostile_codings(records), records, BOOK))
    return tmp_path / "a.qdpx"


def test_codes_and_quotes_of_40_hostile_records_come_back(path: Path, records: list[Record]) -> None:
    found = read_back(path, records)  # The variables contain the coder and the basis.
    assert said(found.codings) == said(hostile_codings(records))
    assert {row.date for row in found.codings if row.value == 1} == {"2026-01-02"}


def test_sentences_of_40_coded_records_come_back(tmp_path: Path) -> None:
    coded = read_coded(ROOT / "data/annotated/coded/coded_records.jsonl", SIMS.keys)
    first = [one for one in coded if one.labels and one.sentence_labels][:40]
    records, codings = [one.record for one in first], []
    for one in first:
        for row in one.codings(SIMS.keys, SIMS.relevance.key):
            marked = [n for n, labels in enumerate(one.sentence_labels or ()) if row.label in labels]
            codings.append(row.model_copy(update={"sentences": tuple(marked)} if marked else {}))
    write_project(tmp_path / "a.qdpx", from_codings(codings, records, SIMS))
    found = read_codings_from([tmp_path / "a.qdpx"], records, SIMS, DedupeSettings())
    quotes = {
        (one.record.record_id, key): " […] ".join(
            text.text for text, labels in zip(one.sentences, one.sentence_labels or (), strict=True) if key in labels
        )
        for one in first
        for key in one.labels
    }
    assert len(quotes) > 60
    assert {(row.record_id, row.label): row.evidence or "" for row in found.codings if row.value == 1} == {
        **quotes,
        **{(one.record.record_id, SIMS.relevance.key): "" for one in first},
    }
    values = {(row.record_id, row.label): row.value for row in codings}
    assert {(row.record_id, row.label): row.value for row in found.codings} == values


def test_the_project_conforms_to_the_schema_and_is_the_same_twice(
    path: Path, records: list[Record], tmp_path: Path
) -> None:
    etree.XMLSchema(etree.parse(SCHEMA)).assertValid(project_of(path))
    write_project(tmp_path / "b.qdpx", from_codings(hostile_codings(records), records, BOOK))
    assert path.read_bytes() == (tmp_path / "b.qdpx").read_bytes()
    guids = re.findall(rb' guid="([^"]+)"', etree.tostring(project_of(path)))
    assert len(guids) == len(set(guids)) > 300
    assert all(guid == guid.upper() for guid in guids)


def test_names_of_sources_are_names_of_files(path: Path) -> None:
    names = [one.get("name") or "" for one in project_of(path).iter(tag("TextSource"))]
    assert len({name.casefold() for name in names}) == 40
    assert all(0 < len(name) <= 100 and not re.search(r'[/\\:*?"<>|\x00-\x1f]', name) for name in names)
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            assert re.fullmatch(r"project\.qde|sources/[0-9A-F-]{36}\.txt", name)
            assert b"\r" not in archive.read(name)


def test_pyrefiqda_reads_the_same_passages(path: Path, records: list[Record], tmp_path: Path) -> None:
    refi = pytest.importorskip("pyrefiqda.refiproject", reason="pyrefiqda is not installed")
    project = refi.RefiProject.load(path, tmp_path / "extracted")
    codes = {code.guid: code.name for code in project.code_book.codes.code}
    users = {user.guid: user.name for user in project.users.user}
    keys = {entry.name: entry.key for entry in BOOK.entries}
    variables = {one.guid: one.name for one in project.variables.variable}
    ids = {}
    for case in project.cases.case:
        values = {variables[one.variable_ref.target_guid]: one.text_value for one in case.variable_value}
        ids[case.source_ref[0].target_guid] = values["record_id"]
    found = set()
    for source in project.sources.text_source:
        text = refi.RefiProject.resolve_source_path(source.plain_text_path, tmp_path / "extracted").read_text("utf-8")
        for selection in source.plain_text_selection:
            quote = text[selection.start_position : selection.end_position]
            for coding in selection.coding:
                label = keys[codes[coding.code_ref.target_guid]]
                found.add((ids[source.guid], users[coding.creating_user], label, quote))
    assert found == {
        (row.record_id, row.coder, row.label, row.evidence) for row in hostile_codings(records) if row.evidence
    }


def rewritten(path: Path, root: etree._Element) -> Path:
    """Write a copy of the project with ``root`` as its project file, and return the path of the copy."""
    other = path.with_stem("rewritten")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(other, "w") as new:
        for name in old.namelist():
            new.writestr(name, etree.tostring(root) if name.endswith(".qde") else old.read(name))
    return other


def test_what_a_coder_changes_in_another_program_counts(path: Path, records: list[Record]) -> None:
    """Ann's code on one passage is removed, and a paper to which she had answered no is coded."""
    before = {row[:3]: row[3] for row in said(hostile_codings(records))}
    removed, added = (records[1].record_id, "Ann", "apple"), (records[0].record_id, "Ann", "apple")
    assert (before[removed], before[added]) == (1, 0)
    root = project_of(path)
    code = next(one.get("guid") or "" for one in root.iter(tag("Code")) if one.get("name") == BOOK.labels[0].name)
    ann = next(one.get("guid") or "" for one in root.iter(tag("User")) if one.get("name") == "Ann")
    first, second = list(root.iter(tag("TextSource")))[:2]
    (own,) = (
        one for one in second.iter(tag("Coding")) if one.get("creatingUser") == ann and one[0].get("targetGUID") == code
    )
    own.getparent().remove(own)
    guid = "{0DC9A9B5-3B5A-4B07-9B2F-0C7B4D4C2B61}"
    coding = etree.SubElement(first, tag("Coding"), {"guid": guid, "creatingUser": f"{{{ann.lower()}}}"})
    etree.SubElement(coding, tag("CodeRef"), {"targetGUID": code})
    after = {row[:3]: row[3] for row in said(read_back(rewritten(path, root), records).codings)}
    del before[removed]
    assert after == {**before, added: 1}


@pytest.mark.parametrize("answer", [{"value": 1}, {"value": None, "refer": True}])
def test_a_sign_does_not_change_the_answer_and_counts_as_a_code_by_itself(
    tmp_path: Path, answer: dict[str, Any]
) -> None:
    """Another program may code a passage with the sign only, which is evidence of the label too."""
    record = Record(record_id="text:1", title="Title of it", abstract="It is coded here.")
    given: dict[str, Any] = {"record_id": "text:1", "coder": "Ann", "label": "fig", "basis": "abstract", **answer}
    coding = Coding(**given, evidence="It is", signs=("absent",))
    write_project(tmp_path / "a.qdpx", from_codings([coding], [record], BOOK))
    (found,) = (row for row in read_back(tmp_path / "a.qdpx", [record]).codings if row.label == "fig")
    assert (found.value, found.evidence, found.signs) == (answer["value"], "It is", ("absent",))
    root = project_of(tmp_path / "a.qdpx")
    sign, other = root.findall(f".//{tag('PlainTextSelection')}/{tag('Coding')}")[::-1]
    label = etree.tostring(other).decode().partition("targetGUID=")[2][:38]
    alone = etree.tostring(sign).decode().partition("targetGUID=")[2][:38]
    replaced = changed(tmp_path / "a.qdpx", (f"<CodeRef targetGUID={label}", f"<CodeRef targetGUID={alone}"))
    (found,) = (row for row in read_back(replaced, [record]).codings if row.label == "fig")
    assert (found.value, found.evidence, found.signs) == (1, "It is", ("absent",))


@pytest.mark.parametrize("ends", ["\r\n", "\r"])
def test_positions_hold_whatever_the_line_ends(path: Path, records: list[Record], ends: str) -> None:
    other = changed(path, text=("\n", ends))
    assert said(read_back(other, records).codings) == said(hostile_codings(records))


def test_positions_that_count_line_ends_twice_are_mended(tmp_path: Path) -> None:
    record = Record(record_id="text:1", title="Title of it", abstract="One line.\nTwo lines.\nThree are coded here.")
    coding = Coding(record_id="text:1", coder="Ann", label="fig", value=1, basis="abstract", evidence="Three are coded")
    write_project(tmp_path / "a.qdpx", from_codings([coding], [record], BOOK))
    start = "Title of it\n\nOne line.\nTwo lines.\n"
    where = f'startPosition="{len(start)}" endPosition="{len(start) + 15}"'
    shifted = where.replace(str(len(start) + 15), str(len(start) + 19)).replace(str(len(start)), str(len(start) + 4))
    other = changed(tmp_path / "a.qdpx", (where, shifted), text=("\n", "\r\n"))
    (found,) = (row for row in read_back(other, [record]).codings if row.value == 1)
    assert found.evidence == "Three are coded"


def test_a_document_that_is_not_found_can_be_assigned_to_a_record_by_its_name(tmp_path: Path) -> None:
    record = Record(record_id="text:1", title="Figs ripen late in the year", abstract="They are coded here.")
    coding = Coding(record_id="text:1", coder="Ann", label="fig", value=1, basis="abstract")
    write_project(tmp_path / "a.qdpx", from_codings([coding], [record], BOOK))
    root = project_of(tmp_path / "a.qdpx")
    for cases in root.findall(tag("Cases")):
        root.remove(cases)
    next(root.iter(tag("TextSource"))).set("name", "Ann 2021.pdf")
    other = changed(rewritten(tmp_path / "a.qdpx", root), text=(record.title, "Journal of Figs"))
    imported = read_codings_from([other], [record], BOOK, DedupeSettings(), basis="abstract")
    assert [row.item.paper.names for row in imported.unmatched] == [("Ann 2021.pdf",)]
    mapped = MapFile(papers={"Ann 2021.pdf": "text:1"})
    imported = read_codings_from([other], [record], BOOK, DedupeSettings(), basis="abstract", mapped=mapped)
    assert [(row.record_id, row.label, row.value) for row in imported.codings] == [("text:1", "fig", 1)]


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
@pytest.mark.parametrize("cut", [False, True])
def test_positions_that_count_an_emoji_twice_are_recognised_by_the_names(tmp_path: Path, ends: str, cut: bool) -> None:
    abstract = "\U0001f600 It begins.\nTwo \U0001f44d\U0001f3fd figs are coded. Three are not."
    record = Record(record_id="text:1", title="Title of it", abstract=abstract)
    quotes = ["Two \U0001f44d\U0001f3fd figs are coded.", "are coded."]
    codings = [
        Coding(record_id="text:1", coder=coder, label="fig", value=1, basis="abstract", evidence=quote)
        for coder, quote in zip(("Ann", "Bob"), quotes, strict=True)
    ]
    write_project(tmp_path / "a.qdpx", from_codings(codings, [record], BOOK))
    root = project_of(tmp_path / "a.qdpx")
    text = f"{record.title}\n\n{record.abstract}"
    counted = text.replace("\n", ends)
    for selection in root.iter(tag("PlainTextSelection")):
        start, end = (int(selection.get(name, "")) for name in ("startPosition", "endPosition"))
        quote = text[start:end]
        before = counted[: counted.index(quote)]
        place = len(before.encode("utf-16-le")) // 2
        selection.set("startPosition", str(place))
        selection.set("endPosition", str(place + len(quote.encode("utf-16-le")) // 2))
        selection.set("name", f"{quote[:8]}..." if cut else quote)
    other = changed(rewritten(tmp_path / "a.qdpx", root), text=("\n", ends))
    found = {row.coder: row.evidence for row in read_back(other, [record]).codings if row.value == 1}
    assert found == {"Ann": quotes[0], "Bob": quotes[1]}


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        ('startPosition="13"', 'startPosition="5000"', r"a coded passage extends from character 5000 to \d+, but"),
        ('startPosition="13"', 'startPosition="-1"', "a coded passage has the position '-1', which is not a"),
        ("internal://", "internal://x", "the archive lacks the file with the text of this source"),
        ("internal://", "file:///etc/passwd#", "but the text has 0 characters"),
    ],
)
def test_what_cannot_be_read_is_rejected_with_the_reason(tmp_path: Path, before: str, after: str, reason: str) -> None:
    record = Record(record_id="text:1", title="Title of it", abstract="It is coded here.")
    coding = Coding(record_id="text:1", coder="Ann", label="fig", value=1, basis="abstract", evidence="It is")
    write_project(tmp_path / "a.qdpx", from_codings([coding], [record], BOOK))
    other = changed(tmp_path / "a.qdpx", (before, after))
    with pytest.raises(MechtagError, match=f"no row could be read.*{reason}"):
        read_codings_from([other], [record], BOOK, DedupeSettings())


def test_codes_on_full_texts_come_back_with_their_basis(tmp_path: Path) -> None:
    record = Record(record_id="text:1", title="Figs", abstract="Figs ripen early.")
    full_text = "Introduction\n\nFigs \U0001f333 ]]> \0 are picked late."
    codings = [
        Coding(record_id="text:1", coder="Ann", label="relevant", value=1, basis="abstract"),
        Coding(record_id="text:1", coder="Ann", label="fig", value=1, basis="full-text", evidence="are picked late."),
        Coding(record_id="text:1", coder="Ann", label="apple", value=1, basis="full-text", evidence="not in the text"),
        Coding(record_id="text:1", coder="Ann", label="plum_tree", value=None, basis="full-text", refer=True),
    ]
    coded = from_codings(codings, [record], BOOK, {"text:1": full_text})
    write_project(tmp_path / "a.qdpx", coded)
    assert said(read_back(tmp_path / "a.qdpx", [record]).codings) == said(codings)
    text = f"Figs\n\nFigs ripen early.\n\n{full_text}"
    (selection,) = project_of(tmp_path / "a.qdpx").iter(tag("PlainTextSelection"))
    assert int(selection.get("startPosition") or 0) == text.index("are picked late.")
    with zipfile.ZipFile(tmp_path / "a.qdpx") as archive:
        name = next(name for name in archive.namelist() if name.endswith(".txt"))
        assert archive.read(name).decode() == text.replace("\0", " ")
    names = {code.get("name") for code in project_of(tmp_path / "a.qdpx").iter(tag("Code"))}
    assert "Plum tree (needs review)" in names


def test_suggestions_of_a_model_are_exported_but_not_read_as_codes(tmp_path: Path, records: list[Record]) -> None:
    record = records[0]
    quote = Evidence(sentence=0, start=0, end=5, text=record.abstract[:5], score=1)
    rows = [
        Prediction(record_id=record.record_id, label=key, score=1, probability=0.75, decision="yes", model_id="m1")
        for key in BOOK.all_keys
    ]
    rows[1] = rows[1].model_copy(update={"evidence": (quote,)})
    codings = hostile_codings(records[:1])
    both = joined(from_codings(codings, records[:1], BOOK), from_predictions(records[:1], rows, BOOK))
    write_project(tmp_path / "a.qdpx", both)
    root = project_of(tmp_path / "a.qdpx")
    assert [user.get("name") for user in root.iter(tag("User"))] == ["Ann", "Bob <b>", "mechtag (m1)"]
    assert [one.text for one in root.iter(tag("FloatValue"))] == ["0.7500"] * 4
    found = read_back(tmp_path / "a.qdpx", records)
    assert said(found.codings) == said(codings)
    assert "the suggestions of mechtag (m1) were not read" in " ".join(found.notes)


def test_a_project_of_another_program_needs_the_basis(tmp_path: Path) -> None:
    """Projects of NVivo and others have no variables of mechtag, so papers are found by their text."""
    records = [one.record for one in read_coded(ROOT / "data/annotated/coded/coded_records.jsonl", SIMS.keys)[:40]]
    codings = hostile_codings(records)
    codings = [row.model_copy(update={"evidence": None}) for row in codings]
    write_project(tmp_path / "a.qdpx", from_codings(codings, records, BOOK))
    root = project_of(tmp_path / "a.qdpx")
    for name in ("Variables", "Cases"):
        element = root.find(tag(name))
        assert element is not None
        root.remove(element)
    other = rewritten(tmp_path / "a.qdpx", root)
    with pytest.raises(MechtagError, match="does not record whether the coder read the abstract or the full text"):
        read_back(other, records)
    wanted = {row for row in said(codings) if row[3] == 1}
    assert said(read_back(other, records, basis="abstract").codings) == wanted


def test_a_project_file_cannot_read_other_files(tmp_path: Path, path: Path, records: list[Record]) -> None:
    (tmp_path / "secret.txt").write_text("SECRET", encoding="utf-8")
    entity = f'<!DOCTYPE Project [<!ENTITY secret SYSTEM "file://{tmp_path}/secret.txt">]><Project '
    other = changed(path, ("<Project ", entity), ("Ngũgĩ0 2000", "&secret;"))
    with pytest.raises(MechtagError, match="references external entity 'secret'") as caught:
        read_back(other, records)
    assert "SECRET" not in str(caught.value)


def test_pyrefiqda_reads_the_codebook(tmp_path: Path) -> None:
    refi = pytest.importorskip("pyrefiqda.reficodebook", reason="pyrefiqda is not installed")
    write_codebook(tmp_path / "book.qdc", SIMS)
    book = refi.RefiCodebook.load(tmp_path / "book.qdc")
    assert [code.name for code in book.codes.code] == [entry.name for entry in SIMS.entries]
    assert all(
        " ".join(entry.definition.split()) in code.description
        for entry, code in zip(SIMS.entries, book.codes.code, strict=True)
    )


def test_a_codebook_has_the_codes_of_the_schema(tmp_path: Path) -> None:
    """The schema of codebooks is not published as a file, so the codes are checked against the schema of projects."""
    write_codebook(tmp_path / "book.qdc", BOOK)
    text = (tmp_path / "book.qdc").read_bytes().replace(b"urn:QDA-XML:codebook:1.0", PROJECT.encode())
    codes = re.sub(rb' origin="mechtag"', b"", text).partition(b"?>")[2]
    document = f'<Project xmlns="{PROJECT}" name="x">'.encode() + codes + b"</Project>"
    etree.XMLSchema(etree.parse(SCHEMA)).assertValid(etree.parse(io.BytesIO(document)))
    other = tmp_path / "again.qdc"
    write_codebook(other, BOOK)
    assert other.read_bytes() == (tmp_path / "book.qdc").read_bytes()
