"""Arrange the final codes as a matrix with one row per paper and one column per label."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, select

from mechtag.review.store import schema
from mechtag.review.store.exercises import hidden_records

#: States of a label of a paper, with their names on the pages.
STATES = {"yes": "yes", "no": "no", "conflict": "conflict", "referred": "needs review", "open": "open"}


@dataclass(frozen=True)
class MatrixRow:
    """A coded paper, with the state of each label.

    Attributes
    ----------
    record, title
        Number and title of the record.
    states
        State of each label, in the order of the codebook. Each state is a key of `STATES`, such as ``yes``.
    """

    record: int
    title: str
    states: tuple[str, ...]


def read_matrix(connection: Connection, labels: Sequence[str], stage: str) -> list[MatrixRow]:
    """Return the papers that at least one person has coded at a stage.

    Papers with the same codes are next to each other. Papers of a running calibration exercise are left out, because
    the people who code these papers must not see each other's codes.

    Parameters
    ----------
    labels
        Keys of the labels, in the order of the codebook.
    stage
        ``code`` for codes based on abstracts, ``full-text`` for codes based on full texts.
    """
    need, final, record = schema.need, schema.final, schema.record
    values = {
        (row.record, row.label): row.value
        for row in connection.execute(
            select(final.c.record, final.c.label, final.c.value).where(final.c.stage == stage)
        )
    }
    papers = connection.execute(
        select(need.c.record, need.c.state, need.c.labels, record.c.title)
        .join(record, record.c.id == need.c.record)
        .where(need.c.stage == stage, need.c.state != "open")
    )
    hidden = hidden_records(connection, stage)
    rows = []
    for paper in papers:
        if paper.record in hidden:
            continue
        unsettled = set(json.loads(paper.labels))
        states = [
            paper.state
            if label in unsettled and paper.state in STATES
            else {1: "yes", 0: "no", None: "open"}[values.get((paper.record, label))]
            for label in labels
        ]
        rows.append(MatrixRow(paper.record, paper.title, tuple(states)))
    order = list(STATES)
    return sorted(rows, key=lambda row: ([order.index(state) for state in row.states], row.record))
