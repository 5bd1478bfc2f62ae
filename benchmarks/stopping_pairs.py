"""Measure the stopping rule of the review page, and other common rules, in simulated reviews by two people.

The code of the review page stores the decisions, ranks the records and applies the stopping rule; only the people are
simulated.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray
from scipy.stats import binomtest
from sqlalchemy import select

from benchmarks.publish import ROOT, publish, result
from benchmarks.screening import DEFINITIONS, REVIEWS, WORK, review, search
from mechtag.core.files import read_json, write_json
from mechtag.core.records import Record
from mechtag.project import create_project
from mechtag.review.acts import Refused, Stamp
from mechtag.review.jobs import ranking, tagging, worker
from mechtag.review.store import schema
from mechtag.review.store.accounts import add_account
from mechtag.review.store.records import add_records
from mechtag.review.workspace import Workspace, add_job, read_fact

COMMAND = "python -m benchmarks.stopping_pairs"
_TEXT = (ROOT / "benchmarks/stopping_pairs.md").read_text(encoding="utf-8")
REVIEWS_SIMULATED = 200
RECALL = CONFIDENCE = 0.95
_SEED = 2026
_STAGE = "screen"
# A simulated review contains this proportion of the relevant records of a finished review, chosen at random, and
# irrelevant records up to a random size.
_KEPT = 0.8
_LEAST, _MOST = 400, 800
# Gartlehner et al. (2020): one screener misses 13% of the relevant abstracts, and two miss 3%. Each misses 13% and both
# miss 3% if 1.70% look irrelevant to everybody and each person misses 11.5% of the others.
_MISSED_BY_ALL, _MISSED = 0.017, 0.115
# Proportions of irrelevant records that a person includes, of records that a person refers, and of slips, which are
# corrected later.
_INCLUDED, _REFERRED, _SLIPS = 0.03, 0.01, 0.01
# Maximum number of decisions by one person in a row, and number of records between two runs of the worker.
_STRETCH, _WORKER_LAG = 40, 10
# Numbers of duplicates that are joined before screening and during screening.
_JOINED_BEFORE, _JOINED_LATER = 3, 2
# Proportion of the records that are imported later, in a quarter of the reviews.
_LATER = 0.2
PAGE, EVERYTHING = "review page", "everything screened"
_IN_A_ROW = {"50 irrelevant in a row": (50, 0.0), "100 irrelevant in a row": (100, 0.0)}
#: Rules in use: number of irrelevant records in a row, and lowest proportion of records that must have been screened.
RULES = {**_IN_A_ROW, "50 in a row after 10% of the records": (50, 0.1)}


@dataclass(frozen=True)
class Outcome:
    """The result of a simulated review under one stopping rule.

    Attributes
    ----------
    recall
        Relevant records found, as a proportion of all that the same people would find by screening everything.
    recall_of_truth
        Relevant records found, as a proportion of those that the finished review included.
    screened
        Records on which somebody decided, as a proportion of all records.
    decisions
        Decisions of the two people, as a proportion of the decisions needed to screen everything.
    """

    recall: float
    recall_of_truth: float
    screened: float
    decisions: float


@dataclass
class People:
    """The decisions of two people on each record, and the truth, which the adjudicator knows.

    Attributes
    ----------
    truth
        1 for each record that the finished review included, otherwise 0; shape (n_records,).
    votes
        Decision of each person on each record, shape (2, n_records): 1, 0, or -1 for refer.
    """

    truth: NDArray[np.int64]
    votes: NDArray[np.int64]

    @classmethod
    def draw(cls, truth: NDArray[np.int64], generator: np.random.Generator) -> People:
        """Draw the decisions of two people who make errors."""
        hard = generator.random(len(truth)) < _MISSED_BY_ALL
        chance = generator.random((2, len(truth)))
        votes = np.where(truth == 1, ~hard & (chance >= _MISSED), chance < _INCLUDED).astype(np.int64)
        votes[generator.random(votes.shape) < _REFERRED] = -1
        return cls(truth, votes)

    def found(self) -> NDArray[np.bool_]:
        """Return whether each record is found to be relevant if everything is screened.

        The adjudicator, who is always right, decides on records on which the two people differ or that one of them
        referred.
        """
        differ = (self.votes[0] != self.votes[1]) | (self.votes == -1).any(axis=0)
        found: NDArray[np.bool_] = np.where(differ, self.truth, self.votes[0]) == 1
        return found


@dataclass
class Log:
    """The progress of a simulated review, from which the stopping rules other than mechtag's are evaluated.

    Attributes
    ----------
    seen
        Records on which somebody has decided.
    judged
        Records on which nobody else has to decide.
    decisions
        Number of decisions so far.
    stops
        Values of ``seen``, ``judged`` and ``decisions`` at the moment when a rule first says stop, keyed by the rule.
    run
        Number of final decisions in a row that were irrelevant, counted back from the latest final decision.
    """

    seen: set[int] = field(default_factory=set)
    judged: set[int] = field(default_factory=set)
    decisions: int = 0
    stops: dict[str, tuple[set[int], set[int], int]] = field(default_factory=dict)
    run: int = 0

    def count(self, final: int, records: int) -> None:
        """Count a final decision on a record, and store the progress for each rule in ``RULES`` that now says stop.

        Parameters
        ----------
        final
            The final decision: 1 for relevant, 0 for irrelevant.
        records
            Number of records in the review.
        """
        self.run = 0 if final else self.run + 1
        for rule, (run, least) in RULES.items():
            if rule not in self.stops and self.run >= run and len(self.judged) >= least * records:
                self.stop(rule)

    def stop(self, rule: str) -> None:
        """Store the current progress as the moment at which a rule says stop."""
        self.stops[rule] = set(self.seen), set(self.judged), self.decisions


class Play:
    """One simulated review on the review page."""

    def __init__(self, number: int, folder: Path) -> None:
        self.generator = np.random.default_rng((_SEED, number))
        self.name = REVIEWS[number % len(REVIEWS)]
        titles, abstracts, labels = review(self.name)
        size = int(self.generator.integers(_LEAST, _MOST, endpoint=True))
        relevant = np.flatnonzero((labels == 1) & (self.generator.random(len(labels)) < _KEPT))
        others = self.generator.permutation(np.flatnonzero(labels == 0))[: size - len(relevant)]
        rows = self.generator.permutation(np.concatenate((relevant, others)))
        size = len(rows)
        self.people = People.draw(labels[rows], self.generator)
        self.records = [
            Record(record_id=f"row:{row}", title=titles[row] or "Untitled", abstract=abstracts[row]) for row in rows
        ]
        turn = (number // len(REVIEWS) + number) % 8
        self.later = {1: "while the sample is read", 5: "after the first stop"}.get(turn, "")
        self.workspace = create_review(folder, self.name)
        keep_vectors(self.workspace, self.name)
        self.log = Log()
        self.joined = set[int]()
        self.slips: list[list[int]] = [[], []]
        self.queues: list[list[int]] = [[], []]
        self.said: dict[int, dict[int, int]] = {}
        self.conflicts, self.final = set[int](), set[int]()
        self.known: dict[str, worker.Job] = {ranking.KIND: ranking.Ranking(), tagging.KIND: lambda *_: {}}
        with self.workspace.store.write() as connection:
            self.lead, *self.coders = (add_account(connection, name, "owner") for name in ("Lea", "Ann", "Bob"))
        for key, value in (("coders_screen", 2), ("recall", RECALL), ("confidence", CONFIDENCE)):
            self.workspace.acts.change_plan(Stamp(self.lead), key, value)
        first = size - int(_LATER * size) if self.later else size
        self.add(0, first)
        for _ in range(_JOINED_BEFORE):
            self.join()

    def add(self, start: int, end: int) -> None:
        """Import the records in a range of rows, from ``start`` up to but not including ``end``."""
        with self.workspace.store.write() as connection:
            add_records(connection, self.records[start:end], (), 1 + bool(start), {})
            add_job(connection, ranking.KIND, None)
        self.workspace.acts.log(Stamp(self.lead), "import", {})
        self.added = end
        self.work()

    def work(self) -> None:
        """Run the waiting jobs, as the worker process of the review page does; only ranking jobs have an effect."""
        while worker.do_next(self.workspace, self.known):
            self.queues = [[], []]

    def join(self) -> None:
        """Join two random records on which nobody has decided, as if they were duplicates."""
        free = [number for number in range(1, self.added + 1) if number not in self.log.seen | self.joined]
        if len(free) > 1:
            record, into = (int(number) for number in self.generator.choice(free, size=2, replace=False))
            self.workspace.acts.join(Stamp(self.lead), record, into)
            self.joined.add(record)

    def stopping(self) -> dict[str, Any]:
        """Return the latest result of the review page's stopping rule."""
        with self.workspace.store.read() as connection:
            found: dict[str, Any] = read_fact(connection, ranking.FACT)
            return found

    def play(self) -> dict[str, Outcome]:
        """Let the people screen until the review page says stop or no record is left.

        Returns
        -------
        dict
            Outcome of each stopping rule, keyed by the rule.
        """
        pace = self.generator.uniform(0.4, 0.6)
        joins = sorted(self.generator.integers(len(self.records), size=_JOINED_LATER))
        while True:
            coder = int(self.generator.random() < pace)
            for _ in range(int(self.generator.integers(1, _STRETCH, endpoint=True))):
                if not self.decide(coder) and not self.decide(1 - coder):
                    break
                if self.ends():
                    return self.outcomes()
            if joins and len(self.log.seen) > joins[0]:
                joins.pop(0)
                self.join()
            if self.generator.random() < 0.5 or not self.unread():
                self.adjudicate()
                if self.ends():
                    return self.outcomes()
            self.correct(coder)
            if not self.unread() and not self.conflicts and not any(self.slips):
                if not self.later:
                    return self.outcomes()
                self.import_later()

    def ends(self) -> bool:
        """Return whether the review ends now; if a second import is due, import its records and return False."""
        found = self.stopping()
        if self.later == "while the sample is read" and found.get("read_of_sample", 0) >= 20:
            self.import_later()
            return False
        if not found["stop"]:
            return False
        if self.later:
            self.workspace.acts.stop_screening(Stamp(self.lead), found)
            self.import_later()
            return False
        self.log.stop(PAGE)
        return True

    def import_later(self) -> None:
        """Import the rest of the records, and restart the stopping rules in ``RULES``."""
        self.later = ""
        self.log.run, self.log.stops = 0, {}
        self.add(self.added, len(self.records))

    def decide(self, coder: int) -> bool:
        """Let a person decide on the next record; return False if there is no record left for this person."""
        record = self.next_record(coder)
        if record is None:
            return False
        vote = int(self.people.votes[coder, record - 1])
        if vote >= 0 and self.generator.random() < _SLIPS:
            vote = 1 - vote
            self.slips[coder].append(record)
        self.send(coder, record, vote)
        if not len(self.log.seen) % _WORKER_LAG:
            self.work()
        return True

    def next_record(self, coder: int) -> int | None:
        """Return the first record in reading order that needs a decision from a person; ``None`` if there is none."""
        if not self.queues[coder]:
            queue, active = schema.queue, schema.ranking
            with self.workspace.store.read() as connection:
                rows = connection.execute(
                    select(queue.c.record)
                    .join(active, active.c.id == queue.c.ranking)
                    .where(active.c.stage == _STAGE, active.c.active == 1)
                    .order_by(queue.c.position.desc())
                )
                self.queues[coder] = list(rows.scalars())
        queue_left = self.queues[coder]
        while queue_left:
            record = queue_left.pop()
            if record not in self.joined and coder not in self.said.get(record, {}) and record not in self.log.judged:
                return record
        return None

    def send(self, coder: int, record: int, vote: int) -> None:
        """Store a person's decision as the review page does when it receives one, and update the log.

        ``vote`` is 1 for relevant, 0 for irrelevant, and -1 for refer.
        """
        account = self.coders[coder]
        value = None if vote < 0 else vote
        with self.workspace.store.write() as connection:
            acts = self.workspace.acts.in_transaction(connection)
            acts.decide(Stamp(account), record, value, refer=value is None)
            ranking.ask_if_due(connection, account)
        said = self.said.setdefault(record, {})
        self.log.decisions += coder not in said
        said[coder] = vote
        self.log.seen.add(record)
        if len(said) == len(self.coders) or vote < 0:
            self.log.judged.add(record)
            votes = set(said.values())
            if len(votes) == 1 and vote >= 0:
                self.settled(record, vote)
            else:
                self.conflicts.add(record)

    def correct(self, coder: int) -> None:
        """Let a person correct all earlier slips (wrong decisions made by accident)."""
        for record in self.slips[coder]:
            # The adjudicator may have settled the record already.
            with suppress(Refused):
                self.send(coder, record, int(self.people.votes[coder, record - 1]))
        self.slips[coder] = []

    def adjudicate(self) -> None:
        """Let the adjudicator settle all records on which the two people differ or that one of them referred."""
        label = self.workspace.codebook.relevance.key
        for record in sorted(self.conflicts):
            truth = int(self.people.truth[record - 1])
            self.workspace.acts.settle(Stamp(self.lead), record, _STAGE, label, truth)
            # A slip may have led the record to the adjudicator.
            self.people.votes[:, record - 1] = truth
            with self.workspace.store.write() as connection:
                ranking.ask_if_due(connection, self.lead)
            self.settled(record, truth)
        self.work()

    def settled(self, record: int, value: int) -> None:
        """Mark a record as finally decided; count its first final decision for the stopping rules in ``RULES``."""
        self.conflicts.discard(record)
        if record not in self.final:
            self.log.count(value, self.added)
        self.final.add(record)

    def unread(self) -> bool:
        """Return whether any record still needs a decision from one of the two people."""
        return len(self.log.judged | self.joined) < self.added

    def outcomes(self) -> dict[str, Outcome]:
        """Return the outcome of each rule, keyed by the rule.

        If a rule never said stop, its outcome is that of a review in which everything is screened.
        """
        papers = np.array([number not in self.joined for number in range(1, len(self.records) + 1)])
        relevant, truth = self.people.found() & papers, (self.people.truth == 1) & papers
        everything = set(range(1, len(self.records) + 1)) - self.joined
        found = {}
        for rule in (PAGE, *RULES, EVERYTHING):
            seen, judged, decisions = self.log.stops.get(rule, (everything, everything, 2 * len(everything)))
            read = np.isin(np.arange(1, len(papers) + 1), sorted(judged))
            found[rule] = Outcome(
                recall=_share((relevant & read).sum(), relevant.sum()),
                recall_of_truth=_share((relevant & truth & read).sum(), truth.sum()),
                screened=len(seen - self.joined) / len(everything),
                decisions=decisions / (2 * len(everything)),
            )
        return found


