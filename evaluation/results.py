"""Define the content of ``metrics.json`` as pydantic models, and the display names of metrics.

A block is a JSON object in the file. Each metric is a field of a block. The display names of the metric (`Words`) are
part of the type of the field. Fields that are not set are not written; for example, agreement metrics have no
``p_value``.

In every block, ``undefined`` states why metrics have no value. ``dropped_resamples`` states how many resamples were
excluded from each interval. Both are dicts keyed by the name of the metric.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, ValidationError

from mechtag.core.errors import MechtagError
from mechtag.core.files import read_json, write_json
from mechtag.core.records import Basis
from mechtag.core.words import counted
from mechtag.pipeline.llm.run import LlmRun, LlmRuns

#: Name of each kind of text in reports, in the singular and plural.
KINDS = {
    "synopses": ("synopsis of an abstract in other words", "synopses of abstracts in other words"),
    "invented": ("invented abstract", "invented abstracts"),
    "published": ("published abstract", "published abstracts"),
    "unknown": ("text of unknown kind", "texts of unknown kind"),
}
#: The protocols, by the name of their field in `Results`: trained without gold papers, or on all other gold papers.
PROTOCOLS = ("transfer", "leave_one_out")
#: Metrics for which a lower value is better.
LOWER_IS_BETTER = frozenset(("hamming_loss", "referred"))
#: Why figures of language models on published papers may be too high.
CONTAMINATION = (
    "A language model may have seen published papers, and codes published with them, in its training. Figures on such "
    "papers are upper bounds; texts that were never published lessen the problem."
)
#: How language models enter figures of agreement.
LLMS_COUNT = (
    "Language models count as coders of the same records, but are not people. What they answered with unclear is not "
    f"in these figures. {CONTAMINATION}"
)
#: Minimum number of papers with an abstract and a full text from which one is called better than the other.
FEWEST_PAIRED = 20


@dataclass(frozen=True)
class Words:
    """Display names of a metric.

    Attributes
    ----------
    column
        Column heading for the metric.
    narrow
        Name for narrow tables; by default the same as ``column``.
    full
        Name for places with more room; by default the same as ``column``.
    """

    column: str
    narrow: str = ""
    full: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "narrow", self.narrow or self.column)
        object.__setattr__(self, "full", self.full or self.column)


def describe_texts(texts: Mapping[str, int]) -> str:
    """Return a note if metrics are based on synopses or invented texts, otherwise ``""``.

    Parameters
    ----------
    texts
        Number of records of each kind of text. The kinds are ``synopses``, ``invented``, ``published`` and ``unknown``.
    """
    if not texts.get("synopses") and not texts.get("invented"):
        return ""
    parts = [f"{texts[kind]} {KINDS[kind][texts[kind] != 1]}" for kind in KINDS if texts.get(kind)]
    listed = " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
    if texts.get("published") or texts.get("unknown"):
        return f"The texts are {listed}. On published abstracts alone the results may differ."
    return f"The texts are {listed}. None is a published abstract; on published abstracts the results may be worse."


def interval_decimals(figure: Figure, decimals: int = 2, factor: int = 1) -> int:
    """Return how many decimal places are needed to print the two ends of an interval as different numbers.

    Parameters
    ----------
    decimals
        Minimum number of decimal places.
    factor
        Factor by which the ends are multiplied; 100 for percentages.
    """
    if figure.ci_low is None or figure.ci_high is None:
        return decimals
    low, high = figure.ci_low * factor, figure.ci_high * factor
    return next((each for each in range(decimals, 6) if f"{low:.{each}f}" != f"{high:.{each}f}"), decimals)


class Block(BaseModel):
    """Base class of the blocks of the metrics file ``metrics.json``."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    @classmethod
    def words(cls) -> dict[str, Words]:
        """Return the display names of the metrics in this block, keyed by metric."""
        return {
            name: words
            for name, field in cls.model_fields.items()
            for words in field.metadata
            if isinstance(words, Words)
        }

    def figure(self, name: str) -> Figure:
        """Return the metric in the field ``name``."""
        found = getattr(self, name)
        if not isinstance(found, Figure):
            raise TypeError(
                f"{type(self).__name__}.figure: the field {name!r} is not a metric; name a field of type Figure"
            )
        return found

    def content(self) -> dict[str, Any]:
        """Convert this block to JSON objects, as in the metrics file."""
        return self.model_dump(mode="json", exclude_unset=True)


