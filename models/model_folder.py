"""Load and replace model folders, which contain ``config.json``, ``model.safetensors`` and ``encoder.safetensors``."""

from __future__ import annotations

import hashlib
import json
import shutil
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, ValidationError, field_serializer
from safetensors import SafetensorError
from safetensors.numpy import load, save

from mechtag.core.codebook import Codebook, describe_validation, used_by_models
from mechtag.core.errors import MechtagError
from mechtag.core.records import ABSTRACTS_ALONE, DEFINITIONS_ALONE
from mechtag.core.settings import EncoderSettings, ProjectPath, find_project
from mechtag.models.encoder import (
    Arrays,
    Encoder,
    TransformerEncoder,
    describe_encoder,
    locate_encoder,
    unpack_tuned,
)
from mechtag.models.features import Definitions, Words, definition_texts
from mechtag.models.runtimes.choice import Choice, Runtime, Runtimes, made_up_texts
from mechtag.models.scoring import Calibration, RelevanceHead
from mechtag.models.tagger import Heads, Tagger
from mechtag.models.windows import WindowCalibration

FORMAT_VERSION = 6
# Models of format 5 cannot tag full texts, and are otherwise the same.
_READABLE = (5, FORMAT_VERSION)
CONFIG = "config.json"
WEIGHTS = "model.safetensors"
# The weights that fine-tuning changed in the encoder; empty if the encoder is unchanged.
TUNED = "encoder.safetensors"
# Exports of the encoder for other runtimes; missing exports are created again, so they may be deleted at any time.
EXPORTS = "runtimes"
# Description of the papers that the model was trained on, for the leakage check of `evaluate`; older models lack it.
PAPERS = "papers.safetensors"
# The id of the MLflow run that trained the model.
RUN_FILE = "mlflow_run.json"
# Arrays of the calibration of texts in several windows, which a model for abstracts alone lacks.
_OF_WINDOWS = ("correction", "low", "high")
# Far more than the terms of any model take, in bytes.
_MOST_TEXT = 100_000_000


