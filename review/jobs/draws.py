"""Draw the resamples from which the confidence intervals of all figures of a review are computed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mechtag.review.workspace import Workspace

if TYPE_CHECKING:
    from mechtag.evaluation.resampling import Draws


def draw(workspace: Workspace, papers: int, permutations: int = 0) -> Draws:
    """Draw bootstrap resamples of the papers.

    The settings of the project contain the seed and the number of resamples.

    Parameters
    ----------
    papers
        Number of papers.
    permutations
        Number of random permutations of the papers to draw for permutation tests.
    """
    import numpy as np

    from mechtag.evaluation.resampling import draw_resamples

    settings = workspace.project.settings
    return draw_resamples(papers, settings.evaluate.bootstrap, permutations, np.random.default_rng(settings.seed))
