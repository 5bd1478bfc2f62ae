"""Test what training prints about each label: counts of its codes, and warnings if its ranking may be chance."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from mechtag.core.codebook import Codebook
from mechtag.core.errors import MechtagError
from mechtag.models.features import Definitions
from mechtag.pipeline.annotations.coded_records import Exemplar
from mechtag.training.dataset import Corpus, build_corpus
from mechtag.training.label_summary import (
    LabelSummary,
    _Ranking,
    label_table,
    refuse_without_negatives,
    summarise_labels,
)
from tests.support.toy import WordEncoder, fruit_documents


def corpus_of(fruit: Codebook, definitions: Definitions, **codes: list[int | None]) -> Corpus:
    """Return fruit papers coded as a whole; ``codes`` lists the codes of relevant papers, repeated as needed."""
    documents = []
    place = 0
    for document in fruit_documents(40):
        own = dict(document.codes)
        if document.relevant:
            own |= {key: values[place % len(values)] for key, values in codes.items()}
            place += 1
        documents.append(replace(document, codes=own, sentence_labels=None))
    return build_corpus(documents, [], fruit.keys, WordEncoder(), definitions)


@pytest.mark.parametrize(
    ("codes", "named"),
    [
        # As in exports of programs that record only ticks.
        ({"apple": [1, None], "pear": [1, None], "plum": [None]}, r"2 of 3 labels .*: apple \(15 records\), pear"),
        ({"plum": [1]}, r"1 of 3 labels are coded yes, but never no: plum \(30 records\)"),
    ],
)
def test_labels_without_a_no_are_refused(
    codes: dict[str, list[int | None]], named: str, fruit: Codebook, fruit_definitions: Definitions
) -> None:
    with pytest.raises(MechtagError, match=named) as error:
        refuse_without_negatives(corpus_of(fruit, fruit_definitions, **codes), fruit)
    assert "mechtag codings --unticked no" in str(error.value)


def few(yes: int, other: int | None = None) -> list[int | None]:
    """Return the codes of thirty relevant papers: the first ``yes`` have the code 1, the rest the code ``other``."""
    return [1] * yes + [other] * (30 - yes)


@pytest.mark.parametrize(
    ("codes", "named"),
    [
        # Rare labels may lack a no by chance, if the coders do record a no for another label.
        ({"plum": few(1)}, None),
        ({"plum": few(4)}, None),
        ({"plum": few(4), "pear": few(2)}, None),
        ({"plum": few(5)}, r"1 of 3 labels are coded yes, but never no: plum \(5 records\)"),
        # All labels without a no are named, even if one of them is the cause.
        ({"plum": few(4), "pear": few(5)}, r"2 of 3 labels .*: pear \(5 records\), plum \(4 records\)"),
        # Coders who never record a no did not leave it out by chance, however few records they coded.
        (
            {"apple": few(1), "pear": few(2), "plum": [None]},
            r"2 of 3 labels .*: apple \(1 record\), pear \(2 records\)",
        ),
        ({"apple": few(1), "pear": few(1), "plum": few(1)}, "3 of 3 labels"),
        # A label with a no is never refused, however many records are coded yes.
        ({"plum": few(29, 0)}, None),
    ],
)
def test_rare_labels_without_a_no_are_refused_only_if_no_label_has_one(
    codes: dict[str, list[int | None]], named: str | None, fruit: Codebook, fruit_definitions: Definitions
) -> None:
    corpus = corpus_of(fruit, fruit_definitions, **codes)
    if named is None:
        refuse_without_negatives(corpus, fruit)
        return
    with pytest.raises(MechtagError, match=named):
        refuse_without_negatives(corpus, fruit)


def test_exemplars_do_not_count_as_codes(fruit: Codebook, fruit_definitions: Definitions) -> None:
    """An exemplar of pear is a negative example of apple, but not a coder's no."""
    exemplar = Exemplar(id="e", text="pear perry", labels=("pear",))
    documents = [
        replace(document, codes={"apple": 1, "pear": None, "plum": None}, sentence_labels=None)
        for document in fruit_documents(3)[1:]
    ]
    corpus = build_corpus(documents, [exemplar], fruit.keys, WordEncoder(), fruit_definitions)
    with pytest.raises(MechtagError, match=r"1 of 3 labels are coded yes, but never no: apple \(2 records\)"):
        refuse_without_negatives(corpus, fruit)


def test_nothing_is_refused_where_nothing_is_coded(fruit: Codebook, fruit_definitions: Definitions) -> None:
    refuse_without_negatives(build_corpus([], [], fruit.keys, WordEncoder(), fruit_definitions), fruit)


def test_labels_with_a_no_anywhere_or_no_codes_are_not_refused(
    fruit: Codebook, fruit_definitions: Definitions, fruit_corpus: Corpus
) -> None:
    refuse_without_negatives(corpus_of(fruit, fruit_definitions, plum=[None]), fruit)
    refuse_without_negatives(corpus_of(fruit, fruit_definitions, plum=[0]), fruit)
    # Sentences that do not have the label are negative examples, even if all papers have it.
    every = fruit_corpus.document_targets.copy()
    every[every[:, 0] == 1, 1] = 1
    refuse_without_negatives(replace(fruit_corpus, document_targets=every), fruit)


