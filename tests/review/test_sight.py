"""Test that people get nothing that is hidden from them: all that is returned is searched for the hidden values."""

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select

from mechtag.review.acts import Acts
from mechtag.review.sight import Sight, is_audited, read_votes, show, show_to_adjudicator
from mechtag.review.store import schema
from mechtag.review.store.conflicts import open_labels
from mechtag.review.store.events import read_plan
from mechtag.review.store.records import read_entry
from tests.support.reviews import ANN, BOB, CAT, CODEBOOK, NOW, open_review, stamp

APPLE, PEAR = CODEBOOK.keys
# What the model and the other coder say, in values that occur nowhere else.
MODEL = ("canary-decision", 0.8731, [2])
CANARIES = ("canary-decision", "0.8731", "canary-model", "canary-reason")
MODES = ("off", "blind", "after", "assisted")


@pytest.fixture
def acts(tmp_path: Path) -> Acts:
    """Make a review in which records 1 to 5 have suggestions, and Bob has screened and coded record 1."""
    acts = open_review(tmp_path / "review.sqlite3", 5)
    with acts.store.write() as connection:
        decision, probability, sentences = MODEL
        given = {"model_id": "canary-model", "decision": decision, "probability": probability}
        connection.execute(
            insert(schema.suggestion),
            [{**given, "record": record, "label": APPLE, "sentences": json.dumps(sentences)} for record in range(1, 6)],
        )
    acts.change_plan(stamp(CAT), "exclusion_reasons", ["canary-reason"])
    acts.change_plan(stamp(CAT), "audit_share", 0.05)
    acts.decide(stamp(BOB), 1, 0, reason="canary-reason")
    code(acts, BOB)
    return acts


def code(acts: Acts, coder: int, record: int = 1) -> None:
    acts.mark(stamp(coder), record, APPLE, [1])
    acts.rest_no(stamp(coder), record, [PEAR])
    acts.commit(stamp(coder), record)


def see(acts: Acts, coder: int = ANN, stage: str = "code", record: int = 1, seed: int = 0) -> Sight:
    with acts.store.write() as connection:
        entry = read_entry(connection, record)
        assert entry is not None
        return show(
            connection, entry, coder, stage, labels=CODEBOOK.all_keys, at=NOW, model_id="canary-model", seed=seed
        )


def canaries(found: object) -> set[str]:
    return {canary for canary in CANARIES if canary in repr(found)}


def written(acts: Acts, sight: Sight) -> Any:
    with acts.store.read() as connection:
        return connection.execute(select(schema.sight).where(schema.sight.c.id == sight.id)).one()


@pytest.mark.parametrize("stage", ["screen", "code"])
@pytest.mark.parametrize("mode", MODES)
def test_suggestions_are_hidden_until_the_mode_shows_them(acts: Acts, mode: str, stage: str) -> None:
    acts.change_plan(stamp(CAT), f"mode_{stage}", mode)
    before = see(acts, stage=stage)
    if stage == "screen":
        acts.decide(stamp(ANN), 1, 1)
    else:
        code(acts, ANN)
    after = see(acts, stage=stage)
    shows = {"off": (False, False), "blind": (False, False), "after": (False, True), "assisted": (True, True)}[mode]
    for sight, shown in zip((before, after), shows, strict=True):
        row = written(acts, sight)
        assert canaries(sight) == ({"canary-decision", "0.8731", "canary-model"} if shown else set())
        assert (row.suggestions_shown, row.others_shown, row.mode, row.stage) == (int(shown), 0, mode, stage)
        assert (row.model_id, row.suggested) == (
            ("canary-model", json.dumps({APPLE: list(MODEL)})) if shown else (None, None)
        )


def test_a_draft_is_not_a_commit(acts: Acts) -> None:
    acts.mark(stamp(ANN), 1, APPLE, [1])
    assert canaries(see(acts)) == set()


@pytest.mark.parametrize("how", ["undo", "reopen"])
def test_suggestions_are_hidden_again_when_the_record_is_open_again(acts: Acts, how: str) -> None:
    code(acts, ANN)
    assert canaries(see(acts))
    if how == "undo":
        acts.undo(stamp(ANN))
    else:
        acts.reopen(stamp(CAT), 1, "code", ANN)
    hidden = see(acts)
    assert canaries(hidden) == set()
    # What was seen is not forgotten: the next code counts as assisted.
    acts.code(stamp(ANN, sight=hidden.id), 1, APPLE, 0)
    with acts.store.read() as connection:
        table = schema.current
        query = select(table.c.coder, table.c.assisted).where(table.c.label == APPLE, table.c.stage == "code")
        assert dict(map(tuple, connection.execute(query))) == {ANN: 1, BOB: None}


