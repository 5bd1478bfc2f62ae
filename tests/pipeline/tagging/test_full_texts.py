from __future__ import annotations

import gc
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mechtag.core.codebook import load_codebook
from mechtag.core.errors import MechtagError
from mechtag.core.full_text import FullText
from mechtag.core.parquet import (
    FullTextTable,
    read_predictions,
    write_full_texts,
    write_predictions,
    write_records,
)
from mechtag.core.records import Evidence, Prediction, Record, decisive, make_record_id
from mechtag.core.settings import SentenceSettings, Settings, TagSettings
from mechtag.models.encoder import Vectors
from mechtag.models.model_folder import Model
from mechtag.models.scoring import RelevanceHead
from mechtag.models.windows import WindowCalibration
from mechtag.pipeline.tagging import full_texts, start
from mechtag.pipeline.tagging.full_texts import TaggedFullText, divide, runs_of
from mechtag.pipeline.tagging.run import finish, run_local
from mechtag.pipeline.tagging.start import Request, opened
from tests.support.batches import papers, project, toy_model
from tests.support.full_texts import full_text
from tests.support.papers import LONG
from tests.support.toy import WordEncoder

PLANTED = "Apple orchard cider with apple."
SENTENCES = SentenceSettings()


def body(*sentences: str, padding: int = 12) -> str:
    return " ".join([*sentences, *_padding(padding)])


def _padding(count: int) -> list[str]:
    return [f"The people of garden number {number} led the year." for number in range(count)]


def model_of(folder: Path) -> Model:
    """Return a toy model that scores labels by their definitions and calls every record relevant."""
    model = toy_model(codebook=load_codebook(folder / "codebook.yaml"))
    tagger = model.tagger
    head: RelevanceHead = replace(tagger.heads.relevance, weights=0 * tagger.heads.relevance.weights, intercept=9.0)
    heads = replace(tagger.heads, relevance=head, weights=tagger.definitions.label_weights())
    long = WindowCalibration(4, np.full(2, -0.1), np.full((6, 2), 0.2), np.full((6, 2), 0.8))
    return replace(model, tagger=replace(tagger, heads=heads, long=long))


SECTIONS = [
    ("title", "A study", ""),
    ("abstract", "Abstract", "Pear perry in the abstract."),
    ("introduction", "Introduction", body("Apple orchard cider in the introduction.")),
    ("methods", "Methods", body("Apple orchard cider in the methods.")),
    ("table", "Table 1", "Apple orchard cider in a table."),
    ("caption", "Figure 1", "Apple orchard cider in a caption."),
    ("results", "Results", body(PLANTED)),
    ("references", "References", "Apple orchard cider in the references."),
]


def run(
    folder: Path,
    records: list[Record],
    texts: list[FullText] | None,
    name: str = "out",
    model: Model | None = None,
    settings: Settings = Settings(),  # noqa: B008 (immutable)
    groups: Path | None = None,
) -> Path:
    write_records(folder / "records.parquet", records)
    table = None
    if texts is not None:
        table = folder / "fulltexts.parquet"
        write_full_texts(table, texts)
    model = model or model_of(folder)
    output = folder / name
    request = Request(
        [str(folder / "records.parquet")], str(output), settings, model.config, full_texts=table, groups=groups
    )
    with opened(request) as job:
        run_local(job, model, settings)
        finish(job, model.tagger.codebook, model.tagger.calibration)
    return output


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    project(tmp_path, 1)
    return tmp_path


@pytest.fixture
def tagged(folder: Path) -> tuple[Path, list[Record], FullText]:
    records = papers(7)
    own = full_text(records[1].record_id, *SECTIONS)
    return run(folder, records, [own, full_text("unknown", *SECTIONS)]), records, own


def test_a_sentence_in_the_results_is_quoted_with_its_page(tagged: tuple[Path, list[Record], FullText]) -> None:
    output, records, own = tagged
    rows = read_predictions(output / "predictions.parquet")
    (apple,) = (row for row in rows if row.label == "apple" and row.basis == "full-text")
    assert apple.record_id == records[1].record_id
    best = apple.evidence[0]
    assert (best.text, best.basis, best.page, best.section) == (PLANTED, "full-text", "107", "Results")
    assert own.text[best.start : best.end] == PLANTED
    for one in apple.evidence:
        assert own.text[one.start : one.end] == one.text or one.basis == "abstract"
        assert one.text not in ("A study", records[1].title)
    assert [one.score for one in apple.evidence] == sorted((one.score for one in apple.evidence), reverse=True)