def _share(part: int, whole: int) -> float:
    return float(part / whole) if whole else 1.0


def create_review(folder: Path, name: str) -> Workspace:
    """Create a project for the review page; its codebook defines relevance as in the finished review ``name``."""
    book = folder / "codebook.yaml"
    relevance = {"key": "relevant", "name": "Relevant", "definition": DEFINITIONS[name]}
    label = {"key": "any", "name": "Any", "definition": "Any paper."}
    book.write_text(yaml.safe_dump({"name": "simulated", "relevance": relevance, "labels": [label]}), encoding="utf-8")
    return Workspace.open(create_project(folder / "review", book))


def keep_vectors(workspace: Workspace, name: str) -> None:
    """Copy the vectors that `benchmarks.screening.search` computed to the cache of the page's worker."""
    cache = workspace.folder / "cache/vectors.npz"
    cache.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(WORK / f"{name}.vectors.npz", cache)


def simulate(number: int, kept: Path) -> dict[str, Any]:
    """Simulate a review, and return its outcomes; they are cached in the folder ``kept``.

    ``number`` is the number of the simulation, which determines its data and its random draws.
    """
    path = kept / f"{number}.json"
    if not path.exists():
        with tempfile.TemporaryDirectory() as folder:
            play = Play(number, Path(folder))
            wave = play.later
            outcomes = play.play()
            play.workspace.store.close()
        relevant = int(play.people.found().sum())
        content = {"name": play.name, "records": len(play.records), "later": wave, "relevant": relevant}
        write_json(path, {**content, "outcomes": {rule: asdict(found) for rule, found in outcomes.items()}})
    return dict(read_json(path))


