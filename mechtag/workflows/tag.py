"""Tag search exports: read records, remove duplicates, score the records, and write tables for review."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mechtag.core.errors import MechtagError
from mechtag.project import Project
from mechtag.workflows.reporter import SILENT, Reporter

if TYPE_CHECKING:
    from mechtag.core.settings import RuntimeName
    from mechtag.pipeline.tagging.inputs import Inputs
    from mechtag.pipeline.tagging.storage import StoragePath

Engine = Literal["local", "ray"]


@dataclass(frozen=True)
class Tagged:
    """The result of a finished tagging run.

    Attributes
    ----------
    inputs
        Counts of the files and records that were read, and of the records that were excluded for each reason.
    summary
        Content of ``summary.json``.
    output
        Folder of the results.
    chunks
        Folder with one file of predictions per chunk. It exists only if the output is in an object store. Otherwise,
        the chunks were joined into one table.
    """

    inputs: Inputs
    summary: dict[str, Any]
    output: StoragePath
    chunks: StoragePath


def tag(
    project: Project,
    sources: Sequence[str],
    output: str,
    *,
    model: Path | None = None,
    sentences: Path | None = None,
    full_texts: Path | None = None,
    first: tuple[Path, int] | None = None,
    runtime: RuntimeName | None = None,
    threads: int | None = None,
    score_all: bool = False,
    resume: bool = False,
    engine: Engine = "local",
    workers: int | None = None,
    reporter: Reporter = SILENT,
) -> Tagged:
    """Tag the records of search exports, or of one table of records, and write the results to a folder.

    Parameters
    ----------
    sources
        Search exports, or folders or zip files of search exports. Alternatively, the path or URI of one parquet table
        of records.
    output
        Folder to write to. It may be a URI if the source is a table of records.
    model
        Model folder; by default, the model folder of the project.
    sentences
        Table of the sentences of the records. By default, tagging splits the records into sentences.
    full_texts
        Table of full texts that `attach` writes. A record with a full text is tagged twice: from its abstract and from
        its full text.
    first
        Table of records in reading order, such as the output of `rank`, and number of records to tag from its top.
        Records judged relevant come first, and records judged irrelevant are left out.
    runtime, threads, score_all
        Values that override the settings of the project; see `TagSettings`.
    resume
        Whether to continue an interrupted run if there is one in the output folder.
    engine
        Engine that scores records: ``local`` for this machine, or ``ray`` for the cluster named in ``RAY_ADDRESS``.
    workers
        Number of Ray processes; by default, one per core of the cluster.

    Raises
    ------
    MechtagError
        If no record could be read; if the model was trained with a different codebook; if the output folder contains a
        different run; or if the table in reading order contains no record to tag.
    """
    codebook = project.codebook
    model = model or project.model
    tagging = project.settings.tag.chosen(runtime, threads, score_all)
    settings = project.settings.model_copy(update={"tag": tagging})
    if engine == "local" and workers:
        raise MechtagError(
            "the number of workers can be set only for the Ray engine; the local engine already uses all cores of this "
            "machine",
            options="omit --workers, or add --engine ray",
        )
    from mechtag.pipeline.reading.text.sentences import prepare
    from mechtag.pipeline.tagging.prefetch import directly, prefetch

    with ExitStack() as stack:
        run = directly
        if engine == "local" and not sentences:
            # A separate process prepares chunks while this process loads the model.
            run = stack.enter_context(prefetch("splits sentences", prepare, settings.sentences))
        from mechtag.models.model_folder import encoder_difference, load_model
        from mechtag.pipeline.reading.ingest import cut_note
        from mechtag.pipeline.reading.text.sign_by_vectors import read_signs_by
        from mechtag.pipeline.tagging.full_texts import check_full_texts
        from mechtag.pipeline.tagging.run import finish, run_local
        from mechtag.pipeline.tagging.start import Request, check_folder, check_sources, opened

        read = [*sources, *([str(first[0])] if first else [])]
        groups = _groups(sources, reporter) if full_texts else None
        # A model takes seconds to load, so paths are checked first.
        if first:
            _require_one_file(sources, output, first[0])
        check_sources(sources, output, sentences)
        check_folder(read, output, sentences, full_texts, groups)
        read_signs = read_signs_by(tagging)
        loaded = load_model(
            model, codebook, runtime=tagging.runtime, threads=tagging.threads, score_all=tagging.score_all
        )
        if full_texts:
            check_full_texts(full_texts, loaded.tagger, model)
        chosen = loaded.choice.runtime
        if difference := encoder_difference(loaded.config.encoder, settings.encoder, model):
            reporter.note(
                f"note: {difference}. Tagging uses the encoder of the model; to use the encoder in the settings, "
                "train again with 'mechtag train'"
            )
        if tagging.runtime != "torch":
            reporter.note(f"runtime {loaded.choice.reason}")
        if first:
            sources = [_top(project, sources, output, *first, reporter)]
        request = Request(sources, output, settings, loaded.config, sentences, full_texts, groups, runtime=chosen)
        job = stack.enter_context(opened(request, resume=resume))
        inputs = job.inputs
        for note in (*inputs.notes, *inputs.unread, *filter(None, [cut_note(inputs.abstracts_cut)])):
            reporter.note(f"note: {note}")
        if job.finished:
            reporter.note(f"resuming: {len(job.finished)} of {job.manifest.chunks} chunks are already done")
        with reporter.progress("tagging", job.manifest.records, done=job.done) as advance:
            if engine == "ray":
                from mechtag.pipeline.tagging.ray_engine import run_ray

                # Each worker has one core.
                load_one = partial(
                    load_model, model.absolute(), codebook, runtime=chosen, threads=1, score_all=tagging.score_all
                )
                run_ray(job, load_one, settings, workers, advance)
            else:
                run_local(job, loaded, settings, advance, run)
        with reporter.progress("writing tables", job.manifest.records) as advance:
            summary = finish(job, codebook, loaded.tagger.calibration, advance, read_signs)
    return Tagged(inputs, summary, job.output, job.chunks.folder)


def _groups(sources: Sequence[str], reporter: Reporter) -> Path | None:
    """Return the path of the list of merged records (``groups.csv``) in the folder of the first source.

    If the list is missing or empty, or if the source is in an object store, the result is ``None``.
    """
    from mechtag.pipeline.dedupe.merged import groups_beside, read_merged_beside
    from mechtag.pipeline.tagging.storage import is_remote

    groups = None if is_remote(sources[0]) else groups_beside(Path(sources[0]))
    return groups if groups and read_merged_beside(groups, reporter.note) else None


def _require_one_file(sources: Sequence[str], output: str, ranking: Path) -> None:
    from mechtag.pipeline.tagging.storage import is_remote

    if len(sources) > 1 or is_remote(sources[0]) or is_remote(output):
        raise MechtagError(
            f"{ranking}: the order of this table can be used only with one local file of records and a local output "
            "folder; pass the file of records that was ranked, and a folder on this machine"
        )


def _top(project: Project, sources: Sequence[str], output: str, ranking: Path, count: int, reporter: Reporter) -> str:
    """Write the first records of a ranking to a table in the folder ``output``, and return the path of the table.

    Records that were judged irrelevant are skipped.
    """
    from mechtag.core.parquet import write_records
    from mechtag.pipeline.reading.ingest import read_unique
    from mechtag.pipeline.screening.decisions import read_judgements

    records = read_unique(Path(sources[0]), reporter.note)
    rows = read_judgements(ranking, project.codebook.relevance.key).reading_order(records)[:count]
    if not rows:
        raise MechtagError(
            f"{ranking}: every record in this table has been judged irrelevant, so there is nothing to tag; use a "
            "table with unread records"
        )
    table = Path(output) / "selected.parquet"
    write_records(table, [records[row] for row in rows])
    reporter.note(f"note: {len(rows):,} of {len(records):,} records are tagged, chosen from the top of {ranking}")
    return str(table)