class EncoderConfig(BaseModel):
    """The encoder that a model was trained with.

    ``sha256`` is the hash of the encoder's original weights. ``tuned_sha256`` is the hash of the file that contains the
    changes that fine-tuning made to the weights.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    revision: str
    sha256: str
    tuned_sha256: str
    max_tokens: int
    batch_tokens: int


class ModelConfig(BaseModel):
    """Content of ``config.json``.

    Attributes
    ----------
    model_id
        Hash of the weights and of the other values in ``config.json``. Models with the same id return the same
        predictions.
    settings
        Training settings.
    data
        SHA-256 of each input file of the training; empty if the model was not trained on coded records.
    versions
        Versions of the libraries.
    window
        Number of sentences in a window. A window is a run of sentences of a full text that is scored like an abstract.
        ``None`` if the model cannot tag full texts.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format_version: int
    model_id: str
    codebook: Codebook
    codebook_sha256: str
    encoder: EncoderConfig
    seed: int
    settings: dict[str, Any]
    data: dict[str, str]
    versions: dict[str, str]
    window: int | None = None

    @field_serializer("codebook", mode="wrap")
    def _as_used(self, codebook: Codebook, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # A part of the codebook that models do not use must not change the id of a model.
        return used_by_models(serialize(codebook))

    @property
    def from_definitions(self) -> bool:
        """Return whether the model was made only from the definitions of the codebook, without coded records."""
        return not self.data


@dataclass(frozen=True)
class Model:
    """A model: the tagger, the content of ``config.json``, and the runtime of the encoder.

    Attributes
    ----------
    choice
        Runtime of the tagger's encoder, and the reason for this runtime.
    reference
        Function that returns the tagger's encoder in the runtime ``torch``. The encoder is loaded at the first call.
    """

    tagger: Tagger
    config: ModelConfig
    choice: Choice
    reference: Callable[[], TransformerEncoder]


def pack(tagger: Tagger) -> bytes:
    """Convert all arrays of a tagger, except those of the encoder, to the bytes of a safetensors file."""
    arrays = {
        "definitions.centre": tagger.definitions.centre,
        "definitions.labels": tagger.definitions.labels,
        "definitions.relevance": tagger.definitions.relevance,
        "relevance.direction": tagger.heads.relevance.direction,
        "relevance.vectors": tagger.heads.relevance.vectors,
        "relevance.weights": tagger.heads.relevance.weights,
        "relevance.word_weights": tagger.heads.relevance.word_weights.astype(np.float16),
        "relevance.intercept": np.array([tagger.heads.relevance.intercept]),
        "relevance.familiar": np.array([tagger.heads.relevance.familiar]),
        "heads.weights": tagger.heads.weights,
        "heads.word_weights": tagger.heads.word_weights.astype(np.float16),
        "heads.intercept": tagger.heads.intercept,
        # Terms consist of words and spaces, so line ends can separate them.
        "words.terms": np.frombuffer(zlib.compress("\n".join(tagger.heads.words.terms).encode(), 9), dtype=np.uint8),
        "words.idf": tagger.heads.words.idf.astype(np.float32),
        "calibration.slope": tagger.calibration.slope,
        "calibration.intercept": tagger.calibration.intercept,
        "calibration.threshold": tagger.calibration.threshold,
        "calibration.low": tagger.calibration.low,
        "calibration.high": tagger.calibration.high,
    }
    if tagger.long:
        arrays |= {f"windows.{name}": getattr(tagger.long, name) for name in _OF_WINDOWS}
    packed: bytes = save({name: np.ascontiguousarray(array) for name, array in arrays.items()})
    return packed


def with_model_id(config: ModelConfig, weights: bytes) -> ModelConfig:
    """Return a copy of a model's ``config`` with the id of the model: a hash of the other settings and the weights."""
    # A model without windows has the id that it had before there were windows.
    text = config.model_dump_json(exclude={"model_id"} | ({"window"} if config.window is None else set()))
    prefix = ""
    if config.from_definitions:
        prefix = DEFINITIONS_ALONE
    elif config.window is not None and not _decides_full_texts(load(weights)):
        prefix = ABSTRACTS_ALONE
    return config.model_copy(update={"model_id": prefix + hashlib.sha256(text.encode() + weights).hexdigest()[:16]})


def _decides_full_texts(arrays: dict[str, NDArray[Any]]) -> bool:
    """Return whether a model can decide yes or no for at least one label of a full text."""
    low, high = (arrays.get(f"windows.{name}", np.empty(0)) for name in ("low", "high"))
    return bool((low > 0).any() or np.isfinite(high).any())


def load_model(
    folder: str | Path,
    codebook: Codebook | None = None,
    *,
    runtime: Runtime = "torch",
    threads: int = 0,
    score_all: bool = True,
) -> Model:
    """Read a model folder, and load its encoder.

    Parameters
    ----------
    codebook
        Codebook that the model must have been trained for. By default, any codebook is accepted.
    runtime
        Runtime of the encoder. ``auto`` selects the fastest runtime on this machine that agrees with ``torch``; see
        `runtimes.choice`. Exported encoders are stored in the model folder.
    threads
        Number of threads that encode texts; ``0`` means one per core.
    score_all
        Whether to score the sentences of documents that are clearly irrelevant; see `Tagger`.

    Raises
    ------
    MechtagError
        In these cases:

        - The folder does not contain a model.
        - The model has an unsupported format version, was trained for a different codebook, or was altered.
        - The encoder or its fine-tuned weights are missing, or have an unexpected hash.
        - The runtime is unknown, or does not work on this machine.
    """
    folder = Path(folder)
    config = read_config(folder)
    if codebook is not None and codebook.sha256 != config.codebook_sha256:
        raise MechtagError(
            f"{folder}: this model was trained for the codebook {config.codebook.name} "
            f"({config.codebook_sha256[:12]}), but the codebook in use is {codebook.name} ({codebook.sha256[:12]}); "
            "train again with 'mechtag train', or use the codebook for which the model was trained"
        )
    try:
        weights = (folder / WEIGHTS).read_bytes()
        arrays = load(weights)
    except (OSError, SafetensorError) as error:
        raise MechtagError(
            f"{folder / WEIGHTS}: the file is not readable as model weights: {error}; train again"
        ) from None
    model_id = with_model_id(config, weights).model_id
    # Earlier versions did not mark models that leave full texts to people.
    if config.model_id not in (model_id, model_id.removeprefix(ABSTRACTS_ALONE)):
        raise MechtagError(
            f"{folder}: {CONFIG} and {WEIGHTS} do not belong together; one of the two files was changed or replaced. "
            f"Train again, or restore both files from the run that trained model {config.model_id}"
        )
    settings = config.encoder
    tuned = _read_tuned(folder / TUNED, settings.tuned_sha256)
    source = locate_encoder(encoder_of(config, folder), revision=settings.revision, sha256=settings.sha256)

    def reference() -> TransformerEncoder:
        encoder = TransformerEncoder(source, max_tokens=settings.max_tokens, batch_tokens=settings.batch_tokens)
        return encoder.with_weights(tuned) if tuned else encoder

    _check_values(folder, arrays)

    def tagger(encoder: Encoder, finer: Callable[[], Encoder] | None) -> Tagger:
        _check_shapes(folder, arrays, len(config.codebook.keys), encoder.size, has_windows=bool(config.window))
        return replace(_tagger(config, arrays, encoder), finer=finer)

    definitions, _ = definition_texts(config.codebook)
    terms = _terms(arrays)
    identity = f"{source.sha256} {settings.tuned_sha256} {settings.max_tokens}"
    runtimes = Runtimes(
        folder / EXPORTS, identity, reference, made_up_texts(terms, definitions, config.seed), threads=threads
    )
    choice = Choice(runtime, f"{runtime}: as requested")
    if runtime == "auto":
        choice = runtimes.choose(tagger, made_up_texts(terms, definitions, config.seed + 1))
    loaded = tagger(runtimes.encoder(choice.runtime), runtimes.finer(choice.runtime))
    return Model(replace(loaded, score_all=score_all), config, choice, runtimes.reference)


def _terms(arrays: dict[str, NDArray[Any]]) -> tuple[str, ...]:
    if "words.terms" not in arrays:
        return ()
    # A damaged file must not expand without end.
    stream = zlib.decompressobj()
    text = stream.decompress(arrays["words.terms"].tobytes(), _MOST_TEXT)
    if not stream.eof:
        raise zlib.error("truncated or oversized")
    return tuple(filter(None, text.decode().split("\n")))


def _tagger(config: ModelConfig, arrays: dict[str, NDArray[Any]], encoder: Encoder) -> Tagger:
    return Tagger(
        codebook=config.codebook,
        encoder=encoder,
        definitions=Definitions(
            arrays["definitions.centre"], arrays["definitions.labels"], arrays["definitions.relevance"]
        ),
        heads=Heads(
            relevance=RelevanceHead(
                direction=arrays["relevance.direction"],
                vectors=arrays["relevance.vectors"],
                weights=arrays["relevance.weights"],
                word_weights=arrays["relevance.word_weights"].astype(np.float64),
                intercept=float(arrays["relevance.intercept"][0]),
                familiar=float(arrays["relevance.familiar"][0]),
            ),
            weights=arrays["heads.weights"],
            words=Words(_terms(arrays), arrays["words.idf"].astype(np.float64)),
            word_weights=arrays["heads.word_weights"].astype(np.float64),
            intercept=arrays["heads.intercept"],
        ),
        calibration=Calibration(
            slope=arrays["calibration.slope"],
            intercept=arrays["calibration.intercept"],
            threshold=arrays["calibration.threshold"],
            low=arrays["calibration.low"],
            high=arrays["calibration.high"],
        ),
        long=WindowCalibration(config.window, **{name: arrays[f"windows.{name}"] for name in _OF_WINDOWS})
        if config.window
        else None,
    )


def swap_in(folder: Path) -> None:
    """Replace a model folder with the folder that was prepared at ``new_folder(folder)``.

    If the replacement fails, the old folder is kept.
    """
    new, old = new_folder(folder), _old_folder(folder)
    if folder.exists():
        shutil.rmtree(old, ignore_errors=True)
        folder.rename(old)
    try:
        new.rename(folder)
    except OSError:
        if old.exists():
            old.rename(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


def new_folder(folder: Path) -> Path:
    """Return the path at which a new model folder is prepared before it replaces ``folder``."""
    return folder.with_name(f".{folder.name}.new")


def _old_folder(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.old")


def swap_interrupted(folder: Path) -> bool:
    """Return whether the model folder is missing because `swap_in` was interrupted after moving the old folder away."""
    return not folder.exists() and _old_folder(folder).is_dir()


def finish_swap(folder: Path) -> bool:
    """Complete the replacement of a model folder if it was interrupted; return whether it was interrupted.

    If the new folder is missing, the old folder is restored.
    """
    if not swap_interrupted(folder):
        return False
    # The new folder was complete before the old one was moved.
    (new_folder(folder) if new_folder(folder).is_dir() else _old_folder(folder)).rename(folder)
    shutil.rmtree(_old_folder(folder), ignore_errors=True)
    return True


def read_config(folder: str | Path) -> ModelConfig:
    """Read only the ``config.json`` of a model folder.

    Raises
    ------
    MechtagError
        If the file is missing or invalid, if its format version is not supported, or if the replacement of the model
        folder was interrupted.
    """
    path = Path(folder) / CONFIG
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if swap_interrupted(Path(folder)):
            raise MechtagError(
                f"{folder}: mechtag was stopped while it was replacing the model in this folder; run 'mechtag retrain "
                "--history' to complete the replacement"
            ) from None
        raise MechtagError(
            f"{path}: no such file, so {folder} does not contain a trained model; run 'mechtag train' first"
        ) from None
    except (ValueError, RecursionError) as error:
        raise MechtagError(
            f"{path}: the file is not readable as JSON: {error}; train again, or restore the file from the run that "
            "trained the model"
        ) from None
    version = data.get("format_version") if isinstance(data, dict) else None
    if version not in _READABLE:
        raise MechtagError(
            f"{path}: model format {version!r} is not supported, because this version of mechtag reads only the "
            f"formats {' and '.join(map(str, _READABLE))}; train again, or use the version of mechtag that "
            "created the model"
        )
    try:
        return ModelConfig.model_validate(data)
    except ValidationError as error:
        raise MechtagError(describe_validation(path, error)) from None


def encoder_of(config: ModelConfig, folder: str | Path) -> ProjectPath:
    """Return the name of the encoder that the model in a folder was trained with.

    If the name is a relative path, it starts from the project that contains the model folder. If no project contains
    the model folder, it starts from the project that contains the working directory.
    """
    return ProjectPath(config.encoder.name, find_project(folder) or find_project() or Path())


def encoder_difference(trained: EncoderConfig, settings: EncoderSettings, folder: str | Path) -> str:
    """Return a clause that describes the difference between a model's encoder and the encoder in the settings.

    Encoders with the same weights count as the same, whatever their names. If the settings do not contain the hash of
    the weights, encoders with the same name and revision also count as the same. In all other cases, the encoders count
    as different, for example if the names differ and the encoder in the settings is not on this machine.

    Parameters
    ----------
    trained
        Encoder of the model.
    folder
        Folder of the model; the clause mentions this folder.

    Returns
    -------
    str
        The clause; ``""`` if the two encoders are the same.
    """
    named = settings.sha256.lower()
    if named == trained.sha256:
        return ""
    if not named and (str(settings.name), settings.revision) == (trained.name, trained.revision):
        return ""
    try:
        if locate_encoder(settings.name, revision=settings.revision, sha256=named).sha256 == trained.sha256:
            return ""
    except MechtagError:
        pass  # not on this machine, so it is not the encoder that the model uses
    expected = describe_encoder(str(settings.name)) + (f" (SHA-256 {named[:12]})" if named else "")
    return (
        f"the encoder in the settings is {expected}, but the model in {folder} was "
        f"trained with {describe_encoder(trained.name)} (SHA-256 {trained.sha256[:12]})"
    )


def _read_tuned(path: Path, sha256: str) -> Arrays:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise MechtagError(
            f"{path}: the file is not readable: {error}; train again, or restore the file from the run that trained "
            "the model"
        ) from None
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise MechtagError(
            f"{path} has SHA-256 {found}, expected {sha256}, so the file is damaged or belongs to a different model; "
            "train again, or restore all files of the model from the run that trained it"
        )
    return unpack_tuned(data, str(path))


def _check_values(folder: Path, arrays: dict[str, NDArray[Any]]) -> None:
    """Raise `MechtagError` if the values in the arrays of a model show that the file is damaged."""
    for name, array in arrays.items():
        # An infinite bound means that no probability is high or low enough to decide.
        check = np.isnan if name.endswith((".low", ".high")) else lambda values: ~np.isfinite(values)
        if array.dtype.kind not in "iuf" or check(array).any():
            raise MechtagError(
                f"{folder / WEIGHTS}: '{name}' contains values that are not finite numbers, so the file is damaged; "
                "train again"
            )
    terms, idf = arrays.get("words.terms"), arrays.get("words.idf")
    try:
        fits = terms is None or idf is None or len(_terms(arrays)) == idf.size
    except (UnicodeDecodeError, zlib.error):
        fits = False
    if not fits:
        raise MechtagError(
            f"{folder / WEIGHTS}: 'words.terms' does not contain one term per weight, so the file is damaged; train "
            "again"
        )


def _check_shapes(folder: Path, arrays: dict[str, NDArray[Any]], labels: int, size: int, *, has_windows: bool) -> None:
    def length(name: str) -> int:
        return arrays[name].shape[0] if name in arrays and arrays[name].ndim else 0

    terms, known = length("words.idf"), length("relevance.weights")
    expected = {
        "definitions.centre": (size,),
        "definitions.labels": (labels, size),
        "definitions.relevance": (size,),
        "relevance.direction": (size,),
        "relevance.vectors": (known, size),
        "relevance.weights": (known,),
        "relevance.word_weights": (terms,),
        "relevance.intercept": (1,),
        "relevance.familiar": (1,),
        "heads.weights": (labels, size + 1),
        "heads.word_weights": (labels, terms),
        "heads.intercept": (labels,),
        "words.terms": (length("words.terms"),),
        "words.idf": (terms,),
        **{f"calibration.{name}": (1 + labels,) for name in ("slope", "intercept", "threshold", "low", "high")},
    }
    if has_windows:
        powers = length("windows.low")
        expected |= {"windows.correction": (labels,), "windows.low": (powers, labels), "windows.high": (powers, labels)}
    for name, shape in expected.items():
        found = arrays[name].shape if name in arrays else None
        if found != shape:
            raise MechtagError(
                f"{folder / WEIGHTS}: the array '{name}' has shape {found}, expected {shape}, so the file is "
                "damaged; train again"
            )