def test_counts_and_figures_of_each_label(fruit: Codebook, fruit_definitions: Definitions) -> None:
    corpus = corpus_of(fruit, fruit_definitions, pear=[1, 0, None], plum=[None])
    scores = np.random.default_rng(2).normal(size=corpus.document_targets.shape)
    scores[:, 1] = np.nan_to_num(corpus.document_targets[:, 1])
    edible, apple, pear, plum = summarise_labels(corpus, scores, fruit)
    assert (edible.key, edible.records, edible.yes, edible.no, edible.not_judged) == ("edible", 40, 30, 10, 0)
    assert (apple.records, apple.yes, apple.no, apple.not_judged, apple.auc) == (30, 20, 10, 0, 1.0)
    assert (pear.records, pear.yes, pear.no, pear.not_judged) == (30, 10, 10, 10)
    assert (plum.yes, plum.no, plum.not_judged, plum.auc) == (0, 0, 30, None)
    judged = ~np.isnan(corpus.document_targets[:, 2])
    assert pear.auc == pytest.approx(roc_auc_score(corpus.document_targets[judged, 2], scores[judged, 2]))
    assert edible.definition_auc is None
    lines = label_table([edible, apple, pear, plum])
    assert lines[1].split("  ")[0].strip() == "label"
    assert [line.split() for line in lines[2:]] == [
        ["edible", "40", "30", "10", "0", f"{edible.auc:.2f}"],
        ["apple", "30", "20", "10", "0", "1.00"],
        ["pear", "30", "10", "10", "10", f"{pear.auc:.2f}"],
        ["plum", "30", "0", "0", "30", "-"],
    ]


def test_noise_is_not_taken_for_success() -> None:
    """Random rankings, and rankings as good as the definition's, are called better in about 5 % of cases."""
    generator = np.random.default_rng(11)
    silent = {"chance": 0, "definition": 0}
    for _ in range(400):
        carried = np.arange(60) < 25
        model = generator.normal(size=60)
        silent["chance"] += _Ranking(model, carried).chance_p() <= 0.05
        signal = carried * 1.0
        first, second = (_Ranking(signal + generator.normal(size=60), carried) for _ in range(2))
        silent["definition"] += first.better_than(second) <= 0.05
    carried = np.arange(60) < 25
    assert _Ranking(carried * 1.0, carried).chance_p() < 1e-6
    assert _Ranking(carried * -1.0, carried).chance_p() > 0.99
    assert 5 <= silent["chance"] <= 35
    assert 5 <= silent["definition"] <= 35


def test_paired_comparison_by_hand() -> None:
    """The expected value uses DeLong's variance, computed from the covariance of the records' placements."""
    generator = np.random.default_rng(4)
    carried = np.arange(30) < 12
    one, two = (carried * shift + generator.normal(size=30) for shift in (1.5, 0.5))
    placed = []
    for score in (one, two):
        wins = (score[carried][:, None] > score[~carried][None, :]).astype(float)
        placed.append((wins.mean(axis=1), wins.mean(axis=0)))
    variance = sum(
        np.cov(placed[0][kind], placed[1][kind])[0, 0] / count
        + np.cov(placed[0][kind], placed[1][kind])[1, 1] / count
        - 2 * np.cov(placed[0][kind], placed[1][kind])[0, 1] / count
        for kind, count in ((0, 12), (1, 18))
    )
    first, second = _Ranking(one, carried), _Ranking(two, carried)
    expected = stats.norm.sf((first.value - second.value) / np.sqrt(variance))
    assert first.better_than(second) == pytest.approx(expected)
    assert first.better_than(first) == 0.5


@pytest.mark.parametrize(
    ("summary", "said"),
    [
        (LabelSummary("trust", 40, 20, 20, 0, 0.55, 0.3, 0.5, 0.2), ["better than chance", "definition alone"]),
        (LabelSummary("trust", 40, 20, 20, 0, 0.8, 0.001, 0.79, 0.4), ["definition alone"]),
        (LabelSummary("trust", 40, 20, 20, 0, 0.9, 0.001, 0.6, 0.001), []),
        (LabelSummary("relevant", 40, 20, 20, 0, 0.9, 0.001), []),
        (LabelSummary("relevant", 40, 40, 0, 0), ["no record is coded no"]),
        (LabelSummary("trust", 40, 0, 0, 40), []),
    ],
)
def test_warnings_of_a_label(summary: LabelSummary, said: list[str]) -> None:
    found = summary.warnings()
    assert len(found) == len(said)
    for part, warning in zip(said, found, strict=True):
        assert part in warning
        assert warning.startswith(f"{summary.key}: ")


@pytest.mark.parametrize("flipped", [False, True])
def test_one_record_with_or_without_a_label_shows_no_gain(flipped: bool) -> None:
    carried = np.arange(8) == 0
    model = np.where(carried, 1.0, np.linspace(0, 0.9, 8))
    definition = np.where(carried, 0.3, np.linspace(0, 0.9, 8))
    if flipped:
        carried, model, definition = ~carried, -model, -definition
    first, second = _Ranking(model, carried), _Ranking(definition, carried)
    assert first.value > second.value
    assert first.better_than(second) == 0.5
    assert second.better_than(first) == 1
