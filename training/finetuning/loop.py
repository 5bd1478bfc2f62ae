"""Fine-tune the top layers of an encoder with AdamW, with checkpoints to resume from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from mechtag.core.codebook import Codebook
from mechtag.core.errors import MechtagError
from mechtag.core.files import replacing
from mechtag.core.settings import TuningSettings
from mechtag.models.encoder import Arrays
from mechtag.models.features import definition_texts
from mechtag.training.dataset import Corpus
from mechtag.training.finetuning.losses import batch_loss, cut_batches, draw_items, prepare_corpus
from mechtag.training.finetuning.top_layers import States, TopLayers

EPOCH, FINISHED = "epoch.safetensors", "finished.safetensors"


@dataclass(frozen=True)
class State:
    """Content of a checkpoint.

    Attributes
    ----------
    tensors
        Tensors, keyed by name. During a run, these are the weights and the state of the optimiser. At the end of the
        run, they are only the weights.
    losses
        Mean training loss of each finished epoch.
    """

    tensors: Mapping[str, Tensor]
    losses: tuple[float, ...]


def corpus_hash(corpus: Corpus, circumstances: Mapping[str, Any]) -> str:
    """Return a hash of everything that affects the fine-tuned encoder.

    Parameters
    ----------
    corpus
        Corpus whose texts and codes are hashed.
    circumstances
        The settings, the seed, the original encoder, the codebook and the machine.
    """
    digest = hashlib.sha256(json.dumps(circumstances, sort_keys=True).encode())
    digest.update(json.dumps(corpus.texts).encode())
    for array in (corpus.unit_targets, corpus.document, corpus.document_targets):
        digest.update(str(array.shape).encode() + np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:24]


class Checkpoints:
    """Saves and loads the checkpoints of a fine-tuning run in a folder; if there is no folder, nothing is saved."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def save_epoch(self, state: State) -> None:
        """Save the state after an epoch; it replaces the saved state of the previous epoch."""
        if self._folder:
            _write(self._folder / EPOCH, state)

    def save_finished(self, state: State) -> None:
        """Save the final state, and delete the state that was saved after the last epoch."""
        if self._folder:
            _write(self._folder / FINISHED, state)
            (self._folder / EPOCH).unlink(missing_ok=True)

    def epoch(self) -> State | None:
        """Return the state that was saved after the most recent epoch, or ``None`` if no state was saved.

        Raises
        ------
        MechtagError
            If the file of the state is damaged.
        """
        return _read(self._folder / EPOCH) if self._folder else None

    def finished(self) -> State | None:
        """Return the state that was saved at the end of the run; ``None`` if no state was saved.

        Raises
        ------
        MechtagError
            If the file is damaged.
        """
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
        raise MechtagError(
            f"{path}: the checkpoint cannot be read ({error}); delete this file and train again"
        ) from None


Progress = Callable[[int], None]

WARM_UP = 0.1
WEIGHT_DECAY = 0.01
MAX_GRADIENT = 1.0


@dataclass(frozen=True)
class Tuned:
    """Result of fine-tuning: the changed weights of the encoder, and the mean training loss of each epoch."""

    arrays: Arrays
    losses: tuple[float, ...]


def tune(
    states: States,
    codebook: Codebook,
    corpus: Corpus,
    settings: TuningSettings,
    seed: int,
    *,
    work: Path | None = None,
    on_progress: Progress = lambda _: None,
) -> Tuned:
    """Train low-rank changes to the weights in an encoder's top layers; the encoder itself stays unchanged.

    The same arguments yield the same weights on the same machine. The global random state is not changed. If a work
    folder is given, an interrupted run resumes after its last epoch, and the result of a finished run is loaded.

    Parameters
    ----------
    states
        Hidden states that the encoder's top layers receive as input.
    work
        Folder for checkpoints; ``None`` for no checkpoints.
    on_progress
        Called with the number of epochs finished since the last call. Epochs that are loaded from a checkpoint count as
        finished.
    """
    encoder = states.encoder
    circumstances = {
        "settings": settings.model_dump(),
        "seed": seed,
        "encoder": [encoder.source.sha256, encoder.max_tokens, encoder.batch_tokens],
        "codebook": codebook.sha256,
        "machine": [torch.__version__, str(encoder.model.device), _has_bfloat16(encoder.model.device)],
    }
    checkpoints = Checkpoints(work / corpus_hash(corpus, circumstances) if work else None)
    state = checkpoints.finished()
    if state is None:
        run = _Run(states, codebook, corpus, settings, seed)
        state = run.finish(checkpoints, on_progress)
        checkpoints.save_finished(state)
    else:
        on_progress(settings.epochs)
    return Tuned({name: tensor.cpu().numpy() for name, tensor in state.tensors.items()}, state.losses)