class Figure(Block):
    """Value of a metric with its 95% interval and its p-value.

    ``p_value`` is ``None`` if there was no permutation test.
    """

    value: float | None
    ci_low: float | None
    ci_high: float | None
    p_value: float | None = None


# Metrics of the decisions and scores of a system, over all labels or for one label.
_Across: TypeAlias = Annotated[Figure, Words("across papers", "across", "across papers (chance is 0.5)")]
_Within: TypeAlias = Annotated[Figure, Words("within a paper", "within", "within a paper (chance is 0.5)")]
_MacroF1: TypeAlias = Annotated[Figure, Words("macro F1", full="F1, mean over labels")]
_MicroF1: TypeAlias = Annotated[Figure, Words("micro F1")]
_MacroPrecision: TypeAlias = Annotated[Figure, Words("average precision", full="average precision, mean over labels")]
_Precision: TypeAlias = Annotated[Figure, Words("precision")]
_Recall: TypeAlias = Annotated[Figure, Words("recall")]
_F1: TypeAlias = Annotated[Figure, Words("F1")]
_Specificity: TypeAlias = Annotated[Figure, Words("specificity")]
_Kappa: TypeAlias = Annotated[Figure, Words("kappa", full="Cohen's kappa")]
_Alpha: TypeAlias = Annotated[Figure, Words("alpha", full="Krippendorff's alpha")]
_Mcc: TypeAlias = Annotated[Figure, Words("MCC", full="Matthews correlation")]
_RocAuc: TypeAlias = Annotated[Figure, Words("ROC AUC")]
_AveragePrecision: TypeAlias = Annotated[Figure, Words("average precision")]
_Brier: TypeAlias = Annotated[Figure, Words("Brier", full="Brier score")]
_SubsetAccuracy: TypeAlias = Annotated[Figure, Words("all labels right", full="papers with all labels right")]
_HammingLoss: TypeAlias = Annotated[Figure, Words("labels wrong", full="decisions that are wrong")]
_Referred: TypeAlias = Annotated[Figure, Words("left to people")]
_YesRight: TypeAlias = Annotated[Figure, Words("yes is right", full="proportion of yes that people agree with")]
_NoRight: TypeAlias = Annotated[Figure, Words("no is right", full="proportion of no that people agree with")]
# Metrics of relevance on a set of records.
_RocAucHard: TypeAlias = Annotated[Figure, Words("against hard ones", "hard ones only")]
_RocAucEasy: TypeAlias = Annotated[Figure, Words("against easy ones", "easy ones only")]
_Kept: TypeAlias = Annotated[Figure, Words("relevant ones kept", "kept")]
_Lost: TypeAlias = Annotated[Figure, Words("relevant ones lost", "lost")]
_HardYes: TypeAlias = Annotated[Figure, Words("hard ones called relevant", "hard, yes")]
_EasyYes: TypeAlias = Annotated[Figure, Words("easy ones called relevant", "easy, yes")]
# Metrics of labels and sentences on the relevant records of a set.
_YesFound: TypeAlias = Annotated[Figure, Words("found by a yes")]
_Found: TypeAlias = Annotated[Figure, Words("found, or left to people", "found")]
_TopSentence: TypeAlias = Annotated[Figure, Words("first sentence is right", "top sentence")]
_Chance: TypeAlias = Annotated[Figure, Words("chance")]
# Metrics of agreement between coders.
_Agree: TypeAlias = Annotated[Figure, Words("proportion of agreement", "agree")]
_CohenKappa: TypeAlias = Annotated[Figure, Words("Cohen’s kappa", "kappa")]
_FleissKappa: TypeAlias = Annotated[Figure, Words("Fleiss’ kappa", "Fleiss' kappa")]
_Pabak: TypeAlias = Annotated[Figure, Words("PABAK")]
_Ac1: TypeAlias = Annotated[Figure, Words("Gwet’s AC1", "AC1")]
_KrippendorffAlpha: TypeAlias = Annotated[Figure, Words("Krippendorff’s alpha", "alpha")]
# Metrics of invariance.
_Changed: TypeAlias = Annotated[Figure, Words("proportion changed", "changed")]
_MeanChange: TypeAlias = Annotated[Figure, Words("mean change of probability")]


class Coverage(Block):
    """Number of gold standard papers with each kind of text."""

    abstract: int
    synopsis: int
    title_only: int
    none: int

    def describe(self) -> str:
        """Return a sentence on the papers whose text is a synopsis; ``""`` if no text is a synopsis."""
        if not self.synopsis:
            return ""
        papers = self.abstract + self.synopsis + self.title_only
        return (
            f"For {self.synopsis} of the {papers} papers that were read, the text is a reworded synopsis, "
            "not the published abstract; on the published abstracts the results may differ."
        )


