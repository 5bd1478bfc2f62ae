"""The command line: parses, calls, prints. What the commands do lives in the packages."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from models.codebook import Codebook
    from pipeline.settings import Settings

app = typer.Typer(
    help="Tag search exports with relevance and the mechanisms of a codebook, and say how far to trust the tags.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)

Sources = Annotated[
    list[Path],
    typer.Argument(metavar="SRC...", help="Search exports, or folders or zip files of them.", show_default=False),
]
Params = Annotated[Path, typer.Option("--params", help="Settings file; a missing one means the defaults.")]
Checkpoints = Annotated[
    Path, typer.Option("--checkpoints", help="Folder for what tuning goes on from; it may be deleted at any time.")
]
# No usage statistics leave the machine, unless the user sets these otherwise.
NO_TELEMETRY = {"HF_HUB_DISABLE_TELEMETRY": "1", "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "1"}
PARAMS = Path("params.yaml")
MODEL = Path("models/trained")
CHECKPOINTS = Path("data/work/checkpoints")


class StoppingRule(StrEnum):
    """Rules by which `rank` says that reading may stop."""

    sample = "sample"
    ranked = "ranked"


def _load(params: Path) -> tuple[Settings, Codebook]:
    from models.codebook import load_codebook
    from pipeline.settings import load_settings

    settings = load_settings(params)
    return settings, load_codebook(settings.codebook)


def _say(message: str) -> None:
    typer.echo(message, err=True)


@contextmanager
def _progress(what: str, total: int, *, of_bytes: bool = False) -> Iterator[Callable[[int], None]]:
    """Show a progress bar on a terminal, nothing in a pipe."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    done = DownloadColumn() if of_bytes else MofNCompleteColumn()
    columns = (TextColumn("{task.description}"), BarColumn(), done, TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task(what, total=total)
        yield lambda done: progress.advance(task, done)


@app.command()
def ingest(
    sources: Sources,
    output: Annotated[Path, typer.Option("-o", "--output", help="Parquet table of records to write.")],
) -> None:
    """Read search exports into one table of records.

    What cannot become a record goes to `rejected.jsonl` beside the table, with the reason; counts and
    notes go to `ingest.json`. A file that cannot be read stops the run, unless it is one among others in
    a folder or a zip file: then it is named, and the others are read.

    Example: `mechtag ingest ovid.ris scopus.csv -o records.parquet`
    """
    from pipeline.ingest import Reading
    from pipeline.store import write_json, write_jsonl, write_records

    reading = Reading(sources)
    with _progress("reading", reading.size, of_bytes=True) as advance:
        write_records(output, reading.records(advance))
    write_jsonl(output.with_name("rejected.jsonl"), reading.rejected)
    summary = reading.summary()
    write_json(output.with_name("ingest.json"), summary)
    for note in (*reading.notes, *reading.unread):
        _say(f"note: {note}")
    _say(f"{output}: {summary['kept']} records kept, {summary['rejected']} rejected")


@app.command()
def dedupe(
    records: Annotated[Path, typer.Argument(metavar="IN", help="Parquet table of records.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Parquet table of unique records to write.")],
    groups: Annotated[
        Path | None, typer.Option("--groups", help="CSV of the groups; groups.csv beside the output by default.")
    ] = None,
    existing: Annotated[
        Path | None,
        typer.Option("--existing", help="Unique records of an earlier run; they keep their ids.", show_default=False),
    ] = None,
    decisions: Annotated[
        list[Path] | None,
        typer.Option("--decisions", help="groups.csv or uncertain.csv with decisions filled in.", show_default=False),
    ] = None,
    params: Params = PARAMS,
) -> None:
    """Group records of the same paper and make one record of each group.

    Nothing is lost: groups.csv lists every record that was set aside, and why; uncertain.csv lists pairs
    that were left apart and that a person should look at. With `--existing`, new.parquet holds the papers
    that are new since then.

    Example: `mechtag dedupe records.parquet -o unique.parquet`

    Example: `mechtag dedupe update.parquet -o all.parquet --existing unique.parquet --decisions decided.csv`
    """
    from pipeline.decisions import read_decisions, write_groups, write_uncertain
    from pipeline.dedupe import dedupe as find_duplicates
    from pipeline.settings import load_settings
    from pipeline.store import read_records, write_records

    settings = load_settings(params)
    result = find_duplicates(
        read_records(records),
        settings.dedupe,
        existing=read_records(existing) if existing else (),
        decisions=read_decisions(decisions or ()),
    )
    for place in result.ignored:
        _say(f"note: {place}: the decision is on records that are not here")
    write_groups(groups or output.with_name("groups.csv"), result)
    write_uncertain(output.with_name("uncertain.csv"), result)
    if existing:
        write_records(output.with_name("new.parquet"), result.new)
    write_records(output, result.unique)
    new = f", {len(result.new)} of them new" if existing else ""
    _say(f"{output}: {result.read} records, {len(result.unique)} unique{new}, {result.duplicates} duplicates")
    if result.uncertain:
        _say(f"{output.with_name('uncertain.csv')}: {len(result.uncertain)} pairs to look at")


@app.command()
def sentences(
    records: Annotated[Path, typer.Argument(metavar="IN", help="Parquet table of records.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Parquet table of sentences to write.")],
    params: Params = PARAMS,
) -> None:
    """Cut abstracts into sentences, with the section each stands in.

    Example: `mechtag sentences unique.parquet -o sentences.parquet`
    """
    from pipeline.sentences import split
    from pipeline.settings import load_settings
    from pipeline.store import read_records, write_sentences

    settings = load_settings(params)
    found = list(split(read_records(records), settings.sentences))
    write_sentences(output, found)
    _say(f"{output}: {len(found)} sentences")


@app.command()
def train(
    output: Annotated[Path, typer.Option("-o", "--output", help="Model folder to write.")] = MODEL,
    annotations: Annotated[
        Path | None, typer.Option("--annotations", help="Coded records instead of those named in the settings.")
    ] = None,
    out_of_fold: Annotated[
        Path, typer.Option("--out-of-fold", help="Folder for the predictions of the cross-validation.")
    ] = Path("data/work/train"),
    checkpoints: Checkpoints = CHECKPOINTS,
    params: Params = PARAMS,
) -> None:
    """Train a model on coded records and exemplars, and log the run to MLflow.

    Where the encoder is tuned (`train.trainer` in the settings), a run that was interrupted goes on where it
    was: call it again.

    Example: `mechtag train --annotations data/annotated/coded_records.jsonl`
    """
    from pipeline.store import write_predictions
    from training.tracking import log_run
    from training.train import save_model
    from training.train import train as fit_model
    from training.trainers import count_epochs

    settings, codebook = _load(params)
    if annotations is not None:
        chosen = settings.train.model_copy(update={"records": str(annotations)})
        settings = settings.model_copy(update={"train": chosen})
    with _progress("tuning", count_epochs(settings.train)) as advance:
        trained = fit_model(settings, codebook, work=checkpoints, on_progress=advance)
    save_model(trained, output)
    write_predictions(out_of_fold / "documents.parquet", trained.documents)
    write_predictions(out_of_fold / "sentences.parquet", trained.sentences)
    run_id = log_run(trained.config, output, settings.model_dump(mode="json"), trained.figures, trained.losses)
    _say(f"{output}: model {trained.config.model_id}, MLflow run {run_id}")


@app.command()
def tag(
    sources: Sources,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to write to.")],
    model: Annotated[Path, typer.Option("--model", help="Model folder.")] = MODEL,
    sentence_table: Annotated[
        Path | None, typer.Option("--sentences", help="Sentences that were cut before; only with one parquet table.")
    ] = None,
    params: Params = PARAMS,
) -> None:
    """Tag search exports: read, remove duplicates, score, write tables to review.

    Writes tagged.csv, tagged.ris, predictions.parquet, groups.csv, uncertain.csv, rejected.jsonl and summary.json.

    Example: `mechtag tag search_update.ris -o out/`
    """
    from models.artifact import load_model
    from pipeline.batch import gather, tag_records, write_tagged

    settings, codebook = _load(params)
    loaded = load_model(model, codebook)
    batch = gather(sources, settings, sentence_table)
    for note in (*batch.ingested.notes, *batch.ingested.unread):
        _say(f"note: {note}")
    with _progress("tagging", len(batch.records)) as advance:
        tagged = tag_records(loaded, batch, settings.tag, advance)
    write_tagged(output, tagged)
    for line in batch.identification.lines():
        typer.echo(line)
    summary = tagged.summary()
    for entry in codebook.entries:
        counts = summary["decisions"][entry.key]
        typer.echo(f"  {entry.name}: {counts['yes']} yes, {counts['refer']} to refer, {counts['no']} no")
    typer.echo(f"Table to review: {output / 'tagged.csv'}; for reference managers: {output / 'tagged.ris'}")


@app.command()
def rank(
    source: Annotated[Path, typer.Argument(metavar="IN", help="Records without duplicates: parquet, or an export.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Table to write (CSV), what to read next on top.")],
    labels: Annotated[
        Path | None,
        typer.Option("--labels", help="Decisions so far: the table filled in, or other CSV or JSON lines."),
    ] = None,
    model: Annotated[
        Path | None, typer.Option("--model", help="Model folder that ranks until a relevant record is known.")
    ] = None,
    recall: Annotated[float, typer.Option("--recall", help="Share of the relevant records to find.")] = 0.95,
    confidence: Annotated[float, typer.Option("--confidence", help="How sure to be of it.")] = 0.95,
    rule: Annotated[StoppingRule, typer.Option("--rule", help="When to stop; docs/ranking.md.")] = StoppingRule.sample,
    params: Params = PARAMS,
) -> None:
    """Rank records by relevance, learn from decisions, and say whether reading may stop.

    Read from the top of the table, write 1 or 0 into the column `decision`, and call again with the table as
    `--labels`. Fix recall, confidence and rule before you begin: docs/ranking.md.

    Example: `mechtag rank unique.parquet -o ranking.csv --labels ranking.csv`
    """
    from pipeline.judgements import read_judgements
    from training.rank import Target, read_course, refuse_loss, tell, write_ranking
    from training.rank import rank as rank_records
    from training.search import cold_scores, load_search, read_sources

    settings, codebook = _load(params)
    target = Target(rule=rule.value, recall=recall, confidence=confidence)
    judgements = read_judgements(labels, codebook.relevance.key) if labels else None
    course = read_course(output.with_suffix(".json"))
    if course.target not in (None, target):
        _say(f"note: this review began with {course.target}; a target that changes midway is no guarantee")
    records = read_sources(source)
    refuse_loss(output, records, judgements, codebook.relevance.key)
    cache = output.with_suffix(".vectors.npz")
    with _progress("encoding", len(records)) as advance:
        search = load_search(records, codebook.relevance.definition, settings.encoder, cache, advance)
    cold = cold_scores(model, search, settings, codebook) if model else None
    for name in judgements.unknown(records) if judgements else ():
        _say(f"note: {labels}: {name} is none of the records; its decision is left out")
    ranking = rank_records(search, judgements, course, target, cold=cold, seed=settings.seed)
    write_ranking(output, ranking)
    for line in tell(ranking):
        typer.echo(line)
    _say(f"{output}: written; decisions go into its column 'decision'")


@app.command()
def simulate(
    source: Annotated[Path, typer.Argument(metavar="RECORDS", help="A finished review: parquet, or an export.")],
    labels: Annotated[Path, typer.Option("--labels", help="Decision on each record, as CSV or JSON lines.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to write to.")],
    runs: Annotated[int, typer.Option("--runs", min=1, help="Replays, each from two other known records.")] = 5,
    batch: Annotated[int, typer.Option("--batch", min=1, help="Records read between two rankings.")] = 10,
    recall: Annotated[float, typer.Option("--recall", help="Share of the relevant records to find.")] = 0.95,
    confidence: Annotated[float, typer.Option("--confidence", help="How sure to be of it.")] = 0.95,
    params: Params = PARAMS,
) -> None:
    """Replay a finished review: when would `rank` have found what was included, and when would it have stopped.

    Writes simulation.json, and reading.csv with the recall after each record, to be plotted.

    Example: `mechtag simulate review.csv --labels review.csv -o simulation/`
    """
    from evaluation.screening import summary
    from pipeline.judgements import read_judgements
    from training.replays import judged_records, summarise_stops, tell, write_replays
    from training.search import load_search, read_sources
    from training.simulate import replay

    settings, codebook = _load(params)
    judgements = read_judgements(labels, codebook.relevance.key)
    given = read_sources(source)
    records, decided = judged_records(given, judgements)
    for name in judgements.unknown(given):
        _say(f"note: {labels}: {name} is none of the records; its decision is left out")
    cache = output / "vectors.npz"
    with _progress("encoding", len(records)) as advance:
        search = load_search(records, codebook.relevance.definition, settings.encoder, cache, advance)
    with _progress("relevant records found", runs * (int(decided.sum()) - 1)) as advance:
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
    for line in tell(content):
        typer.echo(line)
    _say(f"{output}: simulation.json and reading.csv written")


@app.command()
def export(
    predictions: Annotated[Path, typer.Argument(metavar="IN", help="predictions.parquet that 'tag' wrote.")],
    to: Annotated[str, typer.Option("--to", help="Format: csv or ris.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="File to write.")],
    records: Annotated[
        Path | None, typer.Option("--records", help="Records; records.parquet beside the predictions by default.")
    ] = None,
    params: Params = PARAMS,
) -> None:
    """Write tagged records in a format that other programs read.

    Example: `mechtag export out/predictions.parquet --to ris -o tagged.ris`
    """
    from pipeline.exporters import export as write_export
    from pipeline.store import read_predictions, read_records

    _, codebook = _load(params)
    tagged = read_records(records or predictions.with_name("records.parquet"))
    labels = [(entry.key, entry.name) for entry in codebook.entries]
    write_export(to, output, tagged, read_predictions(predictions), labels)
    _say(f"{output}: {len(tagged)} records")


@app.command()
def prisma(
    output: Annotated[Path, typer.Option("-o", "--output", help="SVG file to write; a table of the counts beside it.")],
    summary: Annotated[Path | None, typer.Argument(metavar="[SUMMARY]", help="summary.json that 'tag' wrote.")] = None,
    elsewhere: Annotated[
        Path | None, typer.Option("--elsewhere", help="YAML file of counts that mechtag cannot know; docs/prisma.md.")
    ] = None,
    narrow: Annotated[bool, typer.Option("--narrow", help="Put the panels below one another.")] = False,
) -> None:
    """Draw the PRISMA 2020 flow diagram of a review.

    Counts of a batch, counts from elsewhere, or both; counts that contradict one another are refused.

    Example: `mechtag prisma out/summary.json --elsewhere counts.yaml -o flow.svg`
    """
    from pipeline.exporters.flow import write
    from pipeline.prisma_boxes import plain_text
    from pipeline.prisma_flow import read_flow

    if summary is None and elsewhere is None:
        raise typer.BadParameter("give the summary.json of a batch, --elsewhere COUNTS.yaml, or both")
    flow = read_flow(summary, elsewhere)
    table = write(flow, output, narrow)
    typer.echo("\n".join(plain_text(flow)))
    _say(f"{output}: drawn; the same counts as a table: {table}")


@app.command()
def baselines(
    records: Annotated[Path, typer.Argument(metavar="RECORDS", help="Parquet table of the gold records.")],
    sentence_table: Annotated[Path, typer.Argument(metavar="SENTENCES", help="Parquet table of their sentences.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of prediction files to write.")],
    checkpoints: Checkpoints = CHECKPOINTS,
    params: Params = PARAMS,
) -> None:
    """Run the leave-one-paper-out protocol and the naive baselines on the gold papers.

    Example: `mechtag baselines gold/unique.parquet gold/sentences.parquet -o data/work/baselines`
    """
    from pipeline.store import read_records, read_sentences, write_predictions
    from training.baselines import prepare, run_all

    settings, codebook = _load(params)
    bench = prepare(settings, codebook, read_records(records), read_sentences(sentence_table), checkpoints)
    with _progress("leave-one-out", len(bench.gold)) as advance:
        made = run_all(bench, advance)
    for name, predictions in made.items():
        write_predictions(output / f"{name}.parquet", predictions)
    _say(f"{output}: {', '.join(made)}")


@app.command()
def evaluate(
    predictions: Annotated[Path, typer.Argument(metavar="PREDICTIONS", help="What 'tag' made of the gold papers.")],
    gold: Annotated[Path, typer.Argument(metavar="GOLD", help="Coding matrix: papers by labels, with 1 and 0.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Metrics file to write; tables go beside it.")],
    records: Annotated[
        Path | None, typer.Option("--records", help="Records; records.parquet beside the predictions by default.")
    ] = None,
    others: Annotated[
        Path | None, typer.Option("--baselines", help="Folder that 'baselines' wrote.", show_default=False)
    ] = None,
    out_of_fold: Annotated[
        Path | None, typer.Option("--out-of-fold", help="Folder that 'train' wrote.", show_default=False)
    ] = None,
    params: Params = PARAMS,
) -> None:
    """Compare predictions with human coding.

    Papers of the matrix are found by their key: the field `key` of the source file, or the record id.

    Example: `mechtag evaluate out/predictions.parquet codes.csv -o metrics.json`
    """
    from evaluation.run import evaluate_files

    settings, codebook = _load(params)
    evaluate_files(
        predictions,
        gold,
        records or predictions.with_name("records.parquet"),
        output,
        label_keys=codebook.keys,
        relevance_key=codebook.relevance.key,
        settings=settings,
        baselines=others,
        out_of_fold=out_of_fold,
    )
    _say(f"{output}: written, with tables beside it")


@app.command()
def report(
    metrics: Annotated[Path, typer.Argument(metavar="METRICS", help="What 'evaluate' wrote.")] = Path(
        "reports/metrics.json"
    ),
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Also write the table as Markdown.", show_default=False)
    ] = None,
) -> None:
    """Print the accuracy table.

    Example: `mechtag report reports/metrics.json -o reports/accuracy.md`
    """
    from rich.console import Console

    from evaluation.table import accuracy_markdown, accuracy_terminal
    from pipeline.store import read_json, write_text

    content = read_json(metrics)
    if output is not None:
        write_text(output, accuracy_markdown(content))
    Console().print(accuracy_terminal(content))


def main() -> None:
    """Run the command line; a problem the user can act on ends with a message and status 1."""
    from models.errors import MechtagError

    for name, value in NO_TELEMETRY.items():
        os.environ.setdefault(name, value)
    try:
        app()
    except MechtagError as error:
        _say(f"mechtag: {error}")
        sys.exit(1)
    except OSError as error:
        _say(f"mechtag: {error.filename or ''}: {error.strerror or error}")
        sys.exit(1)


if __name__ == "__main__":
    main()