def _results(reviews: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    groups = {f"all {len(reviews)} reviews": reviews}
    groups["reviews with a later import"] = [found for found in reviews if found["later"]]
    groups |= {name: [found for found in reviews if found["name"] == name] for name in REVIEWS}
    for group, members in groups.items():
        if not members:
            continue
        for rule in (PAGE, *RULES, EVERYTHING):
            stops = [Outcome(**found["outcomes"][rule]) for found in members]
            reached = binomtest(sum(stop.recall >= RECALL - 1e-9 for stop in stops), len(stops))
            interval = reached.proportion_ci(method="exact")
            ends = (float(interval.low), float(interval.high))
            yield result(group, rule, "reached", float(reached.statistic), ends, len(stops))
            for metric in ("recall", "recall_of_truth", "screened", "decisions"):
                mean = float(np.mean([getattr(stop, metric) for stop in stops]))
                yield result(group, rule, metric.replace("_", " "), mean, runs=len(stops))
            yield result(group, rule, "lowest recall", min(stop.recall for stop in stops), runs=len(stops))


def main(arguments: Sequence[str] | None = None) -> None:
    """Simulate the reviews that have not been simulated yet, and publish the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reviews", type=int, default=REVIEWS_SIMULATED, help="number of simulated reviews")
    parser.add_argument("--work", type=Path, help="folder of reviews simulated before by the same code; default: none")
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--no-publish", action="store_true", help="print the results only")
    chosen = parser.parse_args(arguments)
    for name in REVIEWS:
        search(name)
    with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(chosen.processes) as pool:
        reviews = list(pool.map(partial(simulate, kept=chosen.work or Path(folder)), range(chosen.reviews)))
    results = list(_results(reviews))
    for row in results:
        print(row["dataset"], "|", row["system"], "|", row["metric"], round(row["value"], 4))  # noqa: T201
    if not chosen.no_publish:
        command = COMMAND + ("" if chosen.reviews == REVIEWS_SIMULATED else f" --reviews {chosen.reviews}")
        publish("stopping_pairs", command, results, _TEXT, versions=("scipy", "scikit-learn"))


if __name__ == "__main__":
    main()