class Pooled(Block):
    """Metrics over all labels."""

    across_auc: _Across
    within_auc: _Within
    macro_f1: _MacroF1
    micro_f1: _MicroF1
    macro_average_precision: _MacroPrecision
    kappa: _Kappa
    alpha: _Alpha
    subset_accuracy: _SubsetAccuracy
    hamming_loss: _HammingLoss
    referred: _Referred
    yes_right: _YesRight
    no_right: _NoRight


class Confusion(Block):
    """Numbers of true positives, false positives, false negatives and true negatives for a label."""

    tp: int
    fp: int
    fn: int
    tn: int


class LabelFigures(Block):
    """Counts and metrics of a label; if metrics are missing, ``note`` states the reason."""

    papers: int
    support: int
    prevalence: float | None
    confusion: Confusion
    referred: int
    precision: _Precision
    recall: _Recall
    f1: _F1
    specificity: _Specificity
    kappa: _Kappa
    mcc: _Mcc
    roc_auc: _RocAuc
    average_precision: _AveragePrecision
    brier: _Brier
    note: str | None = None
    undefined: dict[str, str] = {}
    dropped_resamples: dict[str, int] = {}


class BaselineLabelFigures(Block):
    """Metrics of a naive method for one label."""

    f1: _F1
    roc_auc: _RocAuc


class CoverageRisk(Block):
    """A point of the coverage-risk curve, which shows how often the most confident decisions are wrong.

    A decision is yes or no for one label of one paper. A decision that needs review counts as yes if its probability
    reaches the threshold, otherwise as no. Only decisions on labels that people coded are included.

    The decisions are sorted by confidence, the most confident first. A point describes the first decisions in this
    order; their number is ``judgements``.

    Attributes
    ----------
    coverage
        Proportion of all decisions that the point describes.
    risk
        Proportion of the described decisions that are wrong.
    judgements
        Number of decisions that the point describes.
    """

    coverage: float
    risk: float
    judgements: int


class BaselineFigures(Block):
    """Metrics of a naive method, with which the model is compared."""

    papers: int
    pooled: Pooled
    undefined: dict[str, str] = {}
    dropped_resamples: dict[str, int] = {}
    labels: dict[str, BaselineLabelFigures]


class SystemFigures(Block):
    """Metrics of the model on the gold papers or on the coded records."""

    papers: int
    pooled: Pooled
    undefined: dict[str, str] = {}
    dropped_resamples: dict[str, int] = {}
    labels: dict[str, LabelFigures]
    coverage_risk: tuple[CoverageRisk, ...] = ()
    model_id: str | None = None


class LlmFigures(SystemFigures):
    """Metrics of a language model as a coder of the gold papers.

    Attributes
    ----------
    unanswered
        Number of combinations of a paper and a label that the model did not answer.
    runs
        Description of the run of the model. For a vote, it describes the runs of all voters.
    """

    name: str
    basis: Basis
    unanswered: int
    runs: LlmRuns | None = None


def new_runs(llms: Sequence[LlmFigures]) -> list[list[LlmRun]]:
    """Return, for each element of ``llms``, a list of its runs that no earlier element contains.

    Several elements can contain the same run, because a vote contains the runs of all its voters.
    """
    known: list[LlmRun] = []
    found = []
    for own in llms:
        new = [run for run in (own.runs.runs if own.runs else ()) if run not in known]
        known += new
        found.append(new)
    return found


class SentenceFigures(Block):
    """Metrics of the ranking of sentences, computed over all labels."""

    macro_average_precision: _MacroPrecision
    across_auc: _Across


class SentenceLabel(Block):
    """Counts and metrics of one label, computed on sentences.

    If metrics are missing, ``note`` states the reason.
    """

    support: int
    prevalence: float | None
    average_precision: _AveragePrecision | None = None
    roc_auc: _RocAuc | None = None
    undefined: dict[str, str] = {}
    dropped_resamples: dict[str, int] = {}
    note: str | None = None


class Sentences(Block):
    """How well the sentences of the coded records are ranked, over all labels and for each label."""

    sentences: int
    pooled: SentenceFigures
    undefined: dict[str, str] = {}
    dropped_resamples: dict[str, int] = {}
    labels: dict[str, SentenceLabel]


