"""Order the records: learn from the decisions so far, or else from the definition of relevance."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, func, select

from mechtag.core.records import Record
from mechtag.review import order
from mechtag.review.acts import utc_now
from mechtag.review.jobs.progress import Progress
from mechtag.review.store import schema
from mechtag.review.store.events import read_plan
from mechtag.review.store.queue import count_states
from mechtag.review.workspace import Workspace, add_job

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mechtag.pipeline.screening.search import Search

KIND = "rank"


@dataclass
class Ranking:
    """The job that orders the records. The prepared records are kept from one run to the next."""

    _search: Search | None = None
    _texts: str = ""
    _numbers: list[int] = field(default_factory=list)

    def __call__(self, workspace: Workspace, arguments: dict[str, Any], progress: Progress) -> dict[str, Any]:
        """Order all records for screening and for coding, and put the orders in use."""
        import numpy as np

        self._prepare(workspace, progress)
        if self._search is None:
            return {"records": 0}
        with workspace.store.read() as connection:
            plan = read_plan(connection)
            labels = _labels(connection, self._numbers, workspace.codebook.relevance.key)
            first = _first_to_last(connection, self._numbers)
        judged = int((~np.isnan(labels)).sum())
        if plan.mode("screen") == "off":
            strategy, ranked = "random", order.random_order(self._numbers, workspace.seed)
        else:
            scores = self._search.scores(labels)
            strategy = "relevance"
            ranked = [self._numbers[row] for row in np.lexsort((-scores, np.array(first)))]
        with workspace.store.write() as connection:
            for stage in ("screen", "code"):
                order.add_ranking(
                    connection,
                    stage,
                    ranked,
                    strategy=strategy,
                    at=utc_now(),
                    learned_from=judged if strategy == "relevance" else 0,
                    seed=workspace.seed,
                )
        return {"records": len(ranked), "learned_from": judged, "strategy": strategy}

    def _prepare(self, workspace: Workspace, progress: Progress) -> None:
        """Encode the texts of the records, unless they are the same as in the last run."""
        from mechtag.pipeline.screening.search import load_search

        table = schema.record
        with workspace.store.read() as connection:
            rows = connection.execute(select(table.c.id, table.c.record_id, table.c.title, table.c.abstract)).all()
        digest = hashlib.sha256()
        for row in rows:
            digest.update(f"{row.id}\0{row.title}\0{row.abstract}\0".encode())
        if digest.hexdigest() == self._texts:
            return
        records = [Record(record_id=row.record_id, title=row.title, abstract=row.abstract) for row in rows]
        self._search = None
        if records:
            progress.start(len(records), "Reading the records")
            definition = workspace.codebook.relevance.definition
            cache = workspace.folder / "cache/vectors.npz"
            self._search = load_search(records, definition, workspace.project.settings.encoder, cache, progress.advance)
        self._texts, self._numbers = digest.hexdigest(), [row.id for row in rows]


def _labels(connection: Connection, numbers: list[int], relevance: str) -> NDArray[np.float64]:
    """Return the decision on each record: the final one, or the one on which all who have decided so far agree."""
    import numpy as np

    current, final = schema.current, schema.final
    votes = connection.execute(
        select(current.c.record, func.min(current.c.value), func.max(current.c.value), func.max(current.c.refer))
        .join(schema.account, schema.account.c.id == current.c.coder)
        .where(current.c.stage == "screen", current.c.committed == 1, schema.account.c.state != "withdrawn")
        .group_by(current.c.record)
    )
    said = {record: low for record, low, high, refer in votes if low == high and not refer}
    finals = connection.execute(
        select(final.c.record, final.c.value).where(final.c.stage == "screen", final.c.label == relevance)
    )
    said |= {record: value for record, value in finals}
    values = [said.get(number) for number in numbers]
    return np.array([np.nan if value is None else float(value) for value in values])


def _first_to_last(connection: Connection, numbers: list[int]) -> list[int]:
    """Return 0 for records that still need somebody to screen them, and 1 for the others, which come last."""
    table = schema.need
    rows = connection.execute(
        select(table.c.record).where(table.c.stage == "screen", table.c.state.in_(("open", "waiting")))
    ).scalars()
    open_records = set(rows)
    return [0 if number in open_records else 1 for number in numbers]


def ask_if_due(connection: Connection, coder: int) -> None:
    """Ask for a new order if enough records have been decided since the last one."""
    table = schema.ranking
    learned = connection.execute(
        select(table.c.learned_from, table.c.strategy).where(table.c.stage == "screen", table.c.active == 1)
    ).one_or_none()
    if learned is None or learned.strategy == "sample":
        return
    states = count_states(connection, "screen")
    judged = sum(states.values()) - states["open"]
    if judged - learned.learned_from >= read_plan(connection).rerank_after:
        add_job(connection, KIND, coder)
