"""Test the figures of invariance, and that each paper is tagged by a model that has not seen it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import mechtag.training.heads
from mechtag.core.codebook import Codebook
from mechtag.core.errors import MechtagError
from mechtag.core.records import Decision, Prediction
from mechtag.core.settings import Settings
from mechtag.evaluation.invariance import invariance_section
from mechtag.evaluation.report.accuracy_table import accuracy_markdown
from mechtag.evaluation.results import Results
from mechtag.models.tagger import Tagger
from mechtag.pipeline.annotations.coding_table import read_annotations
from mechtag.pipeline.reading.text.variations import AS_IT_IS, VARIATIONS
from mechtag.training import train
from mechtag.training.dataset import NO_DOCUMENT
from mechtag.training.invariance import fold_taggers, tag_varied
from tests.support.toy import WordEncoder, fruit_project

LABELS = ("apple", "pear")


def rows(decisions: dict[str, str], chances: tuple[float, float, float] = (0.5, 0.5, 0.5)) -> list[Prediction]:
    """Return predictions for papers; 'yn?' is yes for relevance, no for apple, and needs review for pear."""
    words: dict[str, Decision] = {"y": "yes", "n": "no", "?": "refer"}
    return [
        Prediction(
            record_id=paper,
            label=label,
            score=0.0,
            probability=chance,
            threshold=0.5,
            decision=words[letter],
            model_id="m",
        )
        for paper, letters in decisions.items()
        for label, letter, chance in zip(("edible", *LABELS), letters, chances, strict=True)
    ]


def section(**varied: list[Prediction]) -> dict[str, dict[str, object]]:
    return invariance_section(varied, LABELS, "edible", 500, np.random.default_rng(1))


def test_counts_worked_by_hand() -> None:
    base = {"a": "yyn", "b": "n?n", "c": "?nn", "d": "yyy", "e": "nnn"}
    varied = {"d": "nyy", "a": "?yy", "c": "nnn", "b": "n?y"}
    found = section(
        as_it_is=rows(base, (0.9, 0.5, 0.5)),
        methods_added=rows(varied, (0.1, 0.25, 0.5)),
        headings_removed=rows(base, (0.9, 0.5, 0.5)),
        sentences_split=[],
    )
    assert list(found) == ["methods_added", "headings_removed", "sentences_split"]
    own = found["methods_added"]
    # Pear changes for a and b. Relevance changes for a, c and d, but only for d from yes to no.
    assert [own[key] for key in ("papers", "cells", "changed_cells")] == [4, 8, 2]
    assert [own[key] for key in ("relevance_changed", "relevance_reversed")] == [3, 1]
    assert own["changed"]["value"] == 0.25
    assert own["mean_change"]["value"] == 0.125  # of the labels, without relevance
    assert own["changed"]["ci_low"] < 0.25 < own["changed"]["ci_high"]
    same = found["headings_removed"]
    assert (same["papers"], same["changed_cells"], same["relevance_changed"], same["relevance_reversed"]) == (
        5,
        0,
        0,
        0,
    )
    # The Wilson interval of 0 of 5 papers.
    assert same["changed"]["ci_low"] == 0
    assert same["changed"]["ci_high"] == pytest.approx(1.959964**2 / (5 + 1.959964**2), abs=1e-5)
    none = found["sentences_split"]
    assert (none["papers"], none["cells"], none["changed"]["value"]) == (0, 0, None)


def test_interval_draws_whole_papers() -> None:
    """The interval is wider if the labels of a paper all change together."""
    base = rows({str(number): "ynn" for number in range(40)})
    together = rows({str(number): "yyy" if number < 10 else "ynn" for number in range(40)})
    apart = rows({str(number): "yyn" if number < 20 else "ynn" for number in range(40)})
    found = section(as_it_is=base, methods_added=together, methods_removed=apart)
    widths = [found[name]["changed"]["ci_high"] - found[name]["changed"]["ci_low"] for name in found]
    assert found["methods_added"]["changed"]["value"] == found["methods_removed"]["changed"]["value"] == 0.25
    # The standard error, sqrt(p (1 - p) / 40) for p = 1/4 and half of that for p = 1/2, times about 2 * 2.04.
    assert widths[0] == pytest.approx(4.1 * np.sqrt(3 / 16 / 40), rel=0.15)
    assert widths[1] == pytest.approx(4.1 * np.sqrt(1 / 4 / 40) / 2, rel=0.15)


def test_tables_that_do_not_match_are_refused() -> None:
    base = rows({"a": "ynn"})
    with pytest.raises(
        MechtagError,
        match=r"the table 'as_it_is' is missing\. Each table must be named after a variation \(methods_added",
    ):
        section(methods_added=base)
    with pytest.raises(MechtagError, match="no variation is called 'six'"):
        section(as_it_is=base, six=base)
    with pytest.raises(
        MechtagError, match="predictions of as_it_is: there is no prediction of label 'apple' for record b"
    ):
        section(as_it_is=base, methods_added=rows({"b": "ynn"}))


@pytest.fixture
def settings(tmp_path: Path, fruit: Codebook, word_encoder: WordEncoder, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr(train, "load_encoder", lambda _: word_encoder)
    return fruit_project(tmp_path, fruit)


def test_no_model_has_seen_the_papers_that_it_tags(
    settings: Settings, fruit: Codebook, monkeypatch: pytest.MonkeyPatch
) -> None:
    learnt: list[set[int]] = []
    real = mechtag.training.heads.fit_heads

    def watched(corpus, documents, settings):  # type: ignore[no-untyped-def]
        own = documents[corpus.document] & (corpus.document != NO_DOCUMENT)
        learnt.append({text for text, use in zip(corpus.texts, own, strict=True) if use})
        return real(corpus, documents, settings)

    monkeypatch.setattr(mechtag.training.heads, "fit_heads", watched)
    tagged = []
    for (records, _), texts in zip(fold_taggers(settings, fruit), learnt, strict=True):
        assert len(records) == 20
        assert not {record.title for record in records} & texts
        tagged += [record.record_id for record in records]
    coded = read_annotations(settings, fruit.keys, fruit.relevance.key)
    assert sorted(tagged) == sorted(row.record.record_id for row in coded)


def test_every_paper_is_tagged_as_it_is_and_in_the_variations_that_change_it(
    settings: Settings, fruit: Codebook
) -> None:
    steps: list[int] = []
    made = tag_varied(settings, fruit, on_progress=steps.append)
    assert steps == [1, 1]
    assert list(made) == [AS_IT_IS, *VARIATIONS]
    assert len(made[AS_IT_IS]) == 40 * 4
    assert len(made["keywords_added"]) == 40 * 4
    # The toy sentences have neither headings nor words with two spellings, and end without a full stop.
    assert made["headings_removed"] == made["spelling_british"] == made["methods_added"] == []
    base = {(row.record_id, row.label): row for row in made[AS_IT_IS]}
    assert len(base) == 40 * 4
    assert any(base[row.record_id, row.label].probability != row.probability for row in made["notices_added"])
    # Cleaning removes keywords.
    assert made["keywords_added"] == made[AS_IT_IS]
    assert not any(row.evidence for row in made[AS_IT_IS])


def test_predictions_are_those_of_the_record_tagged_alone(settings: Settings, fruit: Codebook) -> None:
    made = tag_varied(settings, fruit)
    by_place = {(row.record_id, row.label): row.probability for row in made[AS_IT_IS]}
    records, tagger = next(fold_taggers(settings, fruit))
    assert isinstance(tagger, Tagger)
    from mechtag.models.tagger import Document

    for record in records[:3]:
        # One line without a full stop is one sentence.
        (scored,) = tagger.tag([Document(record.title, (record.abstract,))])
        for label, chance in zip(fruit.all_keys, scored.probabilities, strict=True):
            assert by_place[record.record_id, label] == pytest.approx(chance)


def test_table_for_people_has_every_variation_with_its_counts() -> None:
    base = rows({"a": "yyn", "b": "n?n"})
    found = section(as_it_is=base, methods_added=rows({"a": "nyn", "b": "nnn"}), headings_removed=[])
    page = accuracy_markdown(Results.model_validate({"invariance": found}))
    table = [line.split(" | ") for line in page.splitlines() if line.startswith(("| Three methods", "| Headings"))]
    assert [line[:2] for line in table] == [["| Three methods sentences added", "2"], ["| Headings removed", "0"]]
    assert table[0][2].startswith("0.250 (")
    assert table[0][4:] == ["1", "1 |"]
    assert table[1][2:4] == ["–", "–"]
