"""Test the accuracy of predictions from full texts, and their comparison with baselines and with abstracts."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from mechtag.core.errors import MechtagError
from mechtag.core.files import write_json
from mechtag.core.full_text import FullText, FullTextTagging, Quality, Section
from mechtag.core.parquet import write_full_texts
from mechtag.core.records import Prediction, Record
from mechtag.evaluation.by_full_text import FullTextSet, naive_methods, read_full_text_set
from mechtag.evaluation.gold_benchmark import evaluate
from mechtag.evaluation.metrics import pooled_figures
from mechtag.evaluation.model_comparison import compute_differences
from mechtag.evaluation.predictions import System
from mechtag.evaluation.resampling import draw_resamples, exchange_p
from mechtag.evaluation.results import ByFullText, Results
from mechtag.pipeline.annotations.gold_table import GoldStandard, gold_standard, load_matrix
from tests.support.gold import LABELS, SETTINGS, predict

PAPERS = 30
QUALITY = Quality(pages=0, chars=0, scanned_pages=0, ocr_pages=0, references_cut=True, headings=1, letters_share=0.9)
# The first papers have only an abstract, the last ones only a full text.
ABSTRACT_ALONE, FULL_ALONE = ("p0", "p1", "p2"), ("p28", "p29")


@pytest.fixture
def gold(tmp_path: Path) -> GoldStandard:
    rows = [f"p{number},{number % 2},{number // 2 % 2},{number // 4 % 2}" for number in range(PAPERS)]
    (tmp_path / "codes.csv").write_text("\n".join([f"key,{','.join(LABELS)}", *rows]))
    records = [
        Record(
            record_id=f"text:{number}",
            title=f"Paper {number}",
            abstract="" if f"p{number}" in FULL_ALONE else "Text.",
            year=2000 + number,
            raw=(("key", f"p{number}"),),
        )
        for number in range(PAPERS)
    ]
    return gold_standard(load_matrix(tmp_path / "codes.csv"), records)


def text_of(record_id: str, words: int, query: int = 0) -> FullText:
    body, references = " ".join(["word"] * (words - query) + ["Leadership"] * query), "Leadership leadership leadership"
    sections = (
        Section(kind="results", title="", level=1, start=0, end=len(body)),
        Section(kind="references", title="", level=1, start=len(body), end=len(body) + len(references)),
    )
    return FullText(
        record_id=record_id,
        text=body + references,
        sections=sections,
        pages=(),
        source_file=f"{record_id[5:]}.pdf",
        format="pdf",
        sha256="0",
        reader="toy",
        quality=QUALITY,
        warnings=("A warning.",),
    )


def full_texts(gold: GoldStandard, noise: float = 0.0, windows: dict[str, int] | None = None) -> FullTextSet:
    """Return predictions from full texts, which are right if ``noise`` is 0 and random if it is 1."""
    generator = np.random.default_rng(4)
    rows, truth = [], gold.truth(LABELS)
    for number, record in enumerate(gold.evaluated):
        if f"p{number}" in ABSTRACT_ALONE:
            continue
        for label, code in zip(LABELS, truth[number], strict=True):
            chance = float(generator.uniform(0.6, 1) if code else generator.uniform(0, 0.4))
            mixed = (1 - noise) * chance + noise * float(generator.uniform())
            rows.append(predict(record.record_id, label, mixed).model_copy(update={"basis": "full-text"}))
    ids = {row.record_id for row in rows}
    own = windows or {record_id: 1 + int(record_id[5:]) % 5 for record_id in ids}
    tagging = {record_id: FullTextTagging(windows=own[record_id], notes=("a note",)) for record_id in ids}
    texts = {record_id: text_of(record_id, 100 + int(record_id[5:]), int(record_id[5:]) % 3) for record_id in ids}
    return FullTextSet(rows, texts, tagging, "leadership")


def abstracts(gold: GoldStandard, seed: int = 1) -> list[Prediction]:
    generator = np.random.default_rng(seed)
    return [predict(row.record_id, label, generator.random()) for row in gold.evaluated for label in LABELS]


def measured(gold: GoldStandard, rows: list[Prediction], found: FullTextSet | None) -> Results:
    return evaluate(LABELS, gold, {"transfer": rows}, SETTINGS, np.random.default_rng(2), full_texts=found)


def section(gold: GoldStandard, rows: list[Prediction], found: FullTextSet) -> ByFullText:
    made = measured(gold, rows, found).by_full_text
    assert made is not None
    return made


def area(gold: GoldStandard, rows: list[Prediction], ids: set[str]) -> float:
    """Return the mean ROC AUC over labels, computed by scikit-learn."""
    by_cell = {(row.record_id, row.label): row.score for row in rows}
    chosen = [place for place, record in enumerate(gold.evaluated) if record.record_id in ids]
    truth, records = gold.truth(LABELS), gold.evaluated
    areas = [
        roc_auc_score(truth[chosen, column], [by_cell[records[place].record_id, label] for place in chosen])
        for column, label in enumerate(LABELS)
    ]
    return float(np.mean(areas))


def test_metrics_of_each_basis_use_only_its_papers(gold: GoldStandard) -> None:
    rows, found = abstracts(gold), full_texts(gold, 0.6)
    own = section(gold, rows, found)
    assert own.full_text.papers == PAPERS - len(ABSTRACT_ALONE)
    assert own.full_text.pooled.across_auc.value == pytest.approx(
        area(gold, list(found.predictions), set(found.texts)), abs=1e-6
    )
    assert [(name, one.papers) for name, one in own.naive.items()] == [
        ("text_length", 27),
        ("windows", 27),
        ("leadership_per_1000_words", 27),
    ]
    both = {f"text:{number}" for number in range(3, 28)}
    best = [row for row in rows if row.record_id not in found.texts] + list(found.predictions)
    assert own.best_available.papers == PAPERS
    everything = {record.record_id for record in gold.evaluated}
    assert own.best_available.pooled.across_auc.value == pytest.approx(area(gold, best, everything), abs=1e-6)
    assert own.paired is not None
    paired = own.paired.differences["across_auc"]
    assert own.paired.papers == len(both)
    assert paired.abstract == pytest.approx(area(gold, rows, both), abs=1e-6)
    assert paired.full_text == pytest.approx(area(gold, list(found.predictions), both), abs=1e-6)
    assert paired.difference.value == pytest.approx((paired.full_text or 0) - (paired.abstract or 0), abs=1e-6)


def test_other_metrics_are_the_same_without_full_texts(gold: GoldStandard, coded: Any) -> None:
    def made(found: FullTextSet | None) -> dict[str, Any]:
        rows = [*abstracts(gold), *(predict(one.record_id, "relevant", 0.7) for one in gold.evaluated)]
        systems = {"transfer": rows}
        results = evaluate(
            LABELS, gold, systems, SETTINGS, np.random.default_rng(2), coded=coded, full_texts=found
        ).content()
        assert ("by_full_text" in results) == (found is not None)
        results.pop("by_full_text", None)
        return results

    found = full_texts(gold)
    relevance = [predict(one, "relevant", 0.7).model_copy(update={"basis": "full-text"}) for one in found.texts]
    with_full = made(replace(found, predictions=[*found.predictions, *relevance]))
    assert json.dumps(with_full) == json.dumps(made(None))


def test_a_known_difference_is_found_and_named(gold: GoldStandard) -> None:
    paired = section(gold, abstracts(gold), full_texts(gold)).paired
    assert paired is not None
    assert paired.papers == 25
    across = paired.differences["across_auc"]
    assert across.full_text == 1
    assert across.difference.ci_low is not None
    assert across.difference.ci_low > 0
    assert across.difference.p_value is not None
    assert across.difference.p_value < 0.02
    said = paired.describe()
    assert said.startswith("25 papers have both an abstract and a full text. On these papers, the full text is better")
    assert "across papers" in said
    # The difference is negative, but fewer wrong decisions are better.
    assert paired.differences["hamming_loss"].difference.value < 0  # type: ignore[operator]
    assert "labels wrong" in said
    assert "worse" not in said


def test_two_bases_with_the_same_predictions_do_not_differ(gold: GoldStandard) -> None:
    found = full_texts(gold, 0.5)
    same = [row.model_copy(update={"basis": "abstract"}) for row in found.predictions]
    rows = [row for row in abstracts(gold) if row.record_id not in found.texts] + same
    paired = section(gold, rows, found).paired
    assert paired is not None
    for each in paired.differences.values():
        assert each.difference.value == 0
        assert each.difference.p_value == 1
    assert "No figure shows a difference between the full text and the abstract." in paired.describe()


def test_papers_with_one_basis_never_enter_the_comparison(gold: GoldStandard) -> None:
    rows, found = abstracts(gold), full_texts(gold, 0.5)
    alone = {gold.records[key].record_id for key in (*ABSTRACT_ALONE, *FULL_ALONE)}
    changed = [row.model_copy(update={"score": 1 - row.score}) if row.record_id in alone else row for row in rows]  # type: ignore[operator]
    full = [
        row.model_copy(update={"score": 1 - row.score}) if row.record_id in alone else row  # type: ignore[operator]
        for row in found.predictions
    ]
    before, after = section(gold, rows, found), section(gold, changed, replace(found, predictions=full))
    assert before.paired == after.paired
    assert before.full_text != after.full_text
    assert before.best_available != after.best_available


def test_few_pairs_are_printed_and_called_too_few(gold: GoldStandard) -> None:
    found = full_texts(gold)
    few = {f"text:{number}" for number in range(9, 28)}
    kept = replace(found, predictions=[row for row in found.predictions if row.record_id in few])
    kept = replace(kept, texts={key: text for key, text in found.texts.items() if key in few})
    paired = section(gold, abstracts(gold), kept).paired
    assert paired is not None
    assert paired.papers == 19
    assert paired.describe() == (
        "19 papers have both an abstract and a full text: too few to say which is better (at least 20 are needed)."
    )
    assert paired.differences["across_auc"].difference.value is not None


def test_without_a_pair_there_is_no_comparison(gold: GoldStandard) -> None:
    found = full_texts(gold)
    alone = {gold.records[key].record_id for key in FULL_ALONE}
    kept = replace(
        found,
        predictions=[row for row in found.predictions if row.record_id in alone],
        texts={key: text for key, text in found.texts.items() if key in alone},
    )
    assert section(gold, abstracts(gold), kept).paired is None


def test_coverage_lists_each_paper_and_the_years(gold: GoldStandard) -> None:
    own = section(gold, abstracts(gold), full_texts(gold)).coverage
    assert (own.papers, own.full_text, own.both) == (30, 27, 25)
    assert own.without == ABSTRACT_ALONE
    paper = own.by_paper["p8"]
    assert (paper.file, paper.pages, paper.word_count, paper.windows) == ("8.pdf", 0, 108, 4)
    assert paper.query_words == pytest.approx(1000 * 2 / 108, abs=1e-6)
    assert (paper.has_abstract, own.by_paper["p29"].has_abstract) == (True, False)
    assert paper.remarks == ["A warning.", "A note."]
    said = own.describe()
    assert "27 of the 30 papers of the gold standard have a full text; 25 of them have an abstract as well." in said
    assert "are not a random sample of all papers" in said
    assert "from 2003 to 2029 (median 2016), the others from 2000 to 2002 (median 2001)" in said


def test_metrics_not_better_than_the_number_of_windows_are_named(gold: GoldStandard) -> None:
    truth = gold.truth(LABELS)
    # The number of windows predicts the first label perfectly.
    windows = {record.record_id: 5 + int(truth[row, 0]) for row, record in enumerate(gold.evaluated)}
    own = section(gold, abstracts(gold), full_texts(gold, 0.9, windows))
    assert own.naive["windows"].labels["trust"].roc_auc.value == 1
    assert "trust" in own.labels_not_above_windows
    for name in own.not_above_windows:
        mine, naive = (system.pooled.figure(name).value for system in (own.full_text, own.naive["windows"]))
        assert mine is not None
        assert naive is not None
        assert mine >= naive if name == "hamming_loss" else mine <= naive
    good = section(gold, abstracts(gold), full_texts(gold))
    assert good.not_above_windows == ()
    assert good.describe_windows() == "In each figure, the tool is better than the number of windows alone."
    bad = full_texts(gold)
    wrong = [
        row.model_copy(update={"score": 1 - row.score, "probability": 1 - row.score, "decision": "no"})  # type: ignore[operator]
        for row in bad.predictions
    ]
    named = section(gold, abstracts(gold), replace(bad, predictions=wrong))
    assert {"across_auc", "kappa", "hamming_loss"} <= set(named.not_above_windows)
    assert "not better than the number of windows alone in: across papers" in named.describe_windows()


def test_naive_methods_know_only_the_text(gold: GoldStandard) -> None:
    found = full_texts(gold)
    made = naive_methods(found, LABELS)
    rows = {row.record_id: row for row in made["leadership_per_1000_words"] if row.label == "trust"}
    # References mention the word too, but are not counted.
    assert rows["text:9"].score == 0
    assert rows["text:10"].score == pytest.approx(1000 / 110)
    yes = [row.score for row in made["text_length"] if row.decision == "yes"]
    no = [row.score for row in made["text_length"] if row.decision == "no"]
    assert min(filter(None, yes)) > max(filter(None, no))
    assert set(naive_methods(replace(found, query=""), LABELS)) == {"text_length", "windows"}
    two = replace(found, query="word  Word")
    assert two.counts("text:3").query_words == pytest.approx(1000 * 102 / 103)


def test_p_values_are_those_of_all_exchanges(gold: GoldStandard) -> None:
    """For few papers, the exact p-value can be computed from all possible exchanges of the two systems."""
    ids, found = [f"text:{number}" for number in range(3, 9)], full_texts(gold, 0.7)
    truth = gold.truth(LABELS)[3:9]
    # The scale of the scores must not change the result.
    far = [row.model_copy(update={"score": 50 + 100 * row.score}) for row in found.predictions]  # type: ignore[operator]
    pair = [System("x", rows).judged(ids, LABELS, truth) for rows in (abstracts(gold), far)]
    exchanged = np.array(list(product((0.0, 1.0), repeat=6)))
    made = exchange_p(pooled_figures, pair[0], pair[1], exchanged)
    ranks = [np.argsort(np.argsort(one.score, axis=0), axis=0) for one in pair]

    def difference(swap: np.ndarray) -> float:
        areas = []
        for first, second in ((ranks[0], ranks[1]), (ranks[1], ranks[0])):
            scores = np.where(swap[:, None] == 1, second, first)
            areas.append(np.mean([roc_auc_score(truth[:, one], scores[:, one]) for one in range(3)]))
        return float(areas[1] - areas[0])

    gaps = np.array([abs(difference(swap)) for swap in exchanged])
    expected = (1 + (gaps >= gaps[0] - 1e-9).sum()) / (1 + len(gaps))
    assert made["across_auc"] == pytest.approx(expected)
    draws = draw_resamples(6, 100, 0, np.random.default_rng(1))
    by_name = {each.figure: each for each in compute_differences(pooled_figures, *pair, draws)}
    assert abs(by_name["across_auc"].difference or 0) == pytest.approx(gaps[0])


def test_what_is_missing_is_named(gold: GoldStandard, tmp_path: Path) -> None:
    found = full_texts(gold)
    predictions, table = tmp_path / "predictions.parquet", tmp_path / "fulltexts.parquet"
    texts = list(found.texts.values())

    def read(rows: Any = found.predictions) -> FullTextSet:
        return read_full_text_set(predictions, rows, table, gold, "leadership")

    write_full_texts(table, texts)
    with pytest.raises(MechtagError, match="no paper of the gold standard was tagged from its full text"):
        read([row.model_copy(update={"record_id": "else"}) for row in found.predictions])
    tagging = {record_id: own.model_dump(mode="json") for record_id, own in found.tagging.items()}
    write_json(tmp_path / "summary.json", {"full_texts": {**tagging, "text:5": ["a note, as before"]}})
    with pytest.raises(MechtagError, match=r"number of windows .* is missing for record text:10; tag the papers again"):
        read()
    write_json(tmp_path / "summary.json", {"full_texts": tagging})
    assert read() == found
    write_full_texts(table, texts[1:])
    with pytest.raises(MechtagError, match=f"full text of record {texts[0].record_id} is missing"):
        read()


def test_papers_that_nobody_coded_are_tagged_but_not_measured(tmp_path: Path) -> None:
    rows = [f"p{number},{number % 2},{number // 2 % 2},{number // 4 % 2}" for number in range(8)]
    (tmp_path / "codes.csv").write_text("\n".join([f"key,{','.join(LABELS)}", *rows, "p8,,,", "p9,,,"]))
    records = [
        Record(record_id=f"text:{number}", title=f"Paper {number}", abstract="Text.", raw=(("key", f"p{number}"),))
        for number in range(10)
    ]
    own = gold_standard(load_matrix(tmp_path / "codes.csv"), records)
    made = section(own, abstracts(own), full_texts(own))
    assert (made.best_available.papers, made.full_text.papers) == (8, 5)
    assert "7 papers by their full text, and the other 3 by their abstract or title" in made.describe_best()