class EvidenceFigures(Block):
    """Metrics of evidence: how well the sentences of a paper are ranked for each label that the paper has."""

    papers_and_labels: int
    precision_at_1: _TopSentence
    average_precision: _AveragePrecision
    chance: _Chance
    undefined: dict[str, str] = {}
    dropped_resamples: dict[str, int] = {}


class Decisions(Block):
    """Numbers of records with each decision on relevance."""

    yes: int
    refer: int
    no: int


class SetDecisions(Block):
    """Numbers of decisions on relevance in a set of records.

    ``hard`` contains the decisions for irrelevant records that are marked as hard to distinguish from relevant records.
    """

    relevant: Decisions
    irrelevant: Decisions
    hard: Decisions


class SetRelevance(Block):
    """Metrics of relevance in a set of coded records, and numbers of decisions."""

    roc_auc: _RocAuc
    roc_auc_hard: _RocAucHard
    roc_auc_easy: _RocAucEasy
    kept: _Kept
    lost: _Lost
    yes_right: _YesRight
    hard_yes: _HardYes
    easy_yes: _EasyYes
    undefined: dict[str, str] = {}
    dropped_resamples: dict[str, int] = {}
    decisions: SetDecisions


class SetMechanisms(Block):
    """Metrics of the labels in one set of coded records, computed over the relevant papers of the set."""

    papers: int
    across_auc: _Across
    within_auc: _Within
    kappa: _Kappa
    yes_right: _YesRight
    yes_found: _YesFound
    kept: _Found
    undefined: dict[str, str] = {}
    dropped_resamples: dict[str, int] = {}


class SetDocuments(Block):
    """Metrics of the labels in one set of coded records, computed over all papers of the set."""

    prevalence: float | None
    macro_average_precision: _MacroPrecision
    across_auc: _Across
    within_auc: _Within
    undefined: dict[str, str] = {}
    dropped_resamples: dict[str, int] = {}


class SetSentences(Block):
    """Number of coded sentences in a set of records, and metrics of the ranking of these sentences over all labels."""

    sentences: int
    prevalence: float | None
    macro_average_precision: _MacroPrecision
    across_auc: _Across
    undefined: dict[str, str] = {}
    dropped_resamples: dict[str, int] = {}


class PairAgreement(Block):
    """Agreement of two coders; if metrics are missing, ``note`` states the reason."""

    n: int
    both_yes: int
    only_a: int
    only_b: int
    both_no: int
    agreement: _Agree
    cohen_kappa: _CohenKappa
    pabak: _Pabak
    gwet_ac1: _Ac1
    krippendorff_alpha: _KrippendorffAlpha
    undefined: dict[str, str] = {}
    dropped_resamples: dict[str, int] = {}
    note: str | None = None


class SecondCoder(Block):
    """Agreement of two coders who coded the same records of a set."""

    records: int
    relevance: PairAgreement
    papers: PairAgreement
    sentences: PairAgreement | None = None


class RecordSet(Block):
    """Metrics of one set of coded records."""

    title: str
    texts: str
    records: int
    relevant: int
    hard: int | None
    relevance: SetRelevance
    mechanisms: SetMechanisms
    documents: SetDocuments
    sentences: SetSentences | None = None
    evidence: EvidenceFigures | None = None
    second_coder: SecondCoder | None = None


class CodedRecords(Block):
    """Out-of-fold metrics of all coded records together and of each set of coded records."""

    records: int
    relevant: int
    coders: tuple[str, ...]
    bases: tuple[str, ...]
    documents: SystemFigures
    sentences: Sentences | None = None
    evidence: EvidenceFigures | None = None
    texts: dict[str, int]
    sets: dict[str, RecordSet]


class LearningStep(Block):
    """Metrics of a model that was trained on a given number of papers."""

    papers: int
    across_auc: _Across
    within_auc: _Within
    macro_f1: _MacroF1
    macro_average_precision: _MacroPrecision
    undefined: dict[str, str] = {}
    dropped_resamples: dict[str, int] = {}


class GoldRelevance(Block):
    """Decisions on the relevant gold papers, and the ranks of these papers; see `coded_records.gold_relevance`."""

    included: int
    papers: int
    kept: int
    yes: int
    refer: int
    no: int
    irrelevant_records: int
    median_rank: float
    ranks: dict[str, int]


class Relevance(Block):
    """Metrics of relevance on the coded records, and decisions on relevance for the gold papers.

    ``baselines`` contains the metrics of naive methods, keyed by the name of the method.
    """

    coded_records: LabelFigures
    baselines: dict[str, LabelFigures]
    gold: GoldRelevance | None = None


