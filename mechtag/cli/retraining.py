"""Command that retrains the model on new annotations."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mechtag.cli.options import ProjectFolder, Terminal, open_project, show


def retrain(
    codings: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[CODINGS...]",
            help="Tables of new codings (CSV). Omit them if only the codebook has changed.",
        ),
    ] = None,
    records: Annotated[
        list[Path] | None,
        typer.Option("--records", help="Records that the codings are about, as parquet tables or search exports."),
    ] = None,
    on: Annotated[
        Path | None,
        typer.Option(
            "--on",
            help="Records to tag with the old and the new model, so that changed tags can be listed. Default: the "
            "sources in the settings.",
        ),
    ] = None,
    leave_out_leaks: Annotated[
        bool,
        typer.Option(
            "--leave-out-leaks",
            help="Set aside records that may be papers used to measure accuracy, instead of stopping with an error.",
        ),
    ] = False,
    onto: Annotated[
        str | None,
        typer.Option(
            "--onto",
            help="Version of the annotations to which the codings are added, or 'none' to leave out codings "
            "that were added earlier. Default: the version of the last retraining or rollback.",
        ),
    ] = None,
    rollback: Annotated[bool, typer.Option("--rollback", help="Restore the model that was in use before.")] = False,
    history: Annotated[
        bool,
        typer.Option(
            "--history", help="List all versions of the annotations, and all past decisions about which model to use."
        ),
    ] = False,
    model: Annotated[
        Path | None,
        typer.Option(
            "--model", help="Folder of the model in use. Default: the model folder of the project.", show_default=False
        ),
    ] = None,
    out_of_fold: Annotated[
        Path | None,
        typer.Option(
            "--out-of-fold",
            help="Folder of the out-of-fold predictions of the model in use. Default: data/work/train in the project.",
            show_default=False,
        ),
    ] = None,
    project: ProjectFolder = None,
) -> None:
    """Train a model on more annotations, and use it only if it is not worse than the model in use.

    The codings are stored as a new version of the annotations, and a new model (the challenger) is trained on this
    version. The two models are compared on papers that neither model was trained on. The challenger replaces the model
    in use if the rule in the settings allows it. Papers used to measure accuracy are refused. The folder
    `reports/retrain/` contains the decision, and a list of the tags that change, with the reasons. See
    docs/retraining.md.

    Example: `mechtag retrain codings.csv --records unique.parquet`

    Example: `mechtag retrain --rollback`
    """
    if sum((bool(codings), rollback, history)) > 1:
        raise typer.BadParameter("CODINGS, --rollback and --history cannot be combined; pass only one of them")
    if records and not codings:
        raise typer.BadParameter("--records was passed without CODINGS; also pass the codings of these records")
    if (rollback or history) and (on or onto or leave_out_leaks):
        raise typer.BadParameter(
            "--on, --onto and --leave-out-leaks cannot be combined with --rollback or --history; omit --on, --onto "
            "and --leave-out-leaks"
        )
    if model and Path.cwd().is_relative_to(model.resolve()):
        raise typer.BadParameter(
            f"--model {model}: retraining replaces this folder, so it cannot be the working directory; change to a "
            "different folder"
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
        show(line)
