"""Rank records by relevance, learn from decisions, and replay finished reviews."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mechtag.core.outputs import check_outputs, digest_of, refuse_changed, same_file
from mechtag.core.records import Record
from mechtag.models.model_folder import encoder_difference, read_config
from mechtag.pipeline.reading.ingest import read_unique
from mechtag.pipeline.screening import ranking
from mechtag.pipeline.screening.decisions import Judgements, read_judgements
from mechtag.pipeline.screening.search import load_search
from mechtag.project import Project
from mechtag.workflows.reporter import SILENT, Reporter


def rank(
    project: Project,
    source: Path,
    output: Path,
    labels: Path | None = None,
    *,
    model: Path | None = None,
    recall: float | None = None,
    confidence: float | None = None,
    rule: str | None = None,
    reporter: Reporter = SILENT,
) -> list[str]:
    """Rank records by relevance, and decide whether reading may stop.

    By default, ``recall``, ``confidence`` and ``rule`` are the values of the previous call. In the first call, they are
    the defaults of `screening.ranking.Target`.

    Parameters
    ----------
    source
        Records without duplicates, as a parquet table or a search export.
    output
        CSV file to which the ranked records are written. The records to read next are at the top.
    labels
        Table of the decisions so far. The output of the previous call is such a table once people have filled in
        decisions.
    model
        Folder of the model that ranks the records until a relevant record is known.
    recall
        Target recall: the proportion of the relevant records to find.
    confidence
        Required confidence that recall has reached this target when reading stops.
    rule
        Stopping rule: ``sample`` or ``ranked``; see `screening.ranking.Target`.

    Returns
    -------
    list of str
        Sentences that describe the progress and whether reading may stop.
    """
    from mechtag.pipeline.screening.search import cold_scores

    settings, codebook = project.settings, project.codebook
    state, cache = ranking.course_path(output), output.with_suffix(".vectors.npz")
    # The usual table of decisions is the output of the last call.
    others = [labels] if labels and not same_file(labels, output) else []
    check_outputs((output, state, cache), (source, *others, model), decided=output)
    # Encoding takes long, and reviewers may save decisions in the table in the meantime.
    digest = digest_of(output)
    judgements = read_judgements(labels, codebook.relevance.key) if labels else None
    course = ranking.read_course(state)
    chosen = {"rule": rule, "recall": recall, "confidence": confidence}
    begun = (course.target or ranking.Target()).model_dump()
    given = {name: value for name, value in chosen.items() if value is not None}
    target = ranking.Target.model_validate(begun | given)
    if course.target not in (None, target):
        reporter.note(
            f"note: this review began with one target ({course.target}) and continues with a different one ({target}). "
            "The stated confidence is valid only if the target was fixed before reading began. To keep it valid, "
            f"rank again with the first target ({course.target})"
        )
    records = read_unique(source, reporter.note)
    ranking.refuse_loss(output, records, judgements, codebook.relevance.key)
    own = ranking.read_own_cells(output, records)
    with reporter.progress("encoding", len(records)) as advance:
        search = load_search(records, codebook.relevance.definition, settings.encoder, cache, advance)
    cold = cold_scores(model, search, settings, codebook) if model else None
    if model and (difference := encoder_difference(read_config(model).encoder, settings.encoder, model)):
        reporter.note(
            f"note: {difference}. The model ranks the records until a relevant record is known; from then on, ranking "
            "uses the encoder in the settings"
        )
    if judgements and labels:
        _note_unknown(judgements, records, labels, reporter)
    found = ranking.rank(search, judgements, course, target, cold=cold, seed=settings.seed)
    refuse_changed(output, digest)
    ranking.write_ranking(output, found, own)
    return list(ranking.describe_ranking(found))


def simulate(
    project: Project,
    source: Path,
    labels: Path,
    output: Path,
    *,
    runs: int = 5,
    batch: int = 10,
    recall: float = 0.95,
    confidence: float = 0.95,
    reporter: Reporter = SILENT,
) -> list[str]:
    """Replay a finished review, to see when `rank` would have found the relevant records and stopped.

    The results are written to ``simulation.json`` and ``reading.csv``.

    Parameters
    ----------
    source
        Records of the review.
    labels
        Table of the decisions on these records.
    output
        Folder to write to.
    runs
        Number of replays. Each replay starts from one relevant and one irrelevant record, which are drawn at random.
    batch
        Number of records read between two rankings.
    recall
        Target recall: the proportion of the relevant records to find.
    confidence
        Required confidence that recall has reached this target when reading stops.

    Returns
    -------
    list of str
        Sentences that describe the results.
    """
    from mechtag.pipeline.screening.replay import (
        describe_simulation,
        judged_records,
        replay_files,
        summarise_stops,
        write_replays,
    )
    from mechtag.pipeline.screening.simulation import replay, summary

    settings, codebook = project.settings, project.codebook
    cache = output / "vectors.npz"
    check_outputs((*replay_files(output), cache), (source, labels))
    judgements = read_judgements(labels, codebook.relevance.key)
    given = read_unique(source, reporter.note)
    records, decided = judged_records(given, judgements)
    _note_unknown(judgements, given, labels, reporter)
    with reporter.progress("encoding", len(records)) as advance:
        search = load_search(records, codebook.relevance.definition, settings.encoder, cache, advance)
    with reporter.progress("relevant records found", runs * (int(decided.sum()) - 1)) as advance:
        replays = replay(
            search.ranker,
            decided,
            runs=runs,
            batch=batch,
            recall=recall,
            confidence=confidence,
            seed=settings.seed,
            on_progress=advance,
        )
    content = {
        **{"records": len(records), "relevant": int(decided.sum()), "replays": runs, "batch": batch},
        **{"recall": recall, "confidence": confidence, "seed": settings.seed},
        "figures": summary([decided[run.order[run.priors :]] for run in replays]),
        "stopping": summarise_stops(replays, recall),
    }
    write_replays(output, records, decided, replays, content)
    return list(describe_simulation(content))


def _note_unknown(judgements: Judgements, records: Sequence[Record], labels: Path, reporter: Reporter) -> None:
    for name in judgements.unknown(records):
        reporter.note(
            f"note: {labels}: the decision on {name} is ignored, because {name} matches none of the records; "
            "correct the identifier if it should match one"
        )
