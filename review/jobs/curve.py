"""Compute the learning curve: the accuracy of models that are trained on subsets of the codes of this review."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mechtag.core.errors import MechtagError
from mechtag.review.codings import independent_codings
from mechtag.review.jobs.draws import draw
from mechtag.review.jobs.learning import FACT
from mechtag.review.jobs.progress import Progress
from mechtag.review.workspace import Workspace, read_fact
from mechtag.workflows.learn import judged_by

KIND = "curve"


def run(workspace: Workspace, arguments: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Train models on subsets of the codes that the last training used, and measure the accuracy of each model.

    Each model is evaluated on papers that it was not trained on. Predictions are compared only with codes that no
    suggestion can have influenced.

    Returns
    -------
    dict
        - ``papers``: number of papers used for evaluation
        - ``rows``: rows of `mechtag.evaluation.output_tables.learning_rows`, one per size of the subset

    Raises
    ------
    MechtagError
        If the model has not been trained on the codes of this review, or if no paper can be used for evaluation.
    """
    from mechtag.evaluation.coded_records import CodedSet, learning_section
    from mechtag.evaluation.output_tables import learning_rows
    from mechtag.evaluation.results import LearningStep
    from mechtag.pipeline.annotations.coding_table import read_annotations
    from mechtag.training.learning_curve import SHARES, learning_curve

    settings, codebook = workspace.project.settings, workspace.codebook
    with workspace.store.read() as connection:
        if read_fact(connection, FACT) is None:
            raise MechtagError(
                "the model has not been trained on the codes of this review yet; train it on the Learn page first"
            )
        independent = independent_codings(connection)
    progress.start(len(SHARES), "Training on subsets of the codes")
    made = learning_curve(settings, codebook, progress.advance)
    coded = read_annotations(settings, codebook.keys, codebook.relevance.key)
    judged = judged_by(independent, coded, codebook)
    if not judged:
        raise MechtagError(
            "the model cannot be evaluated, because no papers were coded without suggestions; code some papers "
            "without suggestions"
        )
    progress.start(1, "Evaluating the models")
    draws = draw(workspace, len(judged))
    section = learning_section(CodedSet(judged, (), (), learning=made), codebook.keys, draws)
    steps = [LearningStep.model_validate(step) for step in section.values()]
    header, rows = learning_rows(steps)
    cells = [["" if cell is None else str(cell) for cell in row] for row in rows]
    return {"papers": len(judged), "rows": [dict(zip(header, row, strict=True)) for row in cells]}
