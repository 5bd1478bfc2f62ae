"""Test how a challenger is compared with the champion, and how changed decisions are explained."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score, roc_auc_score

from mechtag.core.errors import MechtagError
from mechtag.core.records import Prediction, Record
from mechtag.core.settings import RetrainSettings, SentenceSettings
from mechtag.evaluation.model_comparison import Difference, compare_systems, decide_promotion
from mechtag.evaluation.predictions import System
from mechtag.models.model_folder import load_model
from mechtag.models.scoring import Calibration
from mechtag.models.tagger import Document, Tagger
from mechtag.pipeline.annotations.coded_records import CodedRecord
from mechtag.pipeline.reading.text.sentences import split
from mechtag.pipeline.tagging.predict import predict
from mechtag.training.retraining.explain_changes import BOUNDS, find_changes, write_change_log
from tests.support.retrainings import Project, made, new_records, project

__all__ = ["made", "project"]  # fixtures, which pytest finds by their names here

pytestmark = pytest.mark.usefixtures("one_thread")


def system(name: str, coded: list[CodedRecord], scores: np.ndarray, keys: list[str]) -> System:
    rows = [
        Prediction(
            record_id=record.record.record_id,
            label=key,
            score=float(scores[row, column]),
            probability=float(1 / (1 + np.exp(-scores[row, column]))),
            threshold=0.5,
            decision="yes" if scores[row, column] >= 0 else "no",
            model_id=name,
        )
        for row, record in enumerate(coded)
        for column, key in enumerate(keys)
    ]
    return System(name, rows)


def test_the_comparison_agrees_with_scikit_learn(project: Project) -> None:
    coded, fruit = project.coded, project.fruit
    keys = list(fruit.all_keys)
    generator = np.random.default_rng(3)
    truth = np.array([[record.relevant, *(record.code(key) for key in fruit.keys)] for record in coded], dtype=float)
    signals = [(truth - 0.5) * strength + generator.normal(size=truth.shape) for strength in (1.0, 6.0)]
    systems = [system(name, coded, scores, keys) for name, scores in zip("ab", signals, strict=True)]
    settings = RetrainSettings(bootstrap=300, margins={"across_auc": 0.05, "relevance_auc": 0.05, "kappa": 0.05})
    found = {
        each.figure: each
        for each in compare_systems(*systems, coded, fruit.keys, keys[0], settings, np.random.default_rng(1))
    }
    # No paper is coded yes for plum.
    labels = [column for column in range(1, len(keys)) if len(np.unique(truth[:, column])) == 2]
    assert len(labels) == 2
    for side, scores in zip(("champion", "challenger"), signals, strict=True):
        assert getattr(found["relevance_auc"], side) == pytest.approx(roc_auc_score(truth[:, 0], scores[:, 0]))
        across = np.mean([roc_auc_score(truth[:, column], scores[:, column]) for column in labels])
        assert getattr(found["across_auc"], side) == pytest.approx(across)
        kappa = cohen_kappa_score(truth[:, 1:].ravel(), (scores[:, 1:] >= 0).ravel())
        assert getattr(found["kappa"], side) == pytest.approx(kappa)
    for each in (found["across_auc"], found["relevance_auc"]):
        assert each.difference == pytest.approx(each.challenger - each.champion)
        assert each.ci_low < each.difference < each.ci_high
    assert decide_promotion({"all": list(found.values())}, settings).promote
    back = compare_systems(*systems[::-1], coded, fruit.keys, keys[0], settings, np.random.default_rng(1))
    assert not decide_promotion({"all": back}, settings).promote
    # If the challenger may be worse on one set of papers, the champion stays.
    assert not decide_promotion({"all": list(found.values()), "earlier": back}, settings).promote
    # Both systems are compared on the same resamples, so a system never differs from itself.
    same = compare_systems(systems[0], systems[0], coded, fruit.keys, keys[0], settings, np.random.default_rng(1))
    assert {(each.ci_low, each.ci_high) for each in same if each.difference is not None} == {(0.0, 0.0)}


@pytest.mark.parametrize(
    ("difference", "low", "high", "promoted"),
    [
        (-0.01, -0.019, 0.0, True),
        (-0.01, -0.02, 0.0, False),  # Exactly the margin is too low.
        (0.01, -0.021, 0.04, False),  # Higher on these papers, but it may be worse on others.
        (-0.03, -0.04, -0.02, False),
    ],
)
def test_promotion_depends_on_the_lower_end_of_the_interval(
    difference: float, low: float, high: float, promoted: bool
) -> None:
    found = Difference("across_auc", 0.8, 0.8 + difference, difference, low, high)
    settings = RetrainSettings(margins={"across_auc": 0.02})
    assert decide_promotion({"all": [found]}, settings).promote == promoted


def test_figures_that_cannot_be_compared(project: Project) -> None:
    coded, fruit = project.coded, project.fruit
    scores = np.random.default_rng(4).normal(size=(len(coded), len(fruit.all_keys)))
    systems = [system(name, coded, each, list(fruit.all_keys)) for name, each in (("a", scores), ("b", -scores))]
    settings = RetrainSettings(bootstrap=200, margins={"across_auc": 0.1, "hamming_loss": 0.1})
    with pytest.raises(MechtagError, match="'hamming_loss' is not a metric whose higher values are better"):
        compare_systems(*systems, coded, fruit.keys, fruit.relevance.key, settings, np.random.default_rng(1))
    only_relevant = [record for record in coded if record.relevant]
    settings = RetrainSettings(bootstrap=200, margins={"relevance_auc": 0.1})
    nothing = compare_systems(
        *systems, only_relevant, fruit.keys, fruit.relevance.key, settings, np.random.default_rng(1)
    )
    refused = decide_promotion({"all": nothing}, settings)
    assert (
        refused.promote,
        "in most random samples of them, all papers or none are relevant" in refused.reasons[0],
    ) == (
        False,
        True,
    )


def with_calibration(tagger: Tagger, change: Callable[[Calibration], Calibration]) -> Tagger:
    return replace(tagger, calibration=change(tagger.calibration))


def shifted(values: np.ndarray, column: int, by: float) -> np.ndarray:
    moved = values.copy()
    moved[column] += by
    return moved


def with_bounds(tagger: Tagger, low: float, high: float) -> Tagger:
    """Set the bounds of no and yes to these quantiles of the new papers' probabilities."""
    tagged = tagger.tag([Document(record.title, tuple(record.abstract.split("."))) for record in new_records()])
    bounds = np.quantile([scored.probabilities for scored in tagged], [low, high], axis=0)
    return with_calibration(tagger, lambda own: replace(own, low=bounds[0], high=bounds[1]))


