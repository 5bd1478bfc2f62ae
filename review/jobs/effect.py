"""Estimate how people's codes in this review change when they see the suggestions of the model."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, select

from mechtag.core.records import Prediction
from mechtag.review.jobs.draws import draw
from mechtag.review.sight import is_audited
from mechtag.review.store import schema
from mechtag.review.store.events import read_plan
from mechtag.review.workspace import Workspace, read_fact

#: Smallest number of codes given with a suggestion in view, and of codes given without one, that are compared.
LEAST = 30
_DECIDED = {"yes": 1, "no": 0}
# Value of an answer that is neither yes nor no, so that it agrees with no suggestion.
_NEITHER = -1


class _Code(NamedTuple):
    record: str
    label: str
    code: int
    suggested: int
    seen: bool


def effects(workspace: Workspace, out_of_fold: Sequence[Prediction]) -> dict[str, Any]:
    """Estimate how suggestions affect codes.

    Parameters
    ----------
    out_of_fold
        Out-of-fold predictions for the training papers of the model in use.

    Returns
    -------
    dict
        Two comparisons. Each is a result of `mechtag.evaluation.suggestion_effect.effect_section`, or ``None`` if there
        are no codes to compare.

        - ``assisted``: codes that were given while a suggestion was visible, compared with codes of the audit sample,
          which is shown without suggestions.
        - ``after``: codes before and after the coder saw the suggestion. Two more keys are ``changed`` (number of codes
          that were changed) and ``towards`` (number of codes that were changed to the suggestion).
    """
    labels = workspace.codebook.keys
    with workspace.store.read() as connection:
        # Labels that the codebook no longer has are left out.
        suggested = _suggestions(connection, out_of_fold)
        assisted = [code for code in _assisted(connection, workspace.seed, suggested) if code.label in labels]
        after = [code for code in _after(connection) if code.label in labels]
    found: dict[str, Any] = {"assisted": _section(workspace, assisted), "after": _section(workspace, after)}
    if found["after"] is not None:
        before, later = after[::2], after[1::2]
        changed = [(one, other) for one, other in zip(before, later, strict=True) if one.code != other.code]
        found["after"]["changed"] = len(changed)
        found["after"]["towards"] = sum(other.code == other.suggested for _, other in changed)
    return found


def _section(workspace: Workspace, codes: Sequence[_Code]) -> dict[str, Any] | None:
    import numpy as np

    from mechtag.evaluation.suggestion_effect import ComparedCodes, effect_section

    labels = workspace.codebook.keys
    if not any(code.seen for code in codes):
        return None
    records = list(dict.fromkeys(code.record for code in codes))
    places = {record: place for place, record in enumerate(records)}
    draws = draw(workspace, len(records))
    compared = ComparedCodes(
        record=np.array([places[code.record] for code in codes]),
        label=np.array([labels.index(code.label) for code in codes]),
        code=np.array([code.code for code in codes], dtype=float),
        suggested=np.array([code.suggested for code in codes], dtype=float),
        seen=np.array([code.seen for code in codes]),
    )
    return effect_section(compared, labels, draws, LEAST)


def _suggestions(connection: Connection, out_of_fold: Sequence[Prediction]) -> dict[tuple[str, str], int]:
    """Return the suggestions of the model, ``1`` for yes and ``0`` for no, keyed by record id and label."""
    table, record = schema.suggestion, schema.record
    rows = connection.execute(
        select(record.c.record_id, table.c.label, table.c.decision)
        .join(record, record.c.id == table.c.record)
        .where(table.c.model_id == (read_fact(connection, "model_id") or ""))
    )
    decisions = {(row.record_id, row.label): row.decision for row in rows}
    # The model was trained on the papers with out-of-fold predictions, so its own suggestions are replaced.
    decisions |= {(row.record_id, row.label): row.decision for row in out_of_fold}
    return {place: _DECIDED[decision] for place, decision in decisions.items() if decision in _DECIDED}


def _first_codes(connection: Connection) -> Sequence[Any]:
    """Return the codes of abstracts that people gave before they saw the codes of others.

    Records that the coder has not finished are left out.
    """
    current, account, record = schema.current, schema.account, schema.record
    return connection.execute(
        select(current, record.c.record_id)
        .join(account, account.c.id == current.c.coder)
        .join(record, record.c.id == current.c.record)
        .where(
            current.c.stage == "code",
            current.c.committed == 1,
            current.c.others_shown == 0,
            current.c.first_assisted.is_not(None),
            account.c.state != "withdrawn",
        )
        .order_by(current.c.record, current.c.coder, current.c.label)
    ).all()


def _number(value: int | None, refer: object) -> int | None:
    return _NEITHER if refer else value


def _assisted(connection: Connection, seed: int, suggested: Mapping[tuple[str, str], int]) -> list[_Code]:
    """Return the codes that people gave with a visible suggestion, and the codes of the audit sample.

    If a person changed a code later, the first one is returned. The audit sample is shown without suggestions.
    ``suggested`` contains the decisions of the model, keyed by record id and label.
    """
    plan = read_plan(connection)
    found = []
    for row in _first_codes(connection):
        code = _number(row.first_value, row.first_refer)
        decision = suggested.get((row.record_id, row.label))
        if code is None or decision is None or not (row.first_assisted or is_audited(row.record_id, plan, seed)):
            continue
        found.append(_Code(row.record_id, row.label, code, decision, bool(row.first_assisted)))
    return found


def _after(connection: Connection) -> list[_Code]:
    """Return the codes of people who saw the suggestion of the model only after coding.

    For each code, the list contains the code before the suggestion was shown, followed by the current code.
    """
    sight = schema.sight
    shown: dict[tuple[int, int], Mapping[str, Any]] = {}
    rows = connection.execute(
        select(sight.c.record, sight.c.coder, sight.c.suggested)
        .where(sight.c.stage == "code", sight.c.mode == "after", sight.c.suggested.is_not(None))
        .order_by(sight.c.id)
    )
    for row in rows:
        # The first suggestion is the one that the coder reacted to.
        shown.setdefault((row.record, row.coder), json.loads(row.suggested))
    found = []
    for row in _first_codes(connection):
        decision = _DECIDED.get(shown.get((row.record, row.coder), {}).get(row.label, ("",))[0])
        first, now = _number(row.first_value, row.first_refer), _number(row.value, row.refer)
        if row.first_assisted or decision is None or first is None or now is None:
            continue
        found.append(_Code(row.record_id, row.label, first, decision, False))
        found.append(_Code(row.record_id, row.label, now, decision, True))
    return found