def test_both_bases_are_written_for_records_with_full_texts(tagged: tuple[Path, list[Record], FullText]) -> None:
    output, records, _ = tagged
    rows = read_predictions(output / "predictions.parquet")
    keys = [(row.record_id, row.label, row.basis) for row in rows]
    assert len(set(keys)) == len(keys) == 3 * (len(records) + 1)
    assert {row.record_id for row in rows if row.basis == "full-text"} == {records[1].record_id}
    summary = json.loads((output / "summary.json").read_text())
    own = summary["full_texts"].pop(records[1].record_id)
    assert not summary["full_texts"]
    # The 13 sentences of the results are in windows of four, half overlapping; the abstract is a window of its own.
    assert own == {"windows": 1 + 6, "notes": []}
    assert sum(summary["decisions"]["apple"].values()) - summary["decisions"]["apple"]["not_scored"] == len(records)


def test_predictions_by_the_abstract_are_the_same_with_and_without_full_texts(
    folder: Path, tagged: tuple[Path, list[Record], FullText]
) -> None:
    output, records, _ = tagged
    alone = run(folder, records, None, "alone")
    assert read_predictions(output / "predictions.parquet", "abstract") == read_predictions(
        alone / "predictions.parquet"
    )


def test_tables_for_reviewers_show_the_full_text_with_pages(tagged: tuple[Path, list[Record], FullText]) -> None:
    output, records, _ = tagged
    for name in ("tagged.csv", "review.xlsx"):
        rows = {row["record_id"]: row for row in _rows(output / name)}
        own, other = rows[records[1].record_id], rows[records[0].record_id]
        assert (own["basis"], other["basis"]) == ("full-text", "abstract")
        assert own["Apple: pages"].split(", ")[0] == "107"
        assert PLANTED in own["Apple: evidence"]
        assert not other["Apple: pages"]


def _rows(path: Path) -> list[dict[str, str]]:
    if path.suffix == ".csv":
        import csv

        return list(csv.DictReader(path.read_text("utf-8-sig").splitlines()))
    from openpyxl import load_workbook

    names, *rows = load_workbook(path)["Review"].iter_rows(values_only=True)
    return [dict(zip(names, row, strict=True)) for row in rows]


def test_tables_of_abstracts_have_no_columns_for_full_texts(folder: Path) -> None:
    output = run(folder, papers(3), None)
    assert not {"basis", "Apple: pages"} & set(_rows(output / "tagged.csv")[0])


def test_a_record_without_abstract_is_judged_by_the_abstract_in_the_file(folder: Path) -> None:
    records = [one.model_copy(update={"abstract": ""}) for one in papers(2)]
    texts = [full_text(records[0].record_id, *SECTIONS), full_text(records[1].record_id, *SECTIONS[2:])]
    output = run(folder, records, texts)
    summary = json.loads((output / "summary.json").read_text())["full_texts"]
    assert {record_id: own["notes"] for record_id, own in summary.items()} == {
        records[0].record_id: ["the record has no abstract, so relevance was judged by the abstract in the full text"],
        records[1].record_id: [
            "the record has no abstract, so relevance was judged by the first sentences of the full text"
        ],
    }
    rows = read_predictions(output / "predictions.parquet", "full-text")
    (pear,) = (row for row in rows if row.label == "pear" and row.record_id == records[0].record_id)
    assert (pear.evidence[0].text, pear.evidence[0].page) == ("Pear perry in the abstract.", "102")


def test_sections_are_chosen_and_windows_do_not_cross_them() -> None:
    own = full_text("a", *SECTIONS[:7], ("discussion", "Discussion", body()), SECTIONS[7])
    divided = divide(own, 4, Settings().tag.sections, SENTENCES)
    titles = [_title(own, one.start) for one in divided.sentences]
    assert set(titles) == {"Results", "Discussion"}
    for window in divided.windows:
        assert len({titles[row] for row in window}) == 1
    for one in divided.sentences:
        assert own.text[one.start : one.end] == one.text
    assert divided.recognised


def _title(own: FullText, start: int) -> str:
    return next(section.title for section in own.sections if section.start <= start < section.end)


def test_a_table_between_two_paragraphs_does_not_divide_a_section() -> None:
    own = full_text("a", ("results", "Results", "One."), ("table", "Table 1", "2 3."), ("results", "More", "Two."))
    runs, _ = runs_of(own, ["results"])
    assert [[one.title for one in run] for run in runs] == [["Results", "More"]]


def test_without_headings_everything_before_the_references_is_scored(folder: Path) -> None:
    own = full_text(
        "a", ("other", "", "First text here."), ("references", "References", "Not this."), ("other", "", "Nor this.")
    )
    divided = divide(own, 4, ["results"], SENTENCES)
    assert [one.text for one in divided.sentences] == ["First text here."]
    assert not divided.recognised
    (record, *_) = papers(1)
    output = run(folder, [record], [own.model_copy(update={"record_id": record.record_id})])
    summary = json.loads((output / "summary.json").read_text())["full_texts"]
    assert summary[record.record_id]["notes"] == [
        "no section was recognised by its heading, so all text before the references was scored"
    ]


