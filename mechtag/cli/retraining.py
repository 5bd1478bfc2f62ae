"""The command that retrains the model on new annotations."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mechtag.cli.options import ProjectFolder, Terminal, open_project


def retrain(
    codings: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[CODINGS...]", help="Tables of new codings (CSV); omit them after a change of the codebook."
        ),
    ] = None,
    records: Annotated[
        list[Path] | None,
        typer.Option("--records", help="Records that the codings are about: Parquet tables or search exports."),
    ] = None,
    on: Annotated[
        Path | None,
        typer.Option("--on", help="Records for the change log. Default: the sources in the settings."),
    ] = None,
    leave_out_leaks: Annotated[
        bool,
        typer.Option("--leave-out-leaks", help="Set aside records that may be test papers, instead of stopping."),
    ] = False,
    onto: Annotated[
        str | None,
        typer.Option("--onto", help="Version of the annotations to add to, or 'none'. Default: the last one."),
    ] = None,
    rollback: Annotated[bool, typer.Option("--rollback", help="Restore the model that was in use before.")] = False,
    history: Annotated[
        bool, typer.Option("--history", help="List the versions of the annotations and the past decisions.")
    ] = False,
    model: Annotated[
        Path | None,
        typer.Option("--model", help="Folder of the model in use. Default: the project's.", show_default=False),
    ] = None,
    out_of_fold: Annotated[
        Path | None,
        typer.Option(
            "--out-of-fold",
            help="Folder of its out-of-fold predictions. Default: data/work/train in the project.",
            show_default=False,
        ),
    ] = None,
    project: ProjectFolder = None,
) -> None:
    """Train on more annotations, and use the new model only if it is not worse.

    Stores the codings as a new version, trains a challenger, compares it with the model in use on papers that neither
    was trained on, and promotes it if the rule in the settings allows. Papers used to measure accuracy are refused.
    `reports/retrain/` describes the decision, and which tags change and why. See docs/retraining.md.

    Example: `mechtag retrain codings.csv --records unique.parquet`

    Example: `mechtag retrain --rollback`
    """
    if sum((bool(codings), rollback, history)) > 1:
        raise typer.BadParameter("CODINGS, --rollback and --history cannot be combined")
    if records and not codings:
        raise typer.BadParameter("--records needs CODINGS of these records")
    if (rollback or history) and (on or onto or leave_out_leaks):
        raise typer.BadParameter("--on, --onto and --leave-out-leaks cannot be combined with --rollback or --history")
    if model and Path.cwd().is_relative_to(model.resolve()):
        raise typer.BadParameter(
            f"--model {model}: this folder will be replaced, so it cannot be the working directory"
        )
    from mechtag.workflows.retrain import Retraining

    opened = open_project(project)
    retraining = Retraining(opened, model, out_of_fold, reporter=Terminal())
    if history:
        lines = retraining.history()
    elif rollback:
        lines = retraining.roll_back()
    else:
        lines = retraining.add(
            codings or (), records or (), change_log_on=on, leave_out_leaks=leave_out_leaks, onto=onto
        )
    for line in lines:
        typer.echo(line)