def test_codes_of_others_are_shown_after_blinding_has_ended(acts: Acts) -> None:
    acts.change_plan(stamp(CAT), "mode_screen", "blind")
    acts.decide(stamp(ANN), 1, 1)
    hidden = see(acts, stage="screen")
    assert (hidden.others, canaries(hidden)) == ((), set())
    acts.change_plan(stamp(CAT), "unblinded", True)
    sight = see(acts, stage="screen")
    assert [(other.name, other.value, other.reason) for other in sight.others] == [("Bob", 0, "canary-reason")]
    assert canaries(sight) == {"canary-reason"}
    row = written(acts, sight)
    assert (row.others_shown, row.suggestions_shown) == (1, 0)
    acts.decide(stamp(ANN, sight=sight.id), 1, 0)
    with acts.store.read() as connection:
        table = schema.current
        mine = connection.execute(select(table).where(table.c.coder == ANN)).one()
    assert mine.others_shown == 1


def test_of_others_only_what_counts_is_shown(acts: Acts) -> None:
    acts.code(stamp(CAT), 1, APPLE, 0)
    code(acts, CAT, 2)
    acts.join(stamp(CAT), 2, 1)

    def others() -> list[tuple[str, str, tuple[int, ...]]]:
        with acts.store.read() as connection:
            return [(row.name, row.label, row.sentences) for row in read_votes(connection, 1, "code")]

    # Cat's draft on record 1 is not shown, and her code of its copy is, without the sentences of the copy's abstract.
    shown = [("Bob", APPLE, (1,)), ("Bob", PEAR, ()), ("Cat", APPLE, ()), ("Cat", PEAR, ())]
    assert others() == shown
    acts.change_account(stamp(CAT), BOB, state="withdrawn")
    assert others() == shown[2:]
    acts.change_plan(stamp(CAT), "unblinded", True)
    assert {vote.name for vote in see(acts).others} == {"Cat"}
    assert see(acts, CAT).others == ()


def test_an_adjudicator_decides_blind_before_the_votes_are_shown(acts: Acts) -> None:
    acts.decide(stamp(ANN), 1, 1)
    for shown in (False, True):
        with acts.store.write() as connection:
            entry = read_entry(connection, 1)
            assert entry is not None
            sight = show_to_adjudicator(connection, entry, CAT, "screen", at=NOW, votes_shown=shown)
            assert open_labels(connection, 1, "screen") == [CODEBOOK.relevance.key]
        assert canaries(sight) == ({"canary-reason"} if shown else set())
        row = written(acts, sight)
        assert (row.mode, row.others_shown, row.suggestions_shown) == ("reconcile", int(shown), 0)


def test_an_audited_record_is_blind_until_it_is_committed(acts: Acts) -> None:
    acts.change_plan(stamp(CAT), "mode_code", "assisted")
    acts.change_plan(stamp(CAT), "audit_share", 0.5)
    with acts.store.read() as connection:
        plan = read_plan(connection)
    entry = "doi:000001"
    audited = next(seed for seed in range(100) if is_audited(entry, plan, seed))
    other = next(seed for seed in range(100) if not is_audited(entry, plan, seed))
    blind, shown = see(acts, seed=audited), see(acts, seed=other)
    assert (blind.mode, blind.audited, canaries(blind)) == ("blind", True, set())
    assert written(acts, blind).mode == "blind"
    assert (shown.mode, shown.audited, bool(canaries(shown))) == ("assisted", False, True)
    code(acts, ANN)
    after = see(acts, seed=audited)
    assert (after.mode, bool(canaries(after))) == ("assisted", True)


def test_only_assisted_reviews_audit(acts: Acts) -> None:
    acts.change_plan(stamp(CAT), "audit_share", 0.5)
    assert not any(see(acts, seed=seed).audited for seed in range(10))


@pytest.mark.parametrize("share", [0.05, 0.15, 0.5])
def test_the_audit_sample_has_its_size_and_grows_with_it(acts: Acts, share: float) -> None:
    acts.change_plan(stamp(CAT), "audit_share", share)
    with acts.store.read() as connection:
        plan = read_plan(connection)
    names = [f"doi:{number}" for number in range(4000)]
    audited = {name for name in names if is_audited(name, plan, 1)}
    assert len(audited) / len(names) == pytest.approx(share, abs=0.03)
    more = plan.model_copy(update={"audit_share": share + 0.1})
    assert audited < {name for name in names if is_audited(name, more, 1)}
    assert audited != {name for name in names if is_audited(name, plan, 2)}


def test_suggestions_of_a_model_that_is_not_in_use_are_not_shown(acts: Acts) -> None:
    acts.change_plan(stamp(CAT), "mode_code", "assisted")
    with acts.store.write() as connection:
        entry = read_entry(connection, 1)
        assert entry is not None
        for model in (None, "another"):
            assert (
                show(connection, entry, ANN, "code", labels=CODEBOOK.all_keys, at=NOW, model_id=model).suggestions == {}
            )