class Coder(Block):
    """A coder: a person (``human``), a language model (``llm``) or the trained model (``model``)."""

    name: str
    kind: Literal["human", "llm", "model"]


class CoderPair(Block):
    """Agreement of two coders, over all labels and for each label."""

    a: str
    b: str
    kind: Literal["human-human", "human-llm", "human-model", "llm-llm", "llm-model"]
    unit: Literal["records", "sentences"]
    labels: dict[str, PairAgreement]
    pooled: PairAgreement


class CoderGroupLabel(Block):
    """Agreement of several coders on a label; if metrics are missing, ``note`` states the reason."""

    n: int
    fleiss_kappa: _FleissKappa
    gwet_ac1: _Ac1
    krippendorff_alpha: _KrippendorffAlpha
    undefined: dict[str, str] = {}
    dropped_resamples: dict[str, int] = {}
    note: str | None = None


class CoderGroup(Block):
    """Agreement of several coders, for each label and over all labels except relevance."""

    fleiss_kappa: _FleissKappa
    gwet_ac1: _Ac1
    krippendorff_alpha: _KrippendorffAlpha
    undefined: dict[str, str] = {}
    dropped_resamples: dict[str, int] = {}
    labels: dict[str, CoderGroupLabel]


class OpenCode(Block):
    """A code that people should check, because coders disagree on the code or the model doubts it."""

    record_id: str
    key: str | None
    label: str
    reason: str
    score: float
    codes: dict[str, int]
    probability: float | None


class Agreement(Block):
    """Agreement of coders with one another, and the codes that people should resolve first.

    The coders are people, language models and the trained model. ``llms`` contains sentences that describe the runs of
    the language models.
    """

    records: int
    coders: tuple[Coder, ...]
    pairs: tuple[CoderPair, ...]
    all: dict[Literal["humans", "with_llms", "with_model"], CoderGroup]
    texts: dict[str, int] = {}
    adjudicate: tuple[OpenCode, ...]
    gold: tuple[OpenCode, ...] = ()
    llms: tuple[str, ...] = ()


class FullTextPaper(Block):
    """A paper of the gold standard whose full text was tagged.

    Attributes
    ----------
    word_count
        Number of words outside references, back matter, tables and captions.
    windows
        Number of windows (groups of sentences) that were scored, including the window of the abstract.
    query_words
        Number of occurrences of the word or phrase ``evaluate.baseline_query`` per 1,000 words; ``None`` if this
        setting is empty.
    warnings
        Warnings from reading the file.
    notes
        Notes from tagging the full text.
    """

    file: str
    pages: int
    word_count: int
    windows: int
    query_words: float | None = None
    has_abstract: bool
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def remarks(self) -> list[str]:
        """Return ``warnings`` and ``notes`` as one list of sentences."""
        return [*self.warnings, *(f"{note[:1].upper()}{note[1:]}." for note in self.notes)]


class Years(Block):
    """First, median and last year of publication in a group of papers; papers without a year are left out."""

    first: int
    median: float
    last: int


class FullTextCoverage(Block):
    """Numbers of gold standard papers with and without a full text, and their years of publication.

    Attributes
    ----------
    papers
        Number of papers in the gold standard.
    full_text
        Number of papers with a full text.
    both
        Number of papers with both a full text and an abstract.
    by_paper
        Data on each paper with a full text. The dict key is the key of the paper in the gold standard.
    without
        Keys of the papers that have a record, but no full text.
    years_with
        Years of the papers with a full text.
    years_without
        Years of the papers in ``without``.
    """

    papers: int
    full_text: int
    both: int
    by_paper: dict[str, FullTextPaper]
    without: tuple[str, ...]
    years_with: Years | None = None
    years_without: Years | None = None

    def describe(self) -> str:
        """Describe how many papers have a full text, and when papers with and without a full text were published."""
        is_one = self.full_text == 1
        found = (
            f"{self.full_text} of the {self.papers} papers of the gold standard {'has' if is_one else 'have'} a full "
            f"text; {self.both} of {'it' if is_one else 'them'} {'has' if self.both == 1 else 'have'} an abstract as "
            "well. Papers whose full text can be had, free or through a library, are not a random sample of all "
            "papers, so figures by full text do not describe the papers without one."
        )
        if self.years_with and self.years_without:
            with_one, others = self.years_with, self.years_without
            found += (
                f" Papers with a full text were published from {with_one.first} to {with_one.last} (median "
                f"{with_one.median:g}), the others from {others.first} to {others.last} (median {others.median:g})."
            )
        return found


