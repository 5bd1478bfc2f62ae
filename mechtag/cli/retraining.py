"""Learning from more annotations, with the model in use at stake."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mechtag.cli.options import CHECKPOINTS, MODEL, PARAMS, Checkpoints, Params, load, progress, say

if TYPE_CHECKING:
    from mechtag.core.codebook import Codebook
    from mechtag.core.settings import Settings
    from mechtag.training.retraining.model_store import Places

WORK = Path("data/work/retrain")
REPORTS = Path("reports/retrain")
NO_VERSION = "none"
NEW = "new papers"


def retrain(
    codings: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[CODINGS...]", help="Tables of new codings (CSV); none after a change of codebook."),
    ] = None,
    records: Annotated[
        list[Path] | None,
        typer.Option("--records", help="Records that the codings are about: Parquet tables or search exports."),
    ] = None,
    on: Annotated[
        Path | None,
        typer.Option("--on", help="Records for the change log; by default the sources of the settings."),
    ] = None,
    leave_out_leaks: Annotated[
        bool, typer.Option("--leave-out-leaks", help="Set records aside that may be test papers, and go on.")
    ] = False,
    onto: Annotated[
        str | None,
        typer.Option("--onto", help="Version of the annotations to add to, or 'none'; by default the last one."),
    ] = None,
    rollback: Annotated[bool, typer.Option("--rollback", help="Bring back the model that was in use before.")] = False,
    history: Annotated[bool, typer.Option("--history", help="List versions of annotations and decisions.")] = False,
    model: Annotated[Path, typer.Option("--model", help="Folder of the model in use.")] = MODEL,
    out_of_fold: Annotated[
        Path, typer.Option("--out-of-fold", help="Folder of its predictions of the cross-validation.")
    ] = Path("data/work/train"),
    checkpoints: Checkpoints = CHECKPOINTS,
    params: Params = PARAMS,
) -> None:
    """Train on more annotations, and take the new model only if it is not worse.

    Adds codings under a new version, trains a challenger, compares it with the model in use on papers that neither
    has learnt from, and puts it in its place if the rule in the settings allows. Papers that accuracy is measured on
    are refused. What was decided, and which tags change and why, stands in `reports/retrain/`. docs/retraining.md.

    Example: `mechtag retrain codings.csv --records unique.parquet`

    Example: `mechtag retrain --rollback`
    """
    from mechtag.training.retraining.model_store import Places, interrupted, recover

    if sum((bool(codings), rollback, history)) > 1:
        raise typer.BadParameter("give codings, --rollback or --history, one of them at a time")
    if records and not codings:
        raise typer.BadParameter("--records goes with the codings of these records")
    if (rollback or history) and (on or onto or leave_out_leaks):
        raise typer.BadParameter(
            "--on, --onto and --leave-out-leaks are for learning anew, not for --rollback or --history"
        )
    if Path.cwd().is_relative_to(model.resolve()):
        raise typer.BadParameter(
            f"--model {model}: the folder is exchanged as a whole, so it cannot be worked in; leave it"
        )
    settings, codebook = load(params)
    places = Places(model, out_of_fold, model.with_name("kept"), settings.train.added)
    # To read is allowed while another retraining goes on.
    with nullcontext() if history and not interrupted(places) else _alone(places):
        if found := recover(places):
            say(f"{model}: an installation that was interrupted is finished; model {found} is in use")
            _point_aliases(places, found, settings)
        if history:
            _print_history(places)
        elif rollback:
            _roll_back(places, settings)
        else:
            version = _add(codings or [], records or [], settings, codebook, places, onto, leave_out_leaks)
            _challenge(version, settings, codebook, places, on, checkpoints)


@contextmanager
def _alone(places: Places) -> Iterator[None]:
    """Keep another retraining away from the models, and from the annotations, which several models may share."""
    from mechtag.pipeline.tagging.chunks import locked

    with locked(places.kept), locked(Path(places.added)):
        yield


def _print_history(places: Places) -> None:
    from mechtag.core.errors import MechtagError
    from mechtag.pipeline.annotations.versions import list_versions, read_additions, read_history, version_in_use

    used = version_in_use(places.added)
    for name in list_versions(places.added):
        try:
            additions = read_additions(places.added, name)
        except MechtagError as error:
            say(f"{name} cannot be read: {error}")
            continue
        coders = ", ".join(sorted({coding.coder for coding in additions.codings}))
        counts = f"{len(additions.codings)} codings of {len({row.record_id for row in additions.codings})} records"
        typer.echo(f"{name}: {counts} by {coders or 'nobody'}{' (in use)' if name == used else ''}")
    for row in read_history(places.added):
        typer.echo(f"{row['date']}: {row['event']}; version {row['version'] or 'none'}, model in use {row['champion']}")
        for reason in row["reasons"]:
            typer.echo(f"    {reason}")


def _roll_back(places: Places, settings: Settings) -> None:
    from mechtag.models.model_folder import read_config
    from mechtag.training.retraining.model_store import former_of, install, note_of

    given_up = read_config(places.model).model_id
    former = former_of(places, given_up)
    note = note_of(places, former)
    install(
        places,
        former,
        {
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "event": f"rolled back from {given_up}",
            "version": note["version"],
            "champion": former,
            "reasons": [],
        },
    )
    _point_aliases(places, former, settings)
    typer.echo(f"{places.model}: model {former} is in use again, with annotations {note['version'] or 'as they were'}")


def _point_aliases(places: Places, champion: str, settings: Settings) -> None:
    """Let the registry say which model is in use, and which one a rollback would bring back."""
    from mechtag.training.mlflow_runs import CHAMPION, PREVIOUS, drop_alias, register, tolerated
    from mechtag.training.retraining.challenger import MODEL as PART
    from mechtag.training.retraining.model_store import is_kept, note_of

    note = note_of(places, champion)
    with tolerated(say):
        register(places.kept / champion / PART, settings, note["tags"], [CHAMPION])
        # Kept models may be deleted, and then there is no way back.
        if is_kept(places, note["former"]):
            before = note_of(places, note["former"])
            register(places.kept / note["former"] / PART, settings, before["tags"], [PREVIOUS])
        else:
            drop_alias(PREVIOUS)


def _add(
    codings: list[Path],
    records: list[Path],
    settings: Settings,
    codebook: Codebook,
    places: Places,
    onto: str | None,
    leave_out_leaks: bool,
) -> str:
    """Make a version of the annotations, and tell what came of it."""
    from mechtag.models.model_folder import read_config
    from mechtag.pipeline.annotations.versions import track, write_additions
    from mechtag.training.retraining.new_codings import add_annotations, write_notes

    then = read_config(places.model).codebook.definitions
    onto = "" if onto == NO_VERSION else onto
    addition = add_annotations(settings, codebook, codings, records, then, onto, leave_out_leaks)
    version = write_additions(places.added, addition.additions)
    write_notes(REPORTS / version, addition)
    hashed = track(Path(places.added) / version)
    say(f"annotations: version {version}{f', DVC {hashed}' if hashed else ''}; {addition.describe()}")
    for row in addition.set_aside:
        say(f"set aside: {row.title}: {row.reason}")
    if addition.stale:
        say(f"{REPORTS / version / 'stale.csv'}: {len(addition.stale)} codes were given under other definitions")
    return version


def _challenge(
    version: str, settings: Settings, codebook: Codebook, places: Places, on: Path | None, checkpoints: Path
) -> None:
    """Train the challenger, compare, report, and promote it or not."""
    import numpy as np

    from mechtag.evaluation.model_comparison import compare, judge, write_comparison
    from mechtag.evaluation.predictions import System
    from mechtag.models.model_folder import load_model
    from mechtag.pipeline.annotations.coding_table import read_annotations
    from mechtag.pipeline.annotations.versions import append_history, version_in_use
    from mechtag.pipeline.dedupe.dedupe import dedupe
    from mechtag.pipeline.reading.ingest import ingest
    from mechtag.pipeline.screening.search import read_sources
    from mechtag.pipeline.text.sentences import split
    from mechtag.training.finetuning.trainers import count_epochs
    from mechtag.training.mlflow_runs import log_run, register, tolerated
    from mechtag.training.retraining.challenger import MODEL as PART
    from mechtag.training.retraining.challenger import champion_predictions, train_challenger
    from mechtag.training.retraining.explain_changes import find_changes, write_change_log
    from mechtag.training.retraining.model_store import install, keep_challenger, keep_champion

    champion = load_model(places.model)
    # First, for training takes long: what cannot be read shall be known before.
    sources = [Path(path) for path in settings.sources.values() if path != settings.retrain.test_records]
    records = (
        read_sources(on, say) if on else dedupe(ingest(sources).records, settings.dedupe).unique if sources else ()
    )
    with progress("tuning", count_epochs(settings.train)) as advance:
        challenger = train_challenger(
            settings, codebook, version, WORK / version, work=checkpoints, on_progress=advance
        )
    ids = champion.config.model_id, challenger.model.config.model_id
    if ids[0] == ids[1]:
        say(f"{places.model}: model {ids[0]} has learnt from exactly this already; nothing to do")
        keep_champion(places)
        _point_aliases(places, ids[0], settings)
        return
    coded = read_annotations(settings, codebook.keys, codebook.relevance.key, version)
    known, new = champion_predictions(champion, places.out_of_fold, coded)
    systems = System("the model in use", known), System("the challenger", challenger.documents)
    labels = [key for key in codebook.keys if key in champion.config.codebook.keys]
    added = {row.record.record_id for row in new}
    earlier = [row for row in coded if row.record.record_id not in added]
    papers = {"all papers": coded, "earlier papers": earlier, NEW: new}
    figures = {
        name: compare(
            *systems, rows, labels, codebook.relevance.key, settings.retrain, np.random.default_rng(settings.seed)
        )
        for name, rows in papers.items()
        if rows
    }
    # New papers alone do not decide: they are few, and whoever coded them wrongly coded them so for both models.
    verdict = judge({name: each for name, each in figures.items() if name != NEW}, settings.retrain)
    report = REPORTS / version
    heading = {
        "champion": ids[0],
        "challenger": ids[1],
        "annotations before": version_in_use(places.added) or "none added",
        "annotations after": version,
        "papers": len(coded),
        "papers that are new": len(new),
        "codebook changed": champion.config.codebook_sha256 != codebook.sha256,
    }
    write_comparison(report, heading, figures, verdict)
    sentences = list(split(records, settings.sentences))
    changes = find_changes(champion.tagger, challenger.model.tagger, records, sentences, new)
    write_change_log(report, changes, len(records), *ids)
    tags = {"data_version": version, "compared": "; ".join(verdict.reasons)}
    with tolerated(say):
        metrics = challenger.figures | {
            f"retrain_{each.figure}_{side}": value
            for each in figures["all papers"]
            for side, value in (("champion", each.champion), ("challenger", each.challenger))
            if value is not None
        }
        folder = challenger.folder / PART
        log_run(challenger.model.config, folder, settings, metrics, challenger.losses)
        register(folder, settings, tags)
    in_use = ids[1] if verdict.promote else ids[0]
    row = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "event": f"{ids[1]} promoted" if verdict.promote else f"{ids[1]} not promoted",
        "version": version,
        "champion": in_use,
        "reasons": list(verdict.reasons),
    }
    keep_champion(places)
    if verdict.promote:
        keep_challenger(places, challenger.folder, version, tags)
        install(places, ids[1], row)
    else:
        append_history(places.added, row)
    _point_aliases(places, in_use, settings)
    for reason in verdict.reasons:
        typer.echo(f"  {reason}")
    typer.echo(f"  {len(changes)} decisions change on {len(records)} records: {report / 'changes.md'}")
    done = "is in use now" if verdict.promote else "was not promoted; the model in use stays"
    typer.echo(f"model {ids[1]} {done}: {report / 'comparison.md'}")
