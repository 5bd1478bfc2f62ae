"""Compute the suggestions of the model, first for included records, then for the records that are screened next."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, delete, exists, insert, select

from mechtag.core.records import Record, Sentence, leaves_full_texts
from mechtag.review.jobs.progress import Progress
from mechtag.review.jobs.splitting import split_abstracts
from mechtag.review.plan import BASES
from mechtag.review.store import schema
from mechtag.review.store.events import family_of
from mechtag.review.store.readings import attached_file, full_text_of, read_lines
from mechtag.review.store.records import Entry, read_entries
from mechtag.review.workspace import Workspace, add_job, read_fact, write_fact

if TYPE_CHECKING:
    from mechtag.core.records import Prediction
    from mechtag.models.model_folder import Model, ModelConfig

KIND = "tag"
#: Number of unscreened records for which suggestions are computed in advance, in the order of screening.
AHEAD = 500
# Number of rows that are written in one transaction; it is small, so that nobody waits long to save a decision.
_ROWS = 100


@dataclass
class Tagging:
    """The job that computes suggestions for records.

    The model stays in memory from one run to the next.
    """

    _model: Model | None = None

    def __call__(self, workspace: Workspace, arguments: dict[str, Any], progress: Progress) -> dict[str, Any]:
        """Compute the missing suggestions of the current model, and then delete the suggestions of earlier models.

        If a ranking is requested while this job is running, this job ends early and adds a new job for the rest.

        Returns
        -------
        dict
            - ``records``: number of abstracts and full texts for which suggestions were computed
            - ``model_id``: id of the current model
            - ``continues``: ``True`` if the job ended early; otherwise, this key is missing
        """
        from mechtag.models.model_folder import read_config
        from mechtag.workflows.define import usable_model

        project = workspace.project
        folder = usable_model(project)
        config = read_config(folder)
        split_abstracts(workspace, progress)  # People may have added or corrected abstracts.
        with workspace.store.read() as connection:
            missing = _untagged(connection, config.model_id)
            texts = _untagged_texts(connection, config.model_id)
        if missing or texts:
            self._load(workspace, folder, config.model_id)
            progress.start(len(missing) + len(texts), "Computing suggestions")
        size = max(1, _ROWS // len(workspace.codebook.all_keys))
        parts = [missing[start : start + size] for start in range(0, len(missing), size)]
        steps = [(len(part), partial(self._tag, workspace, part)) for part in parts]
        steps += [(1, partial(self._tag_full_text, workspace, record)) for record in texts]
        done = 0
        for number, tag in steps:
            if progress.must_give_way():
                with workspace.store.write() as connection:
                    add_job(connection, KIND, None, **arguments)
                return {"records": done, "model_id": config.model_id, "continues": True}
            tag()
            done += number
            progress.advance(number)
        with workspace.store.write() as connection:
            write_fact(connection, "model_id", config.model_id)
            write_fact(connection, "model", _describe(folder, config, shipped=project.uses_shipped_model))
            connection.execute(delete(schema.suggestion).where(schema.suggestion.c.model_id != config.model_id))
        return {"records": len(missing) + len(texts), "model_id": config.model_id}

    def _load(self, workspace: Workspace, folder: Path, model_id: str) -> None:
        if self._model is None or self._model.config.model_id != model_id:
            from mechtag.models.model_folder import load_model

            # People have included these records, so all labels are scored even if the model finds a record irrelevant.
            settings = workspace.project.settings.tag
            self._model = load_model(
                folder, workspace.codebook, runtime=settings.runtime, threads=settings.threads, score_all=True
            )

    def _tag(self, workspace: Workspace, numbers: Sequence[int]) -> None:
        """Compute and store suggestions for the abstracts of the given records."""
        from mechtag.pipeline.tagging.predict import predict

        assert self._model is not None
        with workspace.store.read() as connection:
            entries = read_entries(connection, numbers)
        predictions = predict(
            self._model.tagger,
            self._model.config.model_id,
            [record_of(entry) for entry in entries],
            [sentence for entry in entries for sentence in sentences_of(entry)],
            evidence_sentences=workspace.project.settings.tag.evidence_sentences,
        )
        by_record_id = {entry.record_id: entry.id for entry in entries}
        rows = [_row(by_record_id[prediction.record_id], "code", prediction) for prediction in predictions]
        with workspace.store.write() as connection:
            connection.execute(insert(schema.suggestion), rows)

    def _tag_full_text(self, workspace: Workspace, number: int) -> None:
        """Compute and store suggestions for the full text of a record, if the model can tag full texts."""
        from mechtag.pipeline.tagging.full_texts import predict_full_text

        assert self._model is not None
        tagger, settings = self._model.tagger, workspace.project.settings
        with workspace.store.read() as connection:
            (entry,) = read_entries(connection, [number])
            row = attached_file(connection, number)
        if tagger.long is None or row is None:
            return
        predictions = predict_full_text(
            tagger,
            self._model.config.model_id,
            record_of(entry),
            tuple(sentences_of(entry)),
            full_text_of(row, entry.record_id),
            settings,
        )
        numbers = {line.start: place for place, line in enumerate(read_lines(row.sentences))}
        found = []
        for prediction in predictions:
            # Sentences of the abstract cannot be marked in the full text.
            own = [
                one.model_copy(update={"sentence": numbers[one.start]})
                for one in prediction.evidence
                if one.basis == "full-text" and one.start in numbers
            ]
            found.append(_row(number, "full-text", prediction.model_copy(update={"evidence": tuple(own)})))
        with workspace.store.write() as connection:
            now = attached_file(connection, number)
            if now is not None and now.sha256 == row.sha256:
                connection.execute(insert(schema.suggestion), found)


def ask_if_included(connection: Connection, record: int, coder: int) -> None:
    """Add a job that computes suggestions, if an included record lacks suggestions of the model in use.

    A record needs suggestions for its abstract. If a full text is attached, the record also needs suggestions for the
    full text.
    """
    head, _ = family_of(connection, record)
    need, suggestion = schema.need, schema.suggestion
    wanted = select(need.c.stage).where(need.c.record == head, need.c.stage.in_(BASES))
    tagged = select(suggestion.c.stage).where(
        suggestion.c.model_id == (read_fact(connection, "model_id") or ""), suggestion.c.record == head
    )
    if set(connection.execute(wanted).scalars()) - set(connection.execute(tagged).scalars()):
        add_job(connection, KIND, coder)


def _untagged_texts(connection: Connection, model_id: str) -> list[int]:
    """Return the numbers of the records whose full texts a model must still tag."""
    need, suggestion = schema.need, schema.suggestion
    tagged = exists().where(
        suggestion.c.model_id == model_id, suggestion.c.record == need.c.record, suggestion.c.stage == "full-text"
    )
    wanted = select(need.c.record).where(need.c.stage == "full-text", ~tagged).order_by(need.c.record)
    return list(connection.execute(wanted).scalars())


def records_to_tag(connection: Connection) -> list[int]:
    """Return the numbers of the records whose abstracts need suggestions.

    All records to code come first, then the next records to screen.
    """
    need, queue, ranking = schema.need, schema.queue, schema.ranking
    included = connection.execute(select(need.c.record).where(need.c.stage == "code").order_by(need.c.record)).scalars()
    gone = exists().where(schema.joined.c.record == queue.c.record)
    ahead = connection.execute(
        select(queue.c.record)
        .join(ranking, ranking.c.id == queue.c.ranking)
        .join(need, (need.c.record == queue.c.record) & (need.c.stage == "screen"))
        .where(ranking.c.stage == "screen", ranking.c.active == 1, need.c.state.in_(("open", "waiting")), ~gone)
        .order_by(queue.c.position)
        .limit(AHEAD)
    ).scalars()
    return list(dict.fromkeys([*included, *ahead]))


def _untagged(connection: Connection, model_id: str) -> list[int]:
    """Return the numbers of the records whose abstracts a model must still tag."""
    suggestion = schema.suggestion
    tagged = connection.execute(
        select(suggestion.c.record).where(suggestion.c.model_id == model_id, suggestion.c.stage == "code").distinct()
    )
    done = set(tagged.scalars())
    return [record for record in records_to_tag(connection) if record not in done]


def record_of(entry: Entry) -> Record:
    """Convert a record of the database to the record that a model reads, with title and abstract."""
    return Record(record_id=entry.record_id, title=entry.title, abstract=entry.abstract)


def sentences_of(entry: Entry) -> list[Sentence]:
    """Return the sentences of a record's abstract, divided and numbered as on the *Code* page."""
    return [
        Sentence(
            record_id=entry.record_id,
            sentence=number,
            section=section,
            start=start,
            end=end,
            text=entry.abstract[start:end],
        )
        for number, (start, end, section) in enumerate(entry.sentences)
    ]


def _row(record: int, stage: str, prediction: Prediction) -> dict[str, Any]:
    return {
        "model_id": prediction.model_id,
        "record": record,
        "stage": stage,
        "label": prediction.label,
        "probability": prediction.probability,
        "decision": prediction.decision,
        # Sentences support a yes or a possible yes, never a no.
        "sentences": json.dumps(
            sorted(evidence.sentence for evidence in prediction.evidence) if prediction.decision != "no" else []
        ),
    }


def _describe(folder: Path, config: ModelConfig, *, shipped: bool) -> dict[str, Any]:
    """Return the facts about a model that pages show, such as its id and the number of its training papers."""
    from mechtag.training.leakage import read_training_papers

    known = read_training_papers(folder, config.model_id)
    changed = datetime.fromtimestamp((folder / "config.json").stat().st_mtime, UTC)
    return {
        "model_id": config.model_id,
        "from_definitions": config.from_definitions,
        "leaves_full_texts": leaves_full_texts(config.model_id),
        "shipped": shipped,
        "papers": None if config.from_definitions or known is None else len(known.records),
        "at": None if shipped else changed.isoformat(timespec="milliseconds"),
    }