class BasisDifference(Block):
    """Two values of a metric, and their difference.

    One value is for predictions based on abstracts, the other for predictions based on full texts. The difference is
    the value for full texts minus the value for abstracts.
    """

    abstract: float | None
    full_text: float | None
    difference: Figure


class PairedBases(Block):
    """Comparison of predictions from full texts with predictions from abstracts, for papers that have both texts."""

    papers: int
    differences: dict[str, BasisDifference]

    def describe(self) -> str:
        """Return sentences that list the metrics in which full texts are better or worse than abstracts.

        If fewer than `FEWEST_PAIRED` papers have both texts, the result says only that there are too few papers.
        """
        counted_papers = (
            f"{self.papers} paper{' has' if self.papers == 1 else 's have'} both an abstract and a full text"
        )
        if self.papers < FEWEST_PAIRED:
            return f"{counted_papers}: too few to say which is better (at least {FEWEST_PAIRED} are needed)."
        words = Pooled.words()
        better, worse = (
            [words[name].column for name in self.differences if self._direction(name) == sign] for sign in (1, -1)
        )
        found = [f"{counted_papers}."]
        if better:
            found.append(f"On these papers, the full text is better than the abstract in: {', '.join(better)}.")
        if worse:
            found.append(f"On these papers, the full text is worse than the abstract in: {', '.join(worse)}.")
        if not better and not worse:
            found.append("No figure shows a difference between the full text and the abstract.")
        found.append("A figure counts as different if the 95% interval of the difference excludes 0.")
        return " ".join(found)

    def _direction(self, name: str) -> int:
        """Return ``1`` if full texts are better in a metric, ``-1`` if abstracts are better, and ``0`` if uncertain."""
        found = self.differences[name].difference
        if found.ci_low is None or found.ci_high is None or found.ci_low <= 0 <= found.ci_high:
            return 0
        return -1 if (found.ci_low > 0) == (name in LOWER_IS_BETTER) else 1


class ByFullText(Block):
    """Metrics of predictions based on full texts, for the papers that have a full text.

    A full text is divided into windows: overlapping groups of sentences, each about as long as an abstract.

    Attributes
    ----------
    full_text
        Metrics of the predictions based on full texts.
    naive
        Metrics of naive methods on the same papers, keyed by the name of the method.
    not_above_windows
        Names of the overall metrics for which the predictions are no better than the naive method ``windows``. This
        method ranks papers by the number of windows of their full text.
    labels_not_above_windows
        Labels for which the ROC AUC of the predictions is not higher than the ROC AUC of the method ``windows``.
    paired
        Comparison with the predictions based on abstracts; ``None`` if no paper has both texts.
    best_available
        Metrics on all papers. The prediction of a paper is based on its full text if there is one, otherwise on its
        abstract or title. These metrics cannot be compared with ``full_text``, because they include papers without a
        full text.
    relevance
        Decisions on relevance for the papers with a full text.
    doubted
        Human codes that the predictions based on full texts confidently contradict.
    """

    coverage: FullTextCoverage
    full_text: SystemFigures
    naive: dict[str, BaselineFigures]
    not_above_windows: tuple[str, ...]
    labels_not_above_windows: tuple[str, ...]
    paired: PairedBases | None
    best_available: SystemFigures
    relevance: GoldRelevance | None = None
    doubted: tuple[OpenCode, ...]

    def describe_windows(self) -> str:
        """Return a sentence that names the metrics for which the tool is not better than the method ``windows``.

        The method ``windows`` ranks papers by the number of windows of their full text; see `ByFullText`.
        """
        if not self.not_above_windows:
            return "In each figure, the tool is better than the number of windows alone."
        words = Pooled.words()
        listed = ", ".join(words[name].column for name in self.not_above_windows)
        return f"The tool is not better than the number of windows alone in: {listed}."

    def describe_best(self) -> str:
        """Return sentences that state the number of papers tagged from a full text, and from other texts."""
        others = len(self.coverage.without)
        return (
            f"Best available text: {self.coverage.full_text} papers by their full text, and the other {others} by "
            "their abstract or title. These are not the papers of the figures by full text alone, so the two cannot be "
            "compared."
        )


class ColumnSum(Block):
    """Check of a column of the gold standard against the publication.

    ``counted`` is the number of ticks in the column. ``printed`` is the number of ticks that the publication states, or
    ``None`` if it states no number.
    """

    counted: int
    printed: int | None


