"""Rank the records by their predicted relevance, and apply the stopping rule.

The predictions are learned from the decisions so far. Before the first decision, records are ranked by their similarity
to the definition of relevance.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, func, or_, select

from mechtag.core.records import Record
from mechtag.review import order
from mechtag.review.acts import Stamp, utc_now
from mechtag.review.jobs import tagging
from mechtag.review.jobs.progress import FIRST, Progress
from mechtag.review.plan import RANKED, Plan
from mechtag.review.store import schema
from mechtag.review.store.events import read_plan
from mechtag.review.store.exercises import hidden_records
from mechtag.review.workspace import Workspace, add_job, read_fact, write_fact

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mechtag.pipeline.screening.search import Search

KIND = FIRST
#: Key in table ``fact`` of the result of the stopping rule, and of the numbers of the records in the random sample.
FACT = "stopping"
#: Key in table ``fact`` of the number of the last event that the latest ranking took into account.
SEEN = "ranked"
# Kinds of events that can change the order of reading or the result of the stopping rule.
_SCREENING = ("code", "settle", "reopen")
_ANY_STAGE = ("undo", "redo", "join", "split")


@dataclass
class Ranking:
    """The job that ranks the records.

    The encoded records stay in memory from one run to the next.
    """

    _search: Search | None = None
    _texts: str = ""
    _numbers: list[int] = field(default_factory=list)

    def __call__(self, workspace: Workspace, arguments: dict[str, Any], progress: Progress) -> dict[str, Any]:
        """Rank all records for screening and for coding, and apply the stopping rule.

        Returns
        -------
        dict
            If the review has no records, the dict has only the key ``records``.

            - ``records``: number of records
            - ``learned_from``: number of decisions from which the ranking was learned
            - ``strategy``: how the records were ranked (``relevance``, ``random`` or ``sample``)
        """
        import numpy as np

        self._prepare(workspace, progress)
        if self._search is None:
            return {"records": 0}
        with workspace.store.read() as connection:
            plan = read_plan(connection)
            relevance = workspace.codebook.relevance.key
            labels = _screening_decisions(connection, self._numbers, relevance)
            needed = _needed(connection)
            known = read_fact(connection, FACT) or {}
            sampled, stopping = self._check_stopping(connection, workspace, plan, relevance, known)
            seen = connection.execute(select(func.max(schema.event.c.seq))).scalar_one() or 0
            before = _sampling_order(connection)
        if sampled is not None and not set(sampled) <= set(known.get("sample", ())):
            _log_sample(workspace, stopping, progress.job)
        judged = int((~np.isnan(labels)).sum())
        if sampled is not None and not stopping["stop"]:
            # Records outside the sample whose decision is no longer final come first.
            ranked = [*sorted(needed.difference(sampled)), *sampled]
            strategy, ranked = "sample", [*ranked, *sorted(set(self._numbers).difference(ranked))]
        elif plan.mode("screen") == "off":
            strategy, ranked = "random", order.random_order(self._numbers, workspace.seed)
        else:
            scores = self._search.scores(labels)
            last = np.array([number not in needed for number in self._numbers])
            strategy, ranked = "relevance", [self._numbers[row] for row in np.lexsort((-scores, last))]
        with workspace.store.write() as connection:
            write_fact(connection, FACT, stopping)
            write_fact(connection, SEEN, seen)
            # The sample is judged after each decision, which rarely changes the order.
            for stage in RANKED if strategy != "sample" or ranked != before else ():
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

    def _check_stopping(
        self, connection: Connection, workspace: Workspace, plan: Plan, relevance: str, known: Mapping[str, Any]
    ) -> tuple[list[int] | None, dict[str, Any]]:
        """Return the random sample of records for the stopping rule, and the result of the rule.

        The sample is ``None`` before it is drawn.
        """
        import numpy as np

        from mechtag.pipeline.screening.ranking import Target, judge_course

        final = schema.final
        joined = set(connection.execute(select(schema.joined.c.record)).scalars())
        numbers = [number for number in self._numbers if number not in joined]
        rows = {number: row for row, number in enumerate(numbers)}
        # Only final decisions count, in the order in which they became final.
        decided = connection.execute(
            select(final.c.record, final.c.value, final.c.event)
            .where(
                final.c.stage == "screen",
                final.c.label == relevance,
                # Decisions in a running exercise are hidden, and may be set aside at its end.
                final.c.record.not_in(hidden_records(connection, "screen")),
            )
            .order_by(final.c.event)
        ).all()
        labels = np.full(len(rows), np.nan)
        for row in decided:
            labels[rows[row.record]] = row.value
        read = np.array([rows[row.record] for row in decided], dtype=np.int64)
        imported = connection.execute(select(func.max(schema.event.c.seq)).where(schema.event.c.kind == "import"))
        last_import = imported.scalar_one() or 0
        earlier = sum(row.event < last_import for row in decided)
        unread = {numbers[row] for row in np.flatnonzero(np.isnan(labels))}
        sample = [number for number in known.get("sample", ()) if number not in joined]
        again = unread.difference(sample)
        # Each new sample would be another chance to stop too early. After an import, a new sample is drawn from all
        # unread records once relevant records have become rare again.
        kept = bool(sample) and all(number in rows for number in sample)
        kept = kept and all(number <= known.get("last_record", 0) for number in again)
        target = Target(rule=plan.rule, recall=plan.recall, confidence=plan.confidence)
        drawn = np.array([rows[number] for number in sample], dtype=np.int64) if kept else None
        sampled, verdict = judge_course(labels, read, drawn, target, workspace.seed, earlier=earlier)
        content: dict[str, Any] = {"read": len(read), "relevant": int(np.nansum(labels)), "stop": False}
        if verdict is not None:
            content |= asdict(verdict)
        if sampled is None:
            return None, content
        gaps = np.flatnonzero(np.isnan(labels[sampled]))
        content["sample"] = [numbers[row] for row in sampled]
        content["read_of_sample"] = int(gaps[0]) if len(gaps) else len(sampled)
        content["last_record"] = known["last_record"] if kept else max(numbers, default=0)
        # If a decision that was final when the sample was drawn was reopened, screening must not stop yet.
        content["open_again"] = len(again) if kept else 0
        content["stop"] = content["stop"] and not content["open_again"]
        return content["sample"], content

    def _prepare(self, workspace: Workspace, progress: Progress) -> None:
        """Encode the titles and abstracts of all records if a record was added or changed since the last run."""
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
            progress.start(len(records), "Computing the reading order")
            definition = workspace.codebook.relevance.definition
            cache = workspace.folder / "cache/vectors.npz"
            self._search = load_search(records, definition, workspace.project.settings.encoder, cache, progress.advance)
        self._texts, self._numbers = digest.hexdigest(), [row.id for row in rows]


def _log_sample(workspace: Workspace, stopping: dict[str, Any], job: int) -> None:
    """Add an event to the log that states that a random sample was drawn.

    The event is attributed to the person who requested the ranking. If no person requested the ranking, the event is
    attributed to the first owner.
    """
    account = schema.account
    owners = select(account.c.id).where(account.c.role == "owner").order_by(account.c.id).limit(1)
    with workspace.store.read() as connection:
        asked_by = connection.execute(select(schema.job.c.asked_by).where(schema.job.c.id == job)).scalar()
        coder = int(asked_by or connection.execute(owners).scalar_one())
    content = {"records": len(stopping["sample"]), "read": stopping["read"], "seed": workspace.seed}
    workspace.acts.log(Stamp(coder, client_id=f"sample-job-{job}"), "sample_drawn", content)


def _screening_decisions(connection: Connection, numbers: list[int], relevance: str) -> NDArray[np.float64]:
    """Return a value for each record: ``1`` for include, ``0`` for exclude, NaN if undecided or if coders disagree."""
    import numpy as np

    current, final = schema.current, schema.final
    votes = connection.execute(
        select(current.c.record, func.min(current.c.value), func.max(current.c.value), func.max(current.c.refer))
        .join(schema.account, schema.account.c.id == current.c.coder)
        .where(current.c.stage == "screen", current.c.committed == 1, schema.account.c.state != "withdrawn")
        .group_by(current.c.record)
    )
    # Without a final decision, a decision on which all coders so far agree is used.
    said = {record: low for record, low, high, refer in votes if low == high and not refer}
    finals = connection.execute(
        select(final.c.record, final.c.value).where(final.c.stage == "screen", final.c.label == relevance)
    )
    said |= {record: value for record, value in finals}
    values = [said.get(number) for number in numbers]
    return np.array([np.nan if value is None else float(value) for value in values])


def _needed(connection: Connection) -> set[int]:
    """Return the numbers of the records that still have to be screened."""
    table = schema.need
    rows = connection.execute(
        select(table.c.record).where(table.c.stage == "screen", table.c.state.in_(("open", "waiting")))
    )
    return set(rows.scalars())


def _sampling_order(connection: Connection) -> list[int] | None:
    """Return the record numbers in screening order; ``None`` if no random sample is being screened."""
    queue, ranking = schema.queue, schema.ranking
    active = connection.execute(
        select(ranking.c.id).where(ranking.c.stage == "screen", ranking.c.active == 1, ranking.c.strategy == "sample")
    ).scalar()
    if active is None:
        return None
    rows = connection.execute(select(queue.c.record).where(queue.c.ranking == active).order_by(queue.c.position))
    return list(rows.scalars())


def ask_after_decisions(connection: Connection, coder: int, records: Iterable[int]) -> None:
    """Add the jobs that are necessary after screening decisions: ranking the records and computing suggestions.

    Parameters
    ----------
    coder
        Account number of the person who decided.
    records
        Numbers of the records on which the person decided.
    """
    ask_if_due(connection, coder)
    for record in records:
        tagging.ask_if_included(connection, record, coder)


def ask_if_due(connection: Connection, coder: int) -> None:
    """Add a job that ranks the records, if enough decisions were made since the last ranking.

    `Plan.rerank_after` is the number of decisions needed. While the random sample is being screened, one decision is
    enough, because the stopping rule must be applied after each decision.
    """
    table, event = schema.ranking, schema.event
    strategy = connection.execute(
        select(table.c.strategy).where(table.c.stage == "screen", table.c.active == 1)
    ).scalar_one_or_none()
    if strategy is None:
        return
    enough = 1 if strategy == "sample" else read_plan(connection).rerank_after
    since = connection.execute(
        select(event.c.seq)
        .where(
            event.c.seq > (read_fact(connection, SEEN) or 0),
            or_(event.c.kind.in_(_ANY_STAGE), event.c.kind.in_(_SCREENING) & (event.c.stage == "screen")),
        )
        .limit(enough)
    ).all()
    if len(since) == enough:
        add_job(connection, KIND, coder)