@pytest.mark.parametrize("cause", ["sentences", "calibration", "relevance", BOUNDS, "all"])
def test_the_step_that_made_the_difference_is_named(project: Project, cause: str) -> None:
    old = with_bounds(load_model(project.places.model).tagger, 0.3, 0.6)
    column = old.codebook.all_keys.index("apple")
    weights = old.heads.word_weights * -3
    changed: dict[str, Callable[[], Tagger]] = {
        "sentences": lambda: replace(old, heads=replace(old.heads, word_weights=weights)),
        "calibration": lambda: with_calibration(old, lambda x: replace(x, intercept=shifted(x.intercept, column, -6))),
        "relevance": lambda: with_calibration(old, lambda x: replace(x, intercept=shifted(x.intercept, 0, -2))),
        BOUNDS: lambda: with_bounds(old, 0.3, 0.9),
        "all": lambda: project.challenger.model.tagger,
    }
    new = changed[cause]()
    records = new_records()
    sentences = list(split(records, SentenceSettings()))
    learnt = [record for record in project.coded if record.added]
    found = {(each.record_id, each.label): each for each in find_changes(old, new, records, sentences, learnt)}
    before, after = (predict(tagger, "m", records, sentences, evidence_sentences=1) for tagger in (old, new))
    pairs = {(one.record_id, one.label): (one, two) for one, two in zip(before, after, strict=True)}
    flips = {name: pair for name, pair in pairs.items() if pair[0].decision != pair[1].decision}
    assert found.keys() == flips.keys()
    assert found
    for name, (one, two) in flips.items():
        change = found[name]
        assert (change.old, change.new) == (one.decision, two.decision)
        assert (change.probabilities[0], change.probabilities[-1]) == pytest.approx((one.probability, two.probability))
        if cause not in ("all", "relevance") or (cause == "relevance" and change.label != "edible"):
            assert change.cause == cause
        if cause == "sentences":
            assert "because of its words" in change.why
        if change.cause != BOUNDS:
            assert "the record itself was newly coded" in change.why
    if cause == "calibration":
        assert {label for _, label in found} == {"apple"}