class _Run:
    def __init__(self, states: States, codebook: Codebook, corpus: Corpus, settings: TuningSettings, seed: int) -> None:
        self._settings, self._seed = settings, seed
        self._device = states.encoder.model.device
        texts, owner = definition_texts(codebook)
        found = list(zip(states.of(texts), owner, strict=True))
        self._definitions = [[state for state, own in found if own == label] for label in range(owner[-1] + 1)]
        self._data = prepare_corpus(corpus, states)
        with _seeded(seed):
            self._top = TopLayers(states, settings.rank)
        self._parameters = list(self._top.trained.values())
        self._optimizer = torch.optim.AdamW(self._parameters, weight_decay=WEIGHT_DECAY)

    def finish(self, checkpoints: Checkpoints, on_progress: Progress) -> State:
        """Run the epochs that the last checkpoint does not include, and return the changed weights and the losses."""
        found = checkpoints.epoch()
        losses: tuple[float, ...] = ()
        if found is not None:
            self._restore(found)
            losses = found.losses
        on_progress(len(losses))
        for epoch in range(len(losses), self._settings.epochs):
            losses = (*losses, self._epoch(epoch))
            checkpoints.save_epoch(self._snapshot(losses))
            on_progress(1)
        return State({name: torch.from_numpy(array) for name, array in self._top.arrays().items()}, losses)

    def _epoch(self, epoch: int) -> float:
        """Run one epoch, and return the mean loss of its batches."""
        # Random numbers depend only on the seed and the epoch, so that a run can resume after any epoch.
        generator = np.random.default_rng([self._seed, epoch])
        lengths = [len(state) for state in self._data.states]
        items = draw_items(self._data, generator)
        batches = list(cut_batches(items, lengths, self._settings.batch_tokens, generator))
        total = 0.0
        self._top.model.train()
        with _seeded(int(generator.integers(2**31))):
            for place, batch in enumerate(batches):
                progress = (epoch + (place + 0.5) / len(batches)) / self._settings.epochs
                for group in self._optimizer.param_groups:
                    group["lr"] = self._settings.learning_rate * rate_share(progress)
                drawn = [own[generator.integers(len(own))] for own in self._definitions]
                with _low_precision(self._device):
                    units = [self._data.states[unit] for units in batch for unit in units]
                    vectors = self._top.embed([*units, *drawn])
                loss = batch_loss(self._data, batch, vectors[: len(units)], vectors[len(units) :])
                self._optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                nn.utils.clip_grad_norm_(self._parameters, MAX_GRADIENT)
                self._optimizer.step()
                total += float(loss.detach())
        return total / max(1, len(batches))

    def _snapshot(self, losses: tuple[float, ...]) -> State:
        tensors: dict[str, Tensor] = {f"parameter.{place}": tensor for place, tensor in enumerate(self._parameters)}
        for place, moments in self._optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{place}.{name}": tensor for name, tensor in moments.items()}
        return State(tensors, losses)

    def _restore(self, state: State) -> None:
        optimizer = self._optimizer.state_dict()
        with torch.no_grad():
            for name, tensor in state.tensors.items():
                kind, place, *moment = name.split(".")
                if kind == "parameter":
                    self._parameters[int(place)].copy_(tensor)
                else:
                    optimizer["state"].setdefault(int(place), {})[moment[0]] = tensor
        self._optimizer.load_state_dict(optimizer)


def rate_share(progress: float) -> float:
    """Return the learning rate at a given progress, as a proportion of the highest learning rate.

    The learning rate rises linearly during the first tenth of the run, and then falls linearly to zero.

    Parameters
    ----------
    progress
        Finished proportion of the run, from 0 to 1.
    """
    return min(progress / WARM_UP, (1 - progress) / (1 - WARM_UP))


def _low_precision(device: torch.device) -> torch.autocast:
    return torch.autocast(device.type, torch.bfloat16, enabled=_has_bfloat16(device))


def _has_bfloat16(device: torch.device) -> bool:
    # Emulation would be slower than float32.
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # Older versions of torch lack this function.
    able: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return device.type == "cpu" and bool(able.get("avx512_bf16") or able.get("amx_bf16"))


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed torch's random numbers within the ``with`` block, and restore their state afterwards."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield
