"""Checkpoints of tuning: one folder a tuning, named by everything its outcome depends on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from models.errors import MechtagError
from models.files import replacing
from training.examples import Corpus

EPOCH, FINISHED = "epoch.safetensors", "finished.safetensors"


@dataclass(frozen=True)
class State:
    """Tensors by name, and the loss on the held-out papers before the first and after each epoch."""

    tensors: Mapping[str, Tensor]
    losses: tuple[float, ...]


def corpus_hash(corpus: Corpus, circumstances: Mapping[str, Any]) -> str:
    """Hash a corpus, without its vectors, together with what else an outcome depends on."""
    digest = hashlib.sha256(json.dumps(circumstances, sort_keys=True).encode())
    digest.update(json.dumps(corpus.texts).encode())
    for array in (corpus.unit_targets, corpus.document, corpus.document_targets):
        digest.update(str(array.shape).encode() + np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:24]


class Checkpoints:
    """The folder of one tuning; with ``folder=None`` nothing is kept."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def save_epoch(self, state: State) -> None:
        """Keep the state after an epoch, instead of that before it."""
        if self._folder:
            _write(self._folder / EPOCH, state)

    def save_finished(self, state: State) -> None:
        """Keep the outcome, and drop the state of the last epoch."""
        if self._folder:
            _write(self._folder / FINISHED, state)
            (self._folder / EPOCH).unlink(missing_ok=True)

    def epoch(self) -> State | None:
        """Give the state to go on from; raises `MechtagError` if its file is damaged."""
        return _read(self._folder / EPOCH) if self._folder else None

    def finished(self) -> State | None:
        """Give the outcome, if there is one; raises `MechtagError` if its file is damaged."""
        return _read(self._folder / FINISHED) if self._folder else None


def _write(path: Path, state: State) -> None:
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.tensors.items()}
    with replacing(path) as part:
        part.write_bytes(save(tensors, metadata={"losses": json.dumps(state.losses)}))


def _read(path: Path) -> State | None:
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            losses = tuple(float(loss) for loss in json.loads(file.metadata()["losses"]))
            return State({name: file.get_tensor(name) for name in file.keys()}, losses)
    except (SafetensorError, TypeError, KeyError, ValueError) as error:
        raise MechtagError(f"{path}: not readable as a checkpoint: {error}; delete it and train again") from None