class GoldStandard(Block):
    """The gold standard and its known faults.

    Attributes
    ----------
    source
        Publication of the gold standard; ``""`` if it is not known.
    papers
        Number of papers.
    column_sums
        Number of ticks in the column of a label, as counted and as published. Keyed by label key.
    without_label
        Keys of the papers that have none of the labels.
    expected_empty
        Columns that should be empty but contain ticks. The dict contains the keys of the ticked papers, keyed by the
        name of the column.
    other_columns
        Columns of the table that are not labels.
    faults
        A sentence on each fault.
    notes
        Further information that readers need to interpret the metrics. Each item is one sentence.
    """

    source: str
    papers: int
    column_sums: dict[str, ColumnSum]
    without_label: tuple[str, ...]
    expected_empty: dict[str, tuple[str, ...]]
    other_columns: tuple[str, ...]
    faults: tuple[str, ...]
    notes: tuple[str, ...]


class Resampling(Block):
    """Settings of the resampling.

    Attributes
    ----------
    bootstrap
        Number of resamples for each interval.
    permutations
        Number of permutations for each p-value.
    min_positives
        Minimum number of papers with a label. If fewer papers have the label, its metrics are not computed.
    """

    bootstrap: int
    permutations: int
    min_positives: int


class Variation(Block):
    """Changes in the decisions after the texts were rewritten in one way; see `invariance.invariance_section`."""

    papers: int
    cells: int
    changed_cells: int
    changed: _Changed
    mean_change: _MeanChange
    relevance_changed: int
    relevance_reversed: int


class TrainingPaper(Block):
    """A gold paper that may have been used in training, because it resembles a training paper.

    Attributes
    ----------
    reason
        Name of the training paper, and a description of the resemblance.
    different
        Statement by people that the two papers are different, quoted from the YAML file of the gold standard. ``None``
        if there is no such statement.
    """

    key: str
    reason: str
    different: str | None = None


class TrainingCheck(Block):
    """Result of comparing the papers of the gold standard with the papers that the model was trained on.

    Attributes
    ----------
    papers
        Gold papers that resemble training papers.
    unchecked
        Reason why the papers could not be compared; ``None`` if they were compared.
    """

    papers: tuple[TrainingPaper, ...] = ()
    unchecked: str | None = None

    @property
    def used(self) -> list[TrainingPaper]:
        """Return the gold papers that may have been used in training.

        A gold paper is left out if people decided that it and the similar training paper are different papers.
        """
        return [paper for paper in self.papers if paper.different is None]

    @property
    def is_clean(self) -> bool:
        """Return whether it was verified that no gold paper was used in training.

        The result is false if the papers could not be compared, or if a gold paper may have been used.
        """
        return self.unchecked is None and not self.used

    def describe(self, measured: int) -> str:
        """Return sentences that state whether gold papers may have been used in training, and name any such papers.

        Parameters
        ----------
        measured
            Number of papers on which accuracy is measured.
        """
        if self.unchecked is not None:
            return f"Whether any of these papers was used in training could not be checked: {self.unchecked}."
        if used := self.used:
            listed = "; ".join(f"{paper.key} ({paper.reason})" for paper in used)
            return (
                f"Of the {measured} papers that were measured, {len(used)} {'was' if len(used) == 1 else 'were'} or "
                "may have been used in training, so the figures may be higher than they would be on new papers: "
                f"{listed}."
            )
        cleared = "; ".join(f"{paper.key} ({paper.reason}): {paper.different}" for paper in self.papers)
        note = f" People compared the papers where one resembles a training paper: {cleared}." if cleared else ""
        return f"None of these papers was used in training.{note}"


#: Result for metrics that contain no check, because an earlier version wrote the metrics or no model folder was read.
NOT_CHECKED = TrainingCheck(unchecked="the metrics contain no comparison with the training papers of the model")


