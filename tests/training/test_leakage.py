"""Test papers are recognised under any guise, and other papers are not taken for them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mechtag.core.records import Record
from mechtag.core.settings import Settings, load_settings
from mechtag.models.encoder import TransformerEncoder
from mechtag.pipeline.reading.ingest import read_sources
from mechtag.training.retraining.new_codings import find_leaks, likeness
from mechtag.training.train import load_encoder
from tests.support.paths import ROOT
from tests.support.toy import WordEncoder

TEXT = "Nurses met weekly. They shared the lead of the ward. Fewer patients came back."


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
        # The rules for duplicates leave this pair to a person.
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


def test_no_name_is_no_likeness() -> None:
    """Records without identifiers, study and text have nothing in common."""
    bare = paper(record_id="text:3", title="Ward", abstract="", authors=(), year=None, doi=None, pmid=None, raw=())
    again = bare.model_copy(update={"record_id": "text:4", "title": "Rain"})
    assert find_leaks([bare], [again], WordEncoder(), Settings()) == []


def test_likeness_by_hand() -> None:
    def unit(*angles: float) -> np.ndarray:
        return np.array([[np.cos(angle), np.sin(angle)] for angle in np.radians(angles)], dtype=np.float32)

    first, second = unit(0, 90, 180), unit(0, 60, 90, 120, 180)
    # Each of the three has its equal among the five; the five have theirs but for two, which lie 30 degrees off.
    assert likeness(first, second) == pytest.approx(1.0)
    assert likeness(unit(0, 90, 90), unit(30, 30, 30)) == pytest.approx(np.cos(np.radians(30)))
    assert likeness(first, second[:2]) == 0.0


@pytest.mark.slow
def test_paraphrases_of_test_papers_are_found_and_shipped_annotations_are_clean() -> None:
    """The threshold of `retrain.paraphrase`: synopses told anew are above it, the papers of the project below."""
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
    # Two papers on the evaluation of one programme of community health partnerships.
    assert [leak.title[:40] for leak in leaks] == ["Evaluating Partnerships for Community He"]
