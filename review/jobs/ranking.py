"""Rank the records with a model of the decisions so far or, without decisions, by the definition of relevance."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, func, select

from mechtag.core.records import Record
from mechtag.review import order
from mechtag.review.acts import Stamp, utc_now
from mechtag.review.jobs import tagging
from mechtag.review.jobs.progress import FIRST, Progress
from mechtag.review.plan import STAGES, Plan
from mechtag.review.store import schema
from mechtag.review.store.events import read_plan
from mechtag.review.store.queue import count_states
from mechtag.review.workspace import Workspace, add_job, read_fact, write_fact

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mechtag.pipeline.screening.search import Search

KIND = FIRST
#: Fact that holds what the stopping rule says, and the numbers of the records in the random sample.
FACT = "stopping"


@dataclass
class Ranking:
    """The job that ranks the records; it keeps the encoded records from one run to the next."""

    _search: Search | None = None
    _texts: str = ""
    _numbers: list[int] = field(default_factory=list)

    def __call__(self, workspace: Workspace, arguments: dict[str, Any], progress: Progress) -> dict[str, Any]:
        """Rank all records for screening and for coding, and store both rankings as the ones in use."""
        import numpy as np

        self._prepare(workspace, progress)
        if self._search is None:
            return {"records": 0}
        with workspace.store.read() as connection:
            plan = read_plan(connection)
            relevance = workspace.codebook.relevance.key
            labels = _labels(connection, self._numbers, relevance)
            needed = _needed(connection)
            sampled, stopping = self._judge(connection, workspace, plan, relevance)
            before = read_fact(connection, FACT) or {}
        if sampled is not None and stopping["sample"] != before.get("sample"):
            _log_sample(workspace, stopping, progress.job)
        judged = int((~np.isnan(labels)).sum())
        if sampled is not None and not stopping["stop"]:
            strategy, ranked = "sample", [self._numbers[row] for row in sampled]
            ranked += sorted(set(self._numbers).difference(ranked))
        elif plan.mode("screen") == "off":
            strategy, ranked = "random", order.random_order(self._numbers, workspace.seed)
        else:
            scores = self._search.scores(labels)
            last = np.array([number not in needed for number in self._numbers])
            strategy, ranked = "relevance", [self._numbers[row] for row in np.lexsort((-scores, last))]
        with workspace.store.write() as connection:
            write_fact(connection, FACT, stopping)
            for stage in STAGES:
                order.add_ranking(
                    connection,
                    stage,
                    ranked,
                    strategy=strategy,
                    at=utc_now(),
                    learned_from=judged,
                    seed=workspace.seed,
                )
            add_job(connection, tagging.KIND, None)
        return {"records": len(ranked), "learned_from": judged, "strategy": strategy}

    def _judge(
        self, connection: Connection, workspace: Workspace, plan: Plan, relevance: str
    ) -> tuple[list[int] | None, dict[str, Any]]:
        """Return the rows of the random sample (``None`` before it is drawn) and the result of the stopping rule.

        Only final decisions count, in the order in which they became final. If records have been added since the sample
        was drawn, a new sample is drawn from all unread records when the stopping rule next calls for one.
        """
        import numpy as np

        from mechtag.pipeline.screening.ranking import Target, judge_course

        final = schema.final
        rows = {number: row for row, number in enumerate(self._numbers)}
        decided = connection.execute(
            select(final.c.record, final.c.value)
            .where(final.c.stage == "screen", final.c.label == relevance)
            .order_by(final.c.event)
        ).all()
        labels = np.full(len(rows), np.nan)
        for number, value in decided:
            labels[rows[number]] = value
        read = np.array([rows[number] for number, _ in decided], dtype=np.int64)
        known = (read_fact(connection, FACT) or {}).get("sample")
        sample = None
        if known is not None and all(number in rows for number in known):
            drawn = np.array([rows[number] for number in known], dtype=np.int64)
            if not np.isnan(np.delete(labels, drawn)).any():
                sample = drawn
        target = Target(rule=plan.rule, recall=plan.recall, confidence=plan.confidence)
        sampled, verdict = judge_course(labels, read, sample, target, workspace.seed)
        content: dict[str, Any] = {"read": len(read), "relevant": int(np.nansum(labels)), "stop": False}
        if verdict is not None:
            content |= asdict(verdict)
        if sampled is None:
            return None, content
        gaps = np.flatnonzero(np.isnan(labels[sampled]))
        content["sample"] = [self._numbers[row] for row in sampled]
        content["read_of_sample"] = int(gaps[0]) if len(gaps) else len(sampled)
        return [int(row) for row in sampled], content

    def _prepare(self, workspace: Workspace, progress: Progress) -> None:
        """Encode the texts of the records, unless the texts have not changed since the last run."""
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
            progress.start(len(records), "Ordering the records")
            definition = workspace.codebook.relevance.definition
            cache = workspace.folder / "cache/vectors.npz"
            self._search = load_search(records, definition, workspace.project.settings.encoder, cache, progress.advance)
        self._texts, self._numbers = digest.hexdigest(), [row.id for row in rows]


def _log_sample(workspace: Workspace, stopping: dict[str, Any], job: int) -> None:
    """Record that a random sample was drawn, as an event of the person who led to it or else of the owner."""
    account = schema.account
    owners = select(account.c.id).where(account.c.role == "owner").order_by(account.c.id).limit(1)
    with workspace.store.read() as connection:
        asked_by = connection.execute(select(schema.job.c.asked_by).where(schema.job.c.id == job)).scalar()
        coder = int(asked_by or connection.execute(owners).scalar_one())
    content = {"records": len(stopping["sample"]), "read": stopping["read"], "seed": workspace.seed}
    workspace.acts.log(Stamp(coder, client_id=f"sample-job-{job}"), "sample_drawn", content)


def _labels(connection: Connection, numbers: list[int], relevance: str) -> NDArray[np.float64]:
    """Return the decision on each record: the final decision or else the one on which all coders so far agree."""
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


def _needed(connection: Connection) -> set[int]:
    """Return the records that still have to be screened; all other records come last in the order."""
    table = schema.need
    rows = connection.execute(
        select(table.c.record).where(table.c.stage == "screen", table.c.state.in_(("open", "waiting")))
    )
    return set(rows.scalars())


def ask_if_due(connection: Connection, coder: int) -> None:
    """Add a job that ranks the records if enough records have been decided since the last ranking."""
    table = schema.ranking
    learned = connection.execute(
        select(table.c.learned_from).where(table.c.stage == "screen", table.c.active == 1)
    ).scalar_one_or_none()
    if learned is None:
        return
    states = count_states(connection, "screen")
    judged = sum(states.values()) - states["open"]
    if judged - learned >= read_plan(connection).rerank_after:
        add_job(connection, KIND, coder)