def test_without_headings_every_chapter_before_the_last_references_is_scored() -> None:
    own = full_text(
        "r",
        ("other", "1 Why", body("One.")),
        ("references", "References", "Ash A."),
        ("other", "2 How", body("Two.")),
        ("references", "References", "Birch B."),
        ("other", "Interviews", body("Three.")),
    )
    runs, recognised = runs_of(own, ("results",))
    assert not recognised
    assert [[section.title for section in run] for run in runs] == [["1 Why"], ["2 How"]]


def test_predictions_written_without_basis_are_based_on_abstracts(tmp_path: Path) -> None:
    row = Prediction(
        record_id="a",
        label="apple",
        score=1.0,
        decision="yes",
        evidence=(Evidence(sentence=0, start=0, end=1, text="a", score=1.0),),
        model_id="m",
    )
    write_predictions(tmp_path / "old.parquet", [row])
    assert read_predictions(tmp_path / "old.parquet") == [row]
    full = row.model_copy(
        update={
            "basis": "full-text",
            "evidence": (row.evidence[0].model_copy(update={"basis": "full-text", "page": "7", "section": "Results"}),),
        }
    )
    write_predictions(tmp_path / "new.parquet", [row, full])
    assert read_predictions(tmp_path / "new.parquet") == [row, full]
    assert list(decisive([row, full])) == [full]
    assert list(decisive([row])) == [row]


def test_two_full_texts_of_a_record_are_refused(tmp_path: Path) -> None:
    write_full_texts(tmp_path / "f.parquet", [full_text("a", *SECTIONS)] * 2)
    with pytest.raises(MechtagError, match="record a has more than one full text"):
        FullTextTable(tmp_path / "f.parquet", "f.parquet")


class CountingEncoder(WordEncoder):
    """Encoder that counts how often each text is encoded."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: Counter[str] = Counter()

    def encode(self, texts: Sequence[str]) -> Vectors:
        self.texts.update(texts)
        return super().encode(texts)


def test_sentences_are_encoded_once_per_chunk(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All papers share sentences, but are tagged in batches of two."""
    monkeypatch.setattr(full_texts, "BATCH", 2)
    records = papers(5)
    texts = [full_text(one.record_id, *SECTIONS) for one in records]
    expected = read_predictions(run(folder, records, texts) / "predictions.parquet")
    model, encoder = model_of(folder), CountingEncoder()
    model = replace(model, tagger=replace(model.tagger, encoder=encoder))
    found = read_predictions(run(folder, records, texts, "counted", model) / "predictions.parquet")
    assert found == expected
    shared = [text for text in encoder.texts if text.startswith("The people of garden number")]
    assert len(shared) == 12
    assert {encoder.texts[text] for text in (*shared, PLANTED.rstrip("."))} <= {0, 1}
    # Scores of abstracts are used for both bases.
    titles = {one.title.rstrip(".") for one in records}
    assert all(encoder.texts[title] <= 2 for title in titles)
    whole = [text for text in encoder.texts if any(text.startswith(f"{title}. ") for title in titles)]
    assert len(whole) == 5
    assert {encoder.texts[text] for text in whole} == {1}


