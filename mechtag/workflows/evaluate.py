"""Measure the agreement of coders, and write the report, the methods section and the model card."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mechtag.core.files import read_json, write_json, write_text
from mechtag.core.outputs import check_outputs
from mechtag.project import Project

if TYPE_CHECKING:
    from mechtag.evaluation.results import Agreement, Results
    from mechtag.pipeline.annotations.coded_records import Basis


def compare_coders(
    project: Project,
    codings: Sequence[Path],
    predictions: Path | None = None,
    records: Path | None = None,
    output: Path | None = None,
    basis: Basis | None = None,
) -> Agreement:
    """Compute the agreement of coders with each other and with a model.

    Parameters
    ----------
    codings
        Tables of codings by people or language models.
    predictions
        Table of predictions of the model, which counts as one more coder; by default, only the coders are compared.
    records
        Table of records, used to look up record ids; by default, ``records.parquet`` next to the predictions.
    output
        JSON file to write the result to; by default, nothing is written.
    basis
        Text of the codings that are compared; by default, all codings are compared.
    """
    from mechtag.evaluation.evaluate import agreement_of_files

    if output is not None:
        beside = predictions and predictions.with_name("records.parquet")
        check_outputs([output], (*codings, predictions, records, beside))
    found = agreement_of_files(codings, project.codebook.all_keys, project.settings, predictions, records, basis)
    if output is not None:
        write_json(output, found.content())
    return found


def report(
    project: Project,
    metrics: Path,
    outputs: Sequence[Path] = (),
    *,
    model: Path | None = None,
    summary: Path | None = None,
    mlflow_run: Path | None = None,
) -> Results:
    """Write the accuracy table or the HTML report.

    Parameters
    ----------
    metrics
        Metrics file written by `evaluate`. The HTML report also includes the tables, plot points and ``methods.md``
        next to the metrics file. The report states which of these files are missing.
    outputs
        Files to which the report is written. If a name ends in ``.md``, the accuracy table is written. Otherwise, the
        HTML report is written.
    model
        Model folder; by default, the folder of the project's model.
    summary
        ``summary.json`` of a tagged literature search; by default, of the search named ``update``.
    mlflow_run
        ``mlflow_run.json`` of the model.

    Returns
    -------
    Results
        Content of the metrics file.

    Raises
    ------
    MechtagError
        If a file cannot be read, or if an output would overwrite a file that is read.
    """
    from mechtag.evaluation.report.accuracy_table import accuracy_markdown
    from mechtag.evaluation.report.html import Sources, write_report
    from mechtag.evaluation.results import Results

    folder = metrics.parent
    sources = Sources(
        folder / f"predictions_vs_{Path(project.settings.evaluate.gold).stem}.csv",
        folder / "plots",
        folder / "methods.md",
        model or project.model,
        summary or project.work / "update/tagged/summary.json",
        mlflow_run,
    )
    check_outputs(outputs, (*sources.files(metrics), metrics, mlflow_run))
    results = Results.read(metrics)
    for output in outputs:
        if output.suffix.lower() == ".md":
            write_text(output, accuracy_markdown(results, project.codebook.names))
            continue
        write_report(output, metrics, sources, codebook=project.codebook.model_dump(mode="json"))
    return results


def write_texts(metrics: Path, model: Path, output: Path, tagged: Path | None = None) -> None:
    """Write draft methods and results sections to ``output``, and the model card to the model folder.

    Parameters
    ----------
    tagged
        ``summary.json`` that tagging wrote for the literature search.
    """
    from mechtag.evaluation.report.paper import paper_texts
    from mechtag.evaluation.results import Results

    card = model / "README.md"
    check_outputs((output, card), (metrics, tagged, *(path for path in model.glob("*") if path.name != card.name)))
    results, config = Results.read(metrics), read_json(model / "config.json")
    texts = paper_texts(results, config, read_json(tagged) if tagged else None)
    write_text(output, texts["methods"])
    write_text(card, texts["model_card"])