class Results(Block):
    """The content of ``metrics.json``. Blocks that were not computed are missing from the file."""

    coverage: Coverage | None = None
    training_check: TrainingCheck = NOT_CHECKED
    transfer: SystemFigures | None = None
    leave_one_out: SystemFigures | None = None
    baselines: dict[str, BaselineFigures] = {}
    llms: tuple[LlmFigures, ...] = ()
    coded_records: CodedRecords | None = None
    learning_curve: dict[str, LearningStep] = {}
    relevance: Relevance | None = None
    agreement: Agreement | None = None
    gold_standard: GoldStandard | None = None
    resampling: Resampling | None = None
    invariance: dict[str, Variation] = {}
    by_full_text: ByFullText | None = None

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read a metrics file.

        Raises
        ------
        MechtagError
            If the file is missing, or was not written by this version of mechtag.
        """
        content = read_json(path)
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            first, count = error.errors()[0], error.error_count()
            more = f", and {counted(count - 1, 'more fault')}" if count > 1 else ""
            raise MechtagError(
                f"{path}: this is not a metrics file of this version of mechtag "
                f"({'.'.join(map(str, first['loc']))}: {first['msg'].lower()}{more}); run 'mechtag evaluate' again"
            ) from None

    def write(self, path: str | Path) -> None:
        """Write the results to a metrics file."""
        write_json(path, self.content())

    @property
    def protocols(self) -> dict[str, SystemFigures]:
        """Return the model's metrics on the gold standard, keyed by protocol.

        A protocol states how the models were trained. For ``transfer``, one model was trained on no gold paper. For
        ``leave_one_out``, one model was trained for each gold paper; its training data include all other gold papers.
        If the metrics of a protocol were not computed, the protocol is missing.
        """
        found = {"transfer": self.transfer, "leave_one_out": self.leave_one_out}
        return {name: system for name, system in found.items() if system is not None}

    def describe_training(self) -> str:
        """Return sentences that state whether gold papers may have been used in training, and name any such papers."""
        return self.training_check.describe(self.transfer.papers if self.transfer else 0)

    @property
    def sets(self) -> dict[str, RecordSet]:
        """Return the metrics of the sets of coded records, keyed by the name of the set."""
        return self.coded_records.sets if self.coded_records else {}

    @property
    def texts(self) -> dict[str, int]:
        """Return the number of coded records of each kind of text."""
        return self.coded_records.texts if self.coded_records else {}

    def headline(self) -> dict[str, float | None]:
        """Return the most important metrics, under self-explanatory names."""
        found: dict[str, float | None] = {}
        if self.coverage:
            read = self.coverage.abstract + self.coverage.synopsis + self.coverage.title_only
            found |= {"gold, papers read": read, "gold, papers without text": self.coverage.none}
        for protocol, names in _HEADLINE.items():
            if system := self.protocols.get(protocol):
                found |= _named(words_of(protocol), system.pooled, names)
        if coded := self.coded_records:
            found |= _named("coded records", coded.documents.pooled, _CODED_HEADLINE)
            for key, own in coded.sets.items():
                found |= _named(f"relevance, {words_of(key)}", own.relevance, ("roc_auc",))
        if relevance := self.relevance:
            found |= _named("relevance", relevance.coded_records, ("recall",))
            if relevance.gold:
                found["relevance, gold papers lost"] = relevance.gold.no
        if self.coded_records and self.coded_records.evidence:
            found |= _named("evidence", self.coded_records.evidence, ("precision_at_1",))
        if changed := [own.changed.value for own in self.invariance.values() if own.changed.value is not None]:
            found["invariance, most decisions changed"] = max(changed)
        if by_full_text := self.by_full_text:
            found["gold, papers with full text"] = by_full_text.coverage.full_text
            found |= _named("full text", by_full_text.full_text.pooled, _HEADLINE["transfer"])
        return found

    def figures(self) -> dict[str, float]:
        """Return the values of all metrics except those of single labels.

        The keys are paths in ``metrics.json``, such as ``transfer.pooled.kappa``.
        """
        return dict(_figures(self, ""))


_HEADLINE = {
    "transfer": ("across_auc", "within_auc", "macro_f1", "kappa", "referred", "yes_right", "no_right"),
    "leave_one_out": ("across_auc", "within_auc", "kappa"),
}
_CODED_HEADLINE = ("across_auc", "within_auc", "macro_average_precision")


def words_of(name: str) -> str:
    """Convert the name of a field to words, for display."""
    return name.replace("_", " ")


def _named(prefix: str, block: Block, names: Iterable[str]) -> dict[str, float | None]:
    words = block.words()
    return {f"{prefix}, {words[name].column}": block.figure(name).value for name in names}


def _figures(block: Block | Mapping[str, Any], prefix: str) -> Iterator[tuple[str, float]]:
    for key, found in block.items() if isinstance(block, Mapping) else block:
        if isinstance(found, Figure):
            if found.value is not None:
                yield f"{prefix}{key}", found.value
        elif isinstance(found, Block | Mapping) and key != "labels":
            yield from _figures(found, f"{prefix}{key}.")