def test_decisions_that_a_model_never_makes_are_described(project: Project) -> None:
    tagger = load_model(project.places.model).tagger
    records = new_records()
    sentences = list(split(records, SentenceSettings()))
    size = len(tagger.codebook.all_keys)

    def bounded(low: float, high: float) -> Tagger:
        return with_calibration(tagger, lambda own: replace(own, low=np.full(size, low), high=np.full(size, high)))

    changes = find_changes(bounded(0.0, np.inf), bounded(0.999, 0.999), records, sentences, [])
    assert {change.why for change in changes} == {
        "the decision bounds changed: before, never no, never yes; now, no below 1.00, yes from 1.00"
    }
    changes = find_changes(bounded(0.0, np.inf), bounded(np.inf, np.inf), records, sentences, [])
    assert {change.why for change in changes} == {
        "the decision bounds changed: before, never no, never yes; now, always no"
    }


def test_words_that_hardly_moved_the_score_are_not_named(project: Project) -> None:
    tagger = load_model(project.places.model).tagger
    row, terms = tagger.codebook.keys.index("apple"), list(tagger.heads.words.terms)
    record = Record(record_id="text:one", title="", abstract="Apple pear fruit town.")
    sentences = list(split([record], SentenceSettings()))
    before = predict(tagger, "m", [record], sentences, evidence_sentences=1)
    (chance,) = (one.probability for one in before if one.label == "apple")
    bounds = np.array([0.0, *[chance / 2] * len(tagger.codebook.keys)])
    old = with_calibration(tagger, lambda own: replace(own, low=bounds, high=bounds))
    # How much each word lowers the score of the sentence.
    taken = {"apple": 60, "pear": 0.06, "fruit": 0.04, "town": 0.04}
    values = old.heads.words.features(["apple pear fruit town"]).toarray()[0]
    weights = old.heads.word_weights.copy()
    for word, share in taken.items():
        weights[row, terms.index(word)] -= share / values[terms.index(word)]
    new = replace(old, heads=replace(old.heads, word_weights=weights))
    (found,) = find_changes(old, new, [record], sentences, [])
    assert (found.label, found.cause) == ("apple", "sentences")
    assert "changed by -60.14 because of its words (apple, pear)" in found.why


def test_the_change_log_is_readable_and_contains_no_markup(project: Project, tmp_path: Path) -> None:
    old = with_bounds(load_model(project.places.model).tagger, 0.3, 0.6)
    new = with_bounds(old, 0.3, 0.9)
    records = [record.model_copy(update={"title": f"=<b>{record.title}</b>|"}) for record in new_records()]
    changes = find_changes(old, new, records, list(split(records, SentenceSettings())), [])
    write_change_log(tmp_path, changes, len(records), "one", "two")
    text = (tmp_path / "changes.md").read_text(encoding="utf-8")
    assert f"{len(changes)} decisions on" in text
    assert "\\<b\\>" in text
    with (tmp_path / "changes.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(changes)
    assert all(row["title"].startswith("'=") for row in rows)
    write_change_log(tmp_path, [], 0, "one", "two")
    assert "tagged the same 0 records. 0 decisions on 0 of these records differ." in (
        tmp_path / "changes.md"
    ).read_text("utf-8")
    assert find_changes(old, new, [], [], []) == []