@pytest.mark.slow
def test_few_full_texts_are_in_memory_at_the_same_time(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(full_texts, "BATCH", 3)
    alive: list[int] = []
    tag_batch = full_texts._tag_batch

    def counted(*given: Any) -> Any:
        gc.collect()
        alive.append(sum(type(one) is TaggedFullText for one in gc.get_objects()))
        return tag_batch(*given)

    monkeypatch.setattr(full_texts, "_tag_batch", counted)
    records = papers(10)
    run(folder, records, [full_text(one.record_id, *SECTIONS) for one in records])
    assert len(alive) == 4
    assert max(alive) <= 3


def test_the_table_of_full_texts_is_not_opened_for_every_chunk(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []

    class Counted(FullTextTable):
        def __init__(self, *given: Any) -> None:
            made.append(self)
            super().__init__(*given)

    monkeypatch.setattr(start, "FullTextTable", Counted)
    records = papers(6)
    settings = Settings(tag=TagSettings(chunk_records=2))
    output = run(folder, records, [full_text(one.record_id, *SECTIONS) for one in records], settings=settings)
    assert len(made) == 2  # to find the records, and to score the texts
    assert len(read_predictions(output / "predictions.parquet", "full-text")) == 3 * 6


def test_full_texts_of_merged_records_are_those_of_the_kept_records(folder: Path) -> None:
    records = papers(4)
    one, two, three, four = (record.record_id for record in records)
    (folder / "merged.csv").write_text(
        "group,kept,record_id,original_id\n"
        f"1,yes,{one},text:old\n1,no,text:preprint,\n2,yes,{two},\n2,no,text:copy,\n3,yes,{three},\n"
        f"3,no,text:same,\n4,yes,{four},\n4,no,text:same,\n",
        encoding="utf-8",
    )
    sections = [section for section in SECTIONS if section[0] != "results"]
    texts = [
        # Two files of one paper: the longer text is used.
        full_text("text:preprint", *sections),
        full_text("text:old", *SECTIONS),
        # The record itself has a full text.
        full_text("text:copy", *SECTIONS, ("results", "Results", body(padding=20))),
        full_text(two, *SECTIONS),
        # Full texts of a record that was merged into two records, and of no record.
        full_text("text:same", *SECTIONS),
        full_text("text:unknown", *SECTIONS),
    ]
    output = run(folder, records, texts, groups=folder / "merged.csv")
    summary = json.loads((output / "summary.json").read_text(encoding="utf-8"))
    assert summary["full_texts"].keys() == {one, two}
    notes = [
        f"Full texts of merged duplicates that are used for the kept record (1): text:old was merged into {one}",
        "Full texts of merged duplicates that are not used, because the kept record has another one (2): "
        f"text:preprint was merged into {one}; text:copy was merged into {two}",
        "Full texts that are not used, because their record is not among the tagged records (2): text:same; "
        "text:unknown",
    ]
    assert [note for note in summary["notes"] if note.startswith("Full texts")] == notes
    rows = read_predictions(output / "predictions.parquet", "full-text")
    (apple,) = (row for row in rows if (row.record_id, row.label) == (one, "apple"))
    assert PLANTED in [evidence.text for evidence in apple.evidence]
    (again,) = (row for row in rows if (row.record_id, row.label) == (two, "apple"))
    assert again.probability == pytest.approx(apple.probability)


def test_full_texts_of_duplicates_in_search_exports_are_used(folder: Path) -> None:
    lines = ["TY  - JOUR", f"TI  - {LONG}", "AU  - Lee, Ann", "PY  - 2020", "JO  - Care", "VL  - 3"]
    (folder / "a.ris").write_text("\n".join([*lines, "AB  - Apples.", "ER  -", ""]), encoding="utf-8")
    (folder / "b.ris").write_text("\n".join([*lines, "DO  - 10.5555/b", "ER  -", ""]), encoding="utf-8")
    read = make_record_id(doi=None, pmid=None, title=LONG, year=2020, authors=["Lee, Ann"])
    write_full_texts(folder / "fulltexts.parquet", [full_text(read, *SECTIONS)])
    sources, texts = [str(folder / "a.ris"), str(folder / "b.ris")], folder / "fulltexts.parquet"
    request = Request(sources, str(folder / "out"), Settings(), model_of(folder).config, full_texts=texts)
    with opened(request) as job:
        assert job.merged
        assert job.merged.used == {read: "doi:10.5555/b"}


def test_a_changed_table_of_merged_records_is_found_when_a_run_is_resumed(folder: Path) -> None:
    records, groups = papers(2), folder / "merged.csv"
    write_records(folder / "records.parquet", records)
    write_full_texts(folder / "fulltexts.parquet", [full_text("text:a", *SECTIONS)])
    texts = folder / "fulltexts.parquet"
    request = Request(
        [str(folder / "records.parquet")], str(folder / "out"), Settings(), model_of(folder).config, None, texts, groups
    )
    groups.write_text(f"group,kept,record_id\n1,yes,{records[0].record_id}\n1,no,text:a\n", encoding="utf-8")
    with opened(request) as job:
        assert job.merged
        assert job.merged.used == {"text:a": records[0].record_id}
    groups.write_text(f"group,kept,record_id\n1,yes,{records[1].record_id}\n1,no,text:a\n", encoding="utf-8")
    with (
        pytest.raises(MechtagError, match=r"this run cannot be resumed, because .* has changed"),
        opened(request, resume=True),
    ):
        pass


def test_numbers_of_references_are_quoted_but_not_scored(folder: Path) -> None:
    record = papers(1)[0]
    plain = "Apple orchard cider grew. The people led."
    printed = "Apple orchard cider12,13 grew. The people4 led."
    scores = {}
    for name, text in (("plain", plain), ("printed", printed)):
        texts = [full_text(record.record_id, ("results", "Results", text))]
        rows = read_predictions(run(folder, [record], texts, name) / "predictions.parquet", "full-text")
        scores[name] = [row.score for row in rows]
        (apple,) = (row for row in rows if row.label == "apple")
        quoted = [one.text for one in apple.evidence if one.basis == "full-text"]
        assert quoted[0] == text.split(" The")[0]
    assert scores["plain"] == scores["printed"]
