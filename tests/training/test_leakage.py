"""Test that a test paper is recognised however its record is changed, and that no other paper is mistaken for one."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest

from mechtag.core.errors import MechtagError
from mechtag.core.records import Record
from mechtag.core.settings import Settings, load_settings
from mechtag.models.encoder import Encoder, TransformerEncoder
from mechtag.pipeline.dedupe.comparable import comparable_fields
from mechtag.pipeline.dedupe.rules import comparable_pairs, compare_records
from mechtag.pipeline.reading.ingest import read_sources
from mechtag.training import leakage
from mechtag.training.leakage import KnownPapers, Leak, describe_papers, likeness
from mechtag.training.train import load_encoder
from tests.support.paths import ROOT
from tests.support.toy import WordEncoder

TEXT = "Nurses met weekly. They shared the lead of the ward. Fewer patients came back."


def find_leaks(records: list[Record], test: list[Record], encoder: Encoder, settings: Settings) -> list[Leak]:
    described = [describe_papers(rows, encoder, settings) for rows in (records, test)]
    return leakage.find_leaks(described[0], described[1], "test paper", settings)


def paper(**fields: object) -> Record:
    return Record.model_validate(
        {
            "record_id": "doi:10.1/a",
            "title": "Shared leading on a ward of nurses in the north",
            "abstract": TEXT,
            "authors": ("Berg, A.", "Stein, B."),
            "year": 2019,
            "journal": "Ward",
            "doi": "10.1/a",
            "pmid": "123",
            "raw": (("study", "NORTH-1"),),
            **fields,
        }
    )


def other(**fields: object) -> Record:
    return paper(
        **{
            "record_id": "text:1",
            "title": "Prices of grain and what farmers make of them",
            "abstract": "Grain was dear in spring. Farmers sold late. Mills closed.",
            "authors": ("Korn, C.",),
            "year": 2003,
            "journal": "Fields",
            "doi": None,
            "pmid": None,
            "raw": (),
            **fields,
        }
    )


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (other(record_id="doi:10.1/a"), "same record id"),
        (other(doi="10.1/a"), "same DOI"),
        (other(pmid="123"), "same PubMed id"),
        (other(raw=(("study", " north-1 "),)), "same study"),
        (other(title=paper().title, authors=paper().authors, year=2019, journal="Ward"), "same title; same authors"),
        # The deduplication rules leave this pair to a person's decision.
        (other(title=paper().title, authors=paper().authors, year=2018, journal="Elsewhere"), "same title"),
        (
            other(abstract="Fewer patients came back. They shared the lead of the ward. Nurses met weekly."),
            "nearly the same text",
        ),
    ],
)
def test_a_test_paper_is_recognised(record: Record, reason: str) -> None:
    settings = Settings.model_validate({"retrain": {"paraphrase": 0.8}})
    innocent = other(record_id="text:2", title="Mills", authors=("Wasser, D.",))
    leaks = find_leaks(
        [innocent, record], [other(record_id="text:9", title="Unlike", abstract=""), paper()], WordEncoder(), settings
    )
    assert [leak.record_id for leak in leaks] == [record.record_id]
    assert leaks[0].reason.startswith(reason)
    assert leaks[0].reason.endswith(paper().title)


def test_the_threshold_of_a_paraphrase_is_that_of_the_encoder() -> None:
    for encoder, setting, expected in (("fast", None, 0.63), ("accurate", None, 0.67), ("accurate", 0.9, 0.9)):
        settings = Settings.model_validate({"encoder": {"name": encoder}, "retrain": {"paraphrase": setting}})
        assert settings.paraphrase == expected


def test_missing_fields_do_not_match() -> None:
    """Two records that both lack identifiers, a study and a text are not taken for the same paper."""
    bare = paper(record_id="text:3", title="Ward", abstract="", authors=(), year=None, doi=None, pmid=None, raw=())
    again = bare.model_copy(update={"record_id": "text:4", "title": "Rain"})
    assert find_leaks([bare], [again], WordEncoder(), Settings()) == []


def test_likeness_by_hand() -> None:
    def unit(*angles: float) -> np.ndarray:
        return np.array([[np.cos(angle), np.sin(angle)] for angle in np.radians(angles)], dtype=np.float32)

    first, second = unit(0, 90, 180), unit(0, 60, 90, 120, 180)
    # Each of the three vectors is among the five; two of the five are 30 degrees from their nearest among the three.
    assert likeness(first, second) == pytest.approx(1.0)
    assert likeness(unit(0, 90, 90), unit(30, 30, 30)) == pytest.approx(np.cos(np.radians(30)))
    assert likeness(first, second[:2]) == 0.0


@pytest.mark.slow
def test_paraphrases_of_test_papers_are_found_and_shipped_annotations_are_clean() -> None:
    """Reworded synopses of test papers exceed the threshold of `retrain.paraphrase`; other papers rarely do."""
    settings = load_settings(ROOT / "params.yaml")
    encoder: TransformerEncoder = load_encoder(settings)
    gold = read_sources([ROOT / settings.retrain.test_records], print)
    retold = []
    for line in (ROOT / "tests/data/retold.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        retold.append(other(record_id=f"text:{row['key']}", title=row["title"], abstract=" ".join(row["sentences"])))
    found = {leak.record_id: leak.reason for leak in find_leaks(retold, gold, encoder, settings)}
    assert found.keys() == {record.record_id for record in retold}
    assert all(reason.startswith("nearly the same text") for reason in found.values())

    lines = (ROOT / "data/annotated/coded/coded_records.jsonl").read_text(encoding="utf-8").splitlines()
    coded = [
        other(
            record_id=f"text:{number}",
            title=row["title"],
            abstract=" ".join(sentence["text"] for sentence in row["sentences"]),
            authors=tuple(row["authors"]),
            year=row["year"],
            journal=row["journal"],
        )
        for number, row in enumerate(map(json.loads, lines))
    ]
    leaks = find_leaks(coded, gold, encoder, settings)
    # Both papers evaluate the same programme of community health partnerships.
    assert [leak.title[:40] for leak in leaks] == ["Evaluating Partnerships for Community He"]


def test_a_model_folder_keeps_what_the_check_needs_but_no_abstract(tmp_path: Path) -> None:
    """Papers read back from the model folder, with one bit per dimension, give the same reasons for a match."""
    settings, encoder = Settings.model_validate({"retrain": {"paraphrase": 0.8}}), WordEncoder()
    training = [paper(), other(record_id="text:2", title="Mills", authors=("Wasser, D.",), raw=(("study", "M"),))]
    packed = describe_papers(training, encoder, settings).pack("m1")
    (tmp_path / "papers.safetensors").write_bytes(packed)
    for text in ("Nurses met weekly", "Grain was dear"):
        assert text.encode() not in packed
    known = leakage.read_training_papers(tmp_path, "m1")
    assert known is not None
    assert [record.abstract for record in known.records] == ["", ""]
    assert {record.raw for record in known.records} == {()}
    assert known.groups == ["north-1", "m"]

    def found(**fields: object) -> list[Leak]:
        papers = describe_papers([other(**fields)], encoder, settings)
        return leakage.find_leaks(papers, known, "training paper", settings)

    reordered = "Fewer patients came back. They shared the lead of the ward. Nurses met weekly."
    cases = {
        "same DOI": {"doi": "10.1/a"},
        "same PubMed id": {"pmid": "123"},
        "same study (m)": {"raw": (("study", "m "),)},
        "same title": {"title": paper().title, "authors": paper().authors, "year": 2019, "journal": "Ward"},
        "nearly the same text": {"abstract": reordered, "title": paper().title + " once more"},
    }
    for reason, fields in cases.items():
        fields = {"abstract": "Rain fell on hills. Sheep stood still. Dogs slept.", **fields}
        (leak,) = found(record_id="text:9", **fields)
        assert leak.reason.startswith(reason), reason
        assert leak.certain is (reason not in ("same study (m)", "nearly the same text")), reason
    assert found(record_id="text:9", title="Sheep", abstract="Rain fell on hills. Sheep stood still. Dogs slept.") == []


def test_signs_estimate_cosines() -> None:
    generator = np.random.default_rng(3)
    first = generator.normal(size=(40, 384)).astype(np.float32)
    second = 0.8 * first + 0.6 * generator.normal(size=(40, 384)).astype(np.float32)
    first, second = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in (first, second))
    records = [paper(record_id=f"text:{number}") for number in range(2)]
    papers = leakage.KnownPapers(records, ["", ""], [second[:20], second[20:]])
    with TemporaryDirectory() as folder:
        (Path(folder) / "papers.safetensors").write_bytes(papers.pack("m"))
        known = leakage.read_training_papers(Path(folder), "m")
    assert known is not None
    rotated = first @ leakage._rotation(384)
    estimated = rotated @ np.vstack(known.vectors).T
    assert np.abs(estimated - first @ second.T).mean() < 0.04
    assert np.diag(estimated).mean() == pytest.approx(np.diag(first @ second.T).mean(), abs=0.02)


def test_a_damaged_or_foreign_list_of_papers_is_refused(tmp_path: Path) -> None:
    assert leakage.read_training_papers(tmp_path, "m1") is None
    packed = describe_papers([paper()], WordEncoder(), Settings()).pack("m1")
    path = tmp_path / "papers.safetensors"
    path.write_bytes(packed)
    with pytest.raises(MechtagError, match=r"belongs to a different model \(m1 instead of m2\)"):
        leakage.read_training_papers(tmp_path, "m2")
    for damaged in (b"", packed[:-9], packed.replace(b"lengths", b"lengthz")):
        path.write_bytes(damaged)
        with pytest.raises(MechtagError, match="not readable as a list of training papers"):
            leakage.read_training_papers(tmp_path, "m1")


def random_papers(rng: np.random.Generator, count: int) -> KnownPapers:
    """Return random papers, some of which share all or part of their titles, journals, pages and identifiers."""
    words = "shared lead of nurses in wards trial part ii 2 care review protocol the a second leading".split()
    stems = [" ".join(np.random.default_rng(stem).choice(words, 1 + stem)) for stem in range(13)]
    records, vectors = [], []
    for _ in range(count):
        start, end = rng.choice(["", "", "Poster 12 ", "Reply: "]), rng.choice(["", "", ": a trial", " in wards", "x"])
        title = f"{start}{rng.choice(stems)}{end}"
        cut = int(rng.integers(0, 3))
        records.append(
            Record(
                record_id=f"text:{rng.integers(0, 2000)}",
                title=title[cut:] if rng.random() < 0.3 else title[: len(title) - cut],
                abstract=str(rng.choice(["", TEXT, f"{TEXT} {TEXT} {TEXT}"])),
                authors=tuple(rng.choice(["Berg, A.", "Stein, B.", "Korn, C."], rng.integers(0, 3), replace=False)),
                year=int(rng.integers(2000, 2003)),
                journal=str(rng.choice(["Ward", "Fields"])),
                volume=str(rng.choice(["", "1", "2"])) or None,
                pages=str(rng.choice(["", "1-9", "10-12", "S4"])) or None,
                doi=f"10.1/{rng.integers(0, 200)}" if rng.random() < 0.3 else None,
                pmid=str(rng.integers(1, 200)) if rng.random() < 0.3 else None,
            )
        )
        own = rng.normal(size=(rng.integers(1, 6), 4)).astype(np.float32)
        vectors.append(own / np.linalg.norm(own, axis=1, keepdims=True))
    groups = [f"study {rng.integers(0, 200)}" if rng.random() < 0.3 else "" for _ in records]
    return KnownPapers(records, groups, vectors)


def leaks_of_all_pairs(papers: KnownPapers, against: KnownPapers, settings: Settings) -> list[Leak]:
    """Return the leaks that are found if every rule is applied to every pair of papers."""
    leaks = []
    for record, group, vectors in zip(papers.records, papers.groups, papers.vectors, strict=True):
        found = []
        for paper, other_group, other_vectors in zip(against.records, against.groups, against.vectors, strict=True):
            comparison = compare_records(comparable_fields(record), comparable_fields(paper), settings.dedupe)
            alike = likeness(vectors, other_vectors)
            reasons = [
                *["same record id"] * (record.record_id == paper.record_id),
                *["same DOI"] * (record.doi is not None and record.doi == paper.doi),
                *["same PubMed id"] * (record.pmid is not None and record.pmid == paper.pmid),
            ]
            certain = bool(reasons) or comparison.same is True
            reasons += [
                *[f"same study ({group})"] * (group != "" and group == other_group),
                *[comparison.reason]
                * (comparison.same is True or (comparison.same is None and comparison.reason != "")),
                *[f"nearly the same text (similarity {alike:.2f})"] * (alike >= settings.paraphrase),
            ]
            if reasons:
                reason = f"{reasons[0]} as test paper: {paper.title}"
                found.append(Leak(record.record_id, record.title, reason, certain))
        leaks += sorted(found, key=lambda leak: not leak.certain)[:1]
    return leaks


def test_the_choice_of_pairs_changes_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    """Comparing only selected pairs in detail finds the same leaks as comparing all pairs."""
    monkeypatch.setattr(leakage, "_BLOCK", 7)
    monkeypatch.setattr(leakage, "_SENTENCES", 11)
    settings = Settings.model_validate({"retrain": {"paraphrase": 0.92, "group_field": "study"}})
    kinds = set()
    for seed in range(4):
        rng = np.random.default_rng(seed)
        papers, against = random_papers(rng, 40), random_papers(rng, 60)
        expected = leaks_of_all_pairs(papers, against, settings)
        assert 0 < len(expected) < 40
        kinds |= {leak.reason.split(" as ")[0].split(" (")[0] for leak in expected}
        assert leakage.find_leaks(papers, against, "test paper", settings) == expected
    assert kinds > {"same record id", "same DOI", "same PubMed id", "same study", "nearly the same text"}


def test_likenesses_of_many_texts() -> None:
    texts = random_papers(np.random.default_rng(3), 60).vectors
    compared = 0
    for rows, first in leakage._packs(texts):
        for columns, second in leakage._packs(texts):
            expected = [[likeness(texts[row], texts[column]) for column in columns] for row in rows]
            assert leakage._likenesses(first, second) == pytest.approx(np.array(expected), abs=1e-5)
            compared += len(rows) * len(columns)
    assert compared == sum(len(own) >= 3 for own in texts) ** 2


def test_pairs_that_are_not_chosen_are_different_papers() -> None:
    settings = Settings().dedupe
    rng = np.random.default_rng(100)
    left, right = ([comparable_fields(record) for record in random_papers(rng, 200).records] for _ in range(2))
    chosen = comparable_pairs(left, right, settings)
    others = [compare_records(left[row], right[column], settings) for row, column in np.argwhere(~chosen)]
    assert len(others) > 20_000
    assert {(comparison.same, comparison.reason) for comparison in others} == {(False, "")}


def test_leaks_among_no_papers() -> None:
    papers, nothing = random_papers(np.random.default_rng(0), 3), KnownPapers([], [], [])
    assert leakage.find_leaks(papers, nothing, "test paper", Settings()) == []
    assert leakage.find_leaks(nothing, papers, "test paper", Settings()) == []
