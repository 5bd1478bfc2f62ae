"""Test which papers are chosen to be coded next, and which reason is given."""

from __future__ import annotations

import numpy as np
import pytest

from mechtag.core.records import Prediction
from mechtag.pipeline.screening.coding_order import TURNS, Papers, Reason, choose, explain, papers_of


def papers(labels: list[list[float]], relevance: list[float] | None = None, coded: tuple[int, ...] = ()) -> Papers:
    count = len(labels)
    return Papers(
        relevance=np.ones(count) if relevance is None else np.array(relevance),
        labels=np.array(labels),
        coded=np.isin(np.arange(count), coded),
        order=np.arange(count)[::-1],
    )


def drawn(count: int, labels: int = 3) -> Papers:
    generator = np.random.default_rng(0)
    return Papers(
        generator.random(count),
        generator.random((count, labels)),
        np.zeros(count, dtype=bool),
        generator.permutation(count),
    )


def rows(papers: Papers, examples: list[int], count: int, *turns: Reason) -> list[int]:
    return [choice.row for choice in choose(papers, np.array(examples, dtype=float), count, turns)]


def test_a_label_without_examples_comes_first() -> None:
    found = papers([[0.9, 0.1], [0.2, 0.6], [0.8, 0.3]])
    first = choose(found, np.array([4.0, 0.0]), 1, ("label",))
    assert (first[0].row, first[0].label) == (1, 1)
    assert rows(found, [0, 4], 1, "label") == [0]


def test_probable_examples_that_were_chosen_count() -> None:
    # The first paper probably has both labels, so the second choice is again for the rarer label, the first.
    found = papers([[0.9, 0.9], [0.6, 0.0], [0.0, 0.7]])
    assert rows(found, [0, 1], 2, "label") == [0, 1]
    assert rows(papers([[0.9, 0.0], [0.6, 0.0], [0.0, 0.7]]), [0, 0], 2, "label") == [0, 2]


def test_relevance_counts() -> None:
    assert rows(papers([[0.9], [0.6]], relevance=[0.1, 0.9]), [0], 1, "label") == [1]


def test_coded_papers_are_not_chosen_again_and_papers_run_out() -> None:
    found = papers([[0.9], [0.8], [0.7], [0.1]], coded=(0, 3))
    for turn in TURNS:
        assert sorted(rows(found, [0], 9, turn)) == [1, 2]
    assert rows(papers([[0.9]], coded=(0,)), [0], 9, *TURNS) == []


def test_one_paper_in_five_is_drawn_at_random() -> None:
    chosen = choose(drawn(200), np.zeros(3), 20)
    assert [number for number, choice in enumerate(chosen) if choice.reason == "random"] == [4, 9, 14, 19]
    assert len({choice.row for choice in chosen}) == 20


def test_the_papers_up_to_the_last_random_choice_are_a_random_sample() -> None:
    found, examples = drawn(60), np.zeros(3)
    for _ in range(3):  # Three batches; the random order stays the same.
        chosen = choose(found, examples, 10)
        found.coded[[choice.row for choice in chosen]] = True
    last = max(int(np.flatnonzero(found.order == choice.row)[0]) for choice in chosen if choice.reason == "random")
    assert found.coded[found.order[: last + 1]].all()


def prediction(record_id: str, label: str, probability: float | None, given: float | None = None) -> Prediction:
    return Prediction(
        record_id=record_id,
        label=label,
        score=probability,
        probability=probability,
        given_relevant=given,
        decision="refer",
        model_id="m",
    )


def test_papers_of_predictions() -> None:
    found = {
        "a": {"relevant": prediction("a", "relevant", 0.8), "trust": prediction("a", "trust", 0.4, 0.5)},
        "b": {"relevant": prediction("b", "relevant", 0.1), "trust": prediction("b", "trust", None)},
    }
    made = papers_of(found, {"b"}, ("relevant", "trust"), 2021)
    assert made.relevance.tolist() == [0.8, 0.1]
    assert made.labels.tolist() == [[0.5], [0.0]]
    assert made.coded.tolist() == [False, True]


def test_the_random_order_depends_on_seed_and_ids_only() -> None:
    names = [f"doi:10.5555/{number}" for number in range(30)]

    def order(listed: list[str], seed: int) -> list[str]:
        found = {name: {"relevant": prediction(name, "relevant", 0.5)} for name in listed}
        return [listed[row] for row in papers_of(found, set(), ("relevant",), seed).order]

    assert order(names, 1) == order(names[::-1], 1)
    assert order(names, 1) != order(names, 2)
    # Records that a later search adds do not change the order of the others.
    assert [name for name in order(names, 1) if name in names[:9]] == order(names[:9], 1)


@pytest.mark.parametrize(
    ("turn", "words"),
    [
        ("label", "few examples of Trust (1 coded paper); probability for this paper: 0.45"),
        ("random", "drawn at random"),
    ],
)
def test_reasons_in_words(turn: Reason, words: str) -> None:
    found = papers([[0.99, 0.4, 0.9]], relevance=[0.5])
    examples = np.array([7.0, 2.0, 1.0])
    choice = choose(found, examples, 1, (turn,))[0]
    assert explain(choice, found, examples, ("Aims", "Power", "Trust")) == words
