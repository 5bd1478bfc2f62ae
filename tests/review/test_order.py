"""Test which record a person is given next, and how many people read a record at the same time."""

from pathlib import Path

import pytest

from mechtag.review import order
from mechtag.review.acts import Acts, Refused
from mechtag.review.order import LEASE_SECONDS, add_ranking, next_record, random_order, release, shuffle_blocks
from tests.support.reviews import ANN, BOB, CAT, NOW, PEOPLE, open_review, stamp

DAN = 4


@pytest.fixture
def acts(tmp_path: Path) -> Acts:
    return rank(open_review(tmp_path / "review.sqlite3", 6, (*PEOPLE, DAN)), range(1, 7))


def rank(acts: Acts, records: range, strategy: str = "random") -> Acts:
    with acts.store.write() as connection:
        add_ranking(connection, "screen", records, strategy=strategy, at=NOW, learned_from=0, seed=1)
    return acts


def ask(acts: Acts, coder: int, now: float = 0.0) -> int | None:
    """Return the number of the record that a person is given next in screening."""
    with acts.store.write() as connection:
        return next_record(connection, coder, "screen", clock=lambda: now)


def judge(acts: Acts, coder: int, record: int, value: int = 1, let_go: bool = True) -> None:
    acts.decide(stamp(coder), record, value)
    if let_go:
        with acts.store.write() as connection:
            release(connection, record, coder, "screen")


def test_no_more_people_than_wanted_read_a_record_at_once(acts: Acts) -> None:
    assert [ask(acts, coder) for coder in (ANN, BOB, CAT, DAN)] == [1, 1, 2, 2]
    acts.change_plan(stamp(CAT), "coders_screen", 1)
    assert ask(acts, ANN, LEASE_SECONDS + 1) == 1
    assert ask(acts, BOB, LEASE_SECONDS + 1) == 2


def test_a_record_that_one_judged_and_another_reads_is_not_handed_to_a_third(acts: Acts) -> None:
    assert (ask(acts, ANN), ask(acts, BOB)) == (1, 1)
    judge(acts, ANN, 1)
    assert ask(acts, CAT) == 2
    judge(acts, BOB, 1)
    assert (ask(acts, ANN), ask(acts, BOB)) == (2, 3)


def test_the_lease_of_a_reader_who_has_judged_keeps_nobody_out(acts: Acts) -> None:
    ask(acts, ANN)
    judge(acts, ANN, 1, let_go=False)
    assert ask(acts, BOB) == 1
    assert ask(acts, CAT) == 2


def test_a_lease_ends_after_ten_minutes_unless_it_is_renewed(acts: Acts) -> None:
    assert (ask(acts, ANN), ask(acts, BOB)) == (1, 1)
    with acts.store.write() as connection:
        order.renew_lease(connection, 1, BOB, "screen", clock=lambda: 60.0)
    assert ask(acts, CAT, LEASE_SECONDS) == 2
    assert ask(acts, DAN, LEASE_SECONDS + 1) == 1


def test_the_lease_of_a_person_who_leaves_ends(acts: Acts) -> None:
    assert (ask(acts, ANN), ask(acts, BOB), ask(acts, CAT)) == (1, 1, 2)
    acts.change_account(stamp(CAT), ANN, state="left")
    assert ask(acts, DAN) == 1


def test_a_person_reads_on_from_the_place_and_then_what_became_free_before_it(acts: Acts) -> None:
    assert (ask(acts, ANN), ask(acts, BOB)) == (1, 1)
    assert ask(acts, CAT) == 2
    # Record 1 becomes free again, but Cat first reads on from her place in the order.
    with acts.store.write() as connection:
        release(connection, 1, ANN, "screen")
    for record in (2, 3, 4, 5, 6):
        assert ask(acts, CAT) == record
        judge(acts, CAT, record)
    assert ask(acts, CAT) == 1
    judge(acts, CAT, 1)
    assert ask(acts, CAT) is None


def test_a_new_ranking_is_read_from_its_top(acts: Acts) -> None:
    for record in (1, 2):
        assert ask(acts, ANN) == record
        judge(acts, ANN, record)
    assert ask(acts, ANN) == 3
    with acts.store.write() as connection:
        add_ranking(connection, "screen", [6, 2, 5, 1], strategy="random", at=NOW, learned_from=2, seed=1)
    assert ask(acts, ANN) == 6


def test_long_rankings_are_read_to_their_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order, "_WINDOW", 3)
    acts = rank(open_review(tmp_path / "review.sqlite3", 10), range(1, 11))
    for record in range(1, 10):
        judge(acts, ANN, record)
    assert ask(acts, ANN) == 10
    judge(acts, ANN, 10)
    assert ask(acts, ANN) is None


