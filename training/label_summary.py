"""Count the codes of each label, and check whether training improved the ranking of unseen records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from mechtag.core.arrays import Array, Mask
from mechtag.core.codebook import Codebook
from mechtag.core.errors import MechtagError
from mechtag.core.words import counted
from mechtag.training.dataset import NO_DOCUMENT, Corpus

# Differences that noise alone causes more often than this are not taken for differences.
_LEVEL = 0.05


@dataclass(frozen=True)
class LabelSummary:
    """Counts of a label's codes, and metrics of how well the label's out-of-fold scores rank the records.

    Attributes
    ----------
    records
        Number of records on which the label could be judged. For relevance, these are all records. For every other
        label, these are the relevant records.
    auc
        ROC AUC of the out-of-fold scores. ``None`` if no record is coded yes, or if no record is coded no.
    chance_p
        One-sided p-value of the test whether ``auc`` is above chance (Mann and Whitney 1947). ``None`` if ``auc`` is
        ``None``.
    definition_auc
        ROC AUC if the same records are ranked by their similarity to the label's definition. ``None`` if ``auc`` is
        ``None``, and always ``None`` for relevance.
    definition_p
        One-sided p-value of the test whether ``auc`` is above ``definition_auc``, paired by record (DeLong et al. 1988,
        doi:10.2307/2531595). ``None`` if ``definition_auc`` is ``None``.
    """

    key: str
    records: int
    yes: int
    no: int
    not_judged: int
    auc: float | None = None
    chance_p: float | None = None
    definition_auc: float | None = None
    definition_p: float | None = None

    def row(self) -> tuple[str, ...]:
        """Return the summary as the cells of a table row; `HEADER` contains the column names."""
        auc = "-" if self.auc is None else f"{self.auc:.2f}"
        return self.key, *map(str, (self.records, self.yes, self.no, self.not_judged)), auc

    def warnings(self) -> list[str]:
        """Return the reasons to doubt that training improved the ranking of records by the label."""
        if self.yes and not self.no:
            return [f"{self.key}: no record is coded no, so the model's ranking of records could not be measured"]
        found = []
        if self.chance_p is not None and self.chance_p > _LEVEL:
            found.append(
                f"{self.key}: on records that the model had not seen, the model's ranking is not demonstrably better "
                f"than chance (ROC AUC {self.auc:.2f}; chance is 0.50; p = {self.chance_p:.2f})"
            )
        if self.definition_p is not None and self.definition_p > _LEVEL:
            found.append(
                f"{self.key}: on records that the model had not seen, the model's ranking is not demonstrably better "
                "than a ranking by similarity to the definition alone (ROC AUC of the model "
                f"{self.auc:.2f}, of the definition {self.definition_auc:.2f}; p = {self.definition_p:.2f})"
            )
        return found


HEADER = ("label", "records", "yes", "no", "not judged", "out-of-fold ROC AUC")


def label_table(summaries: Sequence[LabelSummary]) -> list[str]:
    """Return the lines of a text table of the labels, with aligned columns and an explanation of the columns."""
    rows = [HEADER, *(summary.row() for summary in summaries)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADER))]
    return [
        "The table counts the codes that the model was trained on; for a label, only the codes of relevant records "
        "count. The ROC AUC is measured with models that had not seen the records: 0.50 is chance, 1.00 is perfect, "
        "and - means that it could not be measured.",
        *(
            "  ".join(
                [row[0].ljust(widths[0]), *(cell.rjust(widths[place]) for place, cell in enumerate(row) if place)]
            )
            for row in rows
        ),
    ]


# A label coded yes in fewer records may lack a no by chance, and is then scored by its definition.
_MANY = 5


def refuse_without_negatives(corpus: Corpus, codebook: Codebook) -> None:
    """Raise `MechtagError` if it seems that coders recorded only ticks.

    The error is raised in two cases:

    - No record or sentence is coded no for any label, but some are coded yes.
    - For some label, five or more records are coded yes, and no record or sentence is coded no.
    """
    units = corpus.unit_targets[corpus.document != NO_DOCUMENT]
    codes = np.concatenate([corpus.document_targets, units])[:, 1:]
    never_no = (codes == 1).any(axis=0) & ~(codes == 0).any(axis=0)
    records = (corpus.document_targets[:, 1:] == 1).sum(axis=0)
    if (never_no & (records >= _MANY)).any() or (never_no.any() and not (codes == 0).any()):
        found = [
            f"{key} ({counted(int(count), 'record')})"
            for key, count, concerned in zip(codebook.keys, records, never_no, strict=True)
            if concerned
        ]
        raise MechtagError(
            f"{len(found)} of {len(codebook.keys)} labels are coded yes, but never no: {', '.join(found)}. A model "
            "needs examples of both. If the coders went through all labels, import their codes again with "
            "'mechtag codings --unticked no'. Otherwise, code each of these labels no (0) in some relevant records "
            "without the label"
        )


def summarise_labels(corpus: Corpus, scores: Array, codebook: Codebook) -> list[LabelSummary]:
    """Count the codes of relevance and of each label, and measure how well the scores rank the records.

    The summaries are in the order of ``codebook.all_keys``. The ranking by a label is measured only if the label has
    both codes, ``yes`` and ``no``.

    Parameters
    ----------
    scores : ndarray, shape (n_documents, 1 + n_labels)
        Out-of-fold scores of the records. The first column is relevance.
    """
    by_definitions = corpus.features @ corpus.definitions.label_weights().T
    nothing = np.zeros(corpus.n_documents)
    definitions = corpus.score_documents(nothing, np.pad(by_definitions, ((0, 0), (1, 0))))[:, 1:]
    relevant = corpus.document_targets[:, 0] == 1
    summaries = []
    for column, key in enumerate(codebook.all_keys):
        rows = relevant if column else np.ones(len(relevant), dtype=bool)
        codes = corpus.document_targets[rows, column]
        yes, no = int((codes == 1).sum()), int((codes == 0).sum())
        counts = (key, len(codes), yes, no, len(codes) - yes - no)
        if not yes or not no:
            summaries.append(LabelSummary(*counts))
            continue
        found, judged = scores[rows, column], ~np.isnan(codes)
        auc = _Ranking(found[judged], codes[judged] == 1)
        if not column:
            summaries.append(LabelSummary(*counts, auc.value, auc.chance_p()))
            continue
        definition = _Ranking(definitions[rows, column - 1][judged], codes[judged] == 1)
        summaries.append(
            LabelSummary(*counts, auc.value, auc.chance_p(), definition.value, auc.better_than(definition))
        )
    return summaries


class _Ranking:
    """Measures whether the scores of records with a label are higher than the scores of records without the label."""

    def __init__(self, score: Array, carried: Mask) -> None:
        self._with, self._without = score[carried], score[~carried]
        won = (self._with[:, None] > self._without) + (self._with[:, None] == self._without) / 2
        self.value = float(won.mean())
        # Placement of each record among those of the other kind.
        self._places = won.mean(axis=1), won.mean(axis=0)

    def chance_p(self) -> float:
        return float(stats.mannwhitneyu(self._with, self._without, alternative="greater").pvalue)

    def better_than(self, other: _Ranking) -> float:
        """Return the p-value of a one-sided test of whether this ranking has a higher AUC than the ranking ``other``.

        The test is paired by record. If the two rankings do not differ, the p-value is 0.5. It is never below 0.5 if
        only one record has the label, or only one record does not have it: the variance is then unknown.
        """
        differences = [one - two for one, two in zip(self._places, other._places, strict=True)]
        gain = self.value - other.value
        if min(map(len, differences)) < 2:
            return 0.5 if gain >= 0 else 1.0
        variance = sum(float(each.var(ddof=1)) / len(each) for each in differences)
        if variance == 0:
            return 0.0 if gain > 0 else 0.5 if gain == 0 else 1.0
        return float(stats.norm.sf(gain / np.sqrt(variance)))