def test_a_record_put_aside_comes_again_after_all_others(acts: Acts) -> None:
    assert ask(acts, ANN) == 1
    acts.skip(stamp(ANN), 1, "screen")
    assert ask(acts, ANN) == 2
    acts.skip(stamp(ANN), 2, "screen")
    for record in (3, 4, 5, 6):
        assert ask(acts, ANN) == record
        judge(acts, ANN, record)
    assert ask(acts, ANN) == 1
    acts.skip(stamp(ANN), 1, "screen")
    assert ask(acts, ANN) == 2
    # Bob gets the record that Ann has put aside.
    assert ask(acts, BOB) == 1
    judge(acts, ANN, 1)
    judge(acts, ANN, 2)
    assert ask(acts, ANN) is None


def test_nothing_is_put_aside_in_the_random_sample(acts: Acts) -> None:
    rank(acts, range(1, 7), "sample")
    with pytest.raises(Refused, match="would no longer be random") as refused:
        acts.skip(stamp(ANN), 1, "screen")
    assert refused.value.status == 409


def test_a_record_that_is_sent_back_comes_again(acts: Acts) -> None:
    for record in range(1, 7):
        for coder in (ANN, BOB):
            judge(acts, coder, record)
    assert (ask(acts, ANN), ask(acts, BOB)) == (None, None)
    acts.reopen(stamp(CAT), 3, "screen", ANN)
    assert (ask(acts, ANN), ask(acts, BOB)) == (3, None)


def test_an_undone_decision_comes_again(acts: Acts) -> None:
    assert ask(acts, ANN) == 1
    judge(acts, ANN, 1)
    assert ask(acts, ANN) == 2
    acts.undo(stamp(ANN))
    for record in (2, 3, 4, 5, 6):
        judge(acts, ANN, record)
    assert ask(acts, ANN) == 1


def test_a_person_who_judged_a_copy_has_judged_the_paper(acts: Acts) -> None:
    judge(acts, ANN, 2)
    acts.join(stamp(CAT), 2, 1)
    assert (ask(acts, ANN), ask(acts, BOB)) == (3, 1)


def test_joined_records_are_read_once(acts: Acts) -> None:
    acts.join(stamp(CAT), 1, 4)
    assert ask(acts, ANN) == 2
    acts.split(stamp(CAT), 1)
    assert ask(acts, BOB) == 1


def test_records_are_coded_once_they_are_included(acts: Acts) -> None:
    with acts.store.write() as connection:
        add_ranking(connection, "code", range(1, 7), strategy="random", at=NOW, learned_from=0, seed=1)
    judge(acts, ANN, 2)
    with acts.store.write() as connection:
        assert next_record(connection, ANN, "code") is None
    judge(acts, BOB, 2)
    with acts.store.write() as connection:
        assert next_record(connection, ANN, "code") == 2


def test_without_a_ranking_there_is_no_next_record(tmp_path: Path) -> None:
    assert ask(open_review(tmp_path / "review.sqlite3", 3), ANN) is None


def test_shuffled_blocks_keep_their_members() -> None:
    records = list(range(100, 135))
    shuffled = shuffle_blocks(records, 1)
    assert shuffled != records
    assert shuffled == shuffle_blocks(records, 1)
    assert shuffled != shuffle_blocks(records, 2)
    for start in range(0, 40, order.BLOCK):
        block = slice(start, start + order.BLOCK)
        assert sorted(shuffled[block]) == records[block]


def test_orders_by_relevance_are_shuffled_in_blocks_and_samples_are_not(acts: Acts) -> None:
    rank(acts, range(1, 7), "relevance")
    shuffled = shuffle_blocks(range(1, 7), 1)
    assert shuffled != [1, 2, 3, 4, 5, 6]
    assert ask(acts, ANN) == shuffled[0]
    rank(acts, range(6, 0, -1), "sample")
    assert ask(acts, ANN) == 6


def test_a_random_order_does_not_depend_on_the_order_before() -> None:
    found = random_order(range(20), 1)
    assert found == random_order(range(19, -1, -1), 1)
    assert sorted(found) == list(range(20))
    assert found not in (list(range(20)), random_order(range(20), 2))


def test_a_lease_from_before_the_clock_was_set_back_ends(acts: Acts) -> None:
    acts.change_plan(stamp(CAT), "coders_screen", 1)
    assert ask(acts, ANN, 7200) == 1
    assert ask(acts, BOB, 7200 - 60) == 2
    assert ask(acts, CAT, 3600) == 1
