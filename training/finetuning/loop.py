"""Fine-tune an encoder with AdamW, early stopping on held-out papers, and checkpoints to resume from."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from mechtag.core.arrays import Index, Mask
from mechtag.core.codebook import Codebook
from mechtag.core.errors import MechtagError
from mechtag.core.files import replacing
from mechtag.core.settings import TuningSettings
from mechtag.models.encoder import HIGH, LOW, Arrays, TransformerEncoder
from mechtag.models.features import definition_texts
from mechtag.training.dataset import Corpus
from mechtag.training.finetuning.losses import (
    ContrastiveLoss,
    Objective,
    SentenceAndPaperLoss,
    TuningCorpus,
    cut_batches,
    prepare_corpus,
)

EPOCH, FINISHED = "epoch.safetensors", "finished.safetensors"


@dataclass(frozen=True)
class State:
    """Content of a checkpoint: tensors by name, and losses on held-out papers before training and after each epoch."""

    tensors: Mapping[str, Tensor]
    losses: tuple[float, ...]


def corpus_hash(corpus: Corpus, circumstances: Mapping[str, Any]) -> str:
    """Return a hash of the corpus (except its vectors) and of all other circumstances that affect the result."""
    digest = hashlib.sha256(json.dumps(circumstances, sort_keys=True).encode())
    digest.update(json.dumps(corpus.texts).encode())
    for array in (corpus.unit_targets, corpus.document, corpus.document_targets):
        digest.update(str(array.shape).encode() + np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:24]


class Checkpoints:
    """Saves and loads the checkpoints of a fine-tuning run in a folder; if ``folder`` is ``None``, nothing is saved."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def save_epoch(self, state: State) -> None:
        """Save the state after an epoch, replacing the state of the previous epoch."""
        if self._folder:
            _write(self._folder / EPOCH, state)

    def save_finished(self, state: State) -> None:
        """Save the final state, and delete the state of the last epoch."""
        if self._folder:
            _write(self._folder / FINISHED, state)
            (self._folder / EPOCH).unlink(missing_ok=True)

    def epoch(self) -> State | None:
        """Return the state that was saved after the last epoch, or ``None``; raise `MechtagError` if it is damaged."""
        return _read(self._folder / EPOCH) if self._folder else None

    def finished(self) -> State | None:
        """Return the state that was saved at the end of the run, or ``None``; raise `MechtagError` if it is damaged."""
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
        raise MechtagError(f"{path}: the checkpoint cannot be read: {error}; delete it and train again") from None


Progress = Callable[[int], None]

WARM_UP = 0.1
WEIGHT_DECAY = 0.01
MAX_GRADIENT = 1.0
# The learning rate of each layer is this factor times that of the layer above, because lower layers encode
# the language and need less change (Howard and Ruder 2018).
LAYER_DECAY = 0.9
HEAD_RATE = 3e-3
# Factor of the learning rate for low-rank changes, which need about ten times the rate of full weights.
LORA_RATE = 10.0
LORA_SCALE = 2.0
# Word vectors make up most of a small model, and are not fine-tuned because the texts contain too few words.
# The pooler is not used.
_LEFT_ALONE = ("embed", "pooler")
_LAYER = re.compile(r"\.(\d+)\.")


@dataclass(frozen=True)
class Method:
    """A method of fine-tuning: the objective to minimise, and whether only low-rank changes are trained."""

    objective: type[SentenceAndPaperLoss] | type[ContrastiveLoss]
    low_rank: bool = False


# Methods of fine-tuning by the name of the trainer.
METHODS = {
    "full": Method(SentenceAndPaperLoss),
    "lora": Method(SentenceAndPaperLoss, low_rank=True),
    "contrastive": Method(ContrastiveLoss),
}


@dataclass(frozen=True)
class Tuned:
    """Result of fine-tuning: the changed weights of the encoder, and the losses.

    Attributes
    ----------
    losses
        Losses on the held-out papers before training and after each epoch; empty if no papers were held out.
    """

    arrays: Arrays
    losses: tuple[float, ...]


def tune(
    encoder: TransformerEncoder,
    codebook: Codebook,
    corpus: Corpus,
    method: Method,
    settings: TuningSettings,
    seed: int,
    *,
    work: Path | None = None,
    on_progress: Progress = lambda _: None,
) -> Tuned:
    """Fine-tune a copy of an encoder on a corpus.

    The same arguments yield the same weights on the same machine; the global random state is
    not changed. With a work folder, an interrupted run resumes after its last epoch, and the
    result of a finished run is loaded.

    Parameters
    ----------
    corpus
        Corpus whose vectors were computed by ``encoder``.
    on_progress
        Called with the number of epochs finished since the last call, including skipped ones.
    """
    circumstances = {
        "settings": settings.model_dump(),
        "method": [method.objective.__name__, method.low_rank],
        "seed": seed,
        "encoder": [encoder.source.sha256, encoder.max_tokens],
        "codebook": codebook.sha256,
        "machine": [torch.__version__, str(encoder.model.device), _has_bfloat16(encoder.model.device)],
    }
    checkpoints = Checkpoints(work / corpus_hash(corpus, circumstances) if work else None)
    state = checkpoints.finished()
    if state is None:
        run = _Run(encoder, codebook, corpus, method, settings, seed)
        state = run.finish(checkpoints, on_progress)
        checkpoints.save_finished(state)
    else:
        on_progress(settings.epochs)
    return Tuned({name: tensor.cpu().numpy() for name, tensor in state.tensors.items()}, state.losses)


class _Run:
    """A fine-tuning run, with its data, its model and its optimiser."""

    def __init__(
        self,
        encoder: TransformerEncoder,
        codebook: Codebook,
        corpus: Corpus,
        method: Method,
        settings: TuningSettings,
        seed: int,
    ) -> None:
        self._settings, self._seed = settings, seed
        self._encoder = encoder.with_weights({})
        self._device = self._encoder.model.device
        texts, owner = definition_texts(codebook)
        tokens = self._encoder.tokens(texts)
        self._definitions = [
            [ids for ids, own in zip(tokens, owner, strict=True) if own == label] for label in range(owner[-1] + 1)
        ]
        held_out = hold_out(corpus, settings.validation, np.random.default_rng(seed))
        validation = prepare_corpus(corpus.keep(held_out, exemplars=False), encoder)
        self._validation = validation if validation.has_positives else None
        learned = corpus.keep(~held_out) if self._validation else corpus
        self._data = prepare_corpus(learned, encoder)
        with _seeded(seed):
            self._trained = _make_trainable(self._encoder.model, settings.lora_rank if method.low_rank else None)
            self._objective: Objective = method.objective(encoder.size, corpus.unit_targets.shape[1], self._device)
            self._objective.start(learned, self._data, self._definition_vectors(None).detach())
        rate = settings.learning_rate * (LORA_RATE if method.low_rank else 1.0)
        self._optimizer = torch.optim.AdamW(list(_groups(self._trained, rate)), weight_decay=WEIGHT_DECAY)
        if own := self._objective.parameters():
            self._optimizer.add_param_group({"params": own, "lr": HEAD_RATE, "peak": HEAD_RATE, "weight_decay": 0.0})
        self._parameters = [parameter for group in self._optimizer.param_groups for parameter in group["params"]]

    def finish(self, checkpoints: Checkpoints, on_progress: Progress) -> State:
        """Run the remaining epochs after the last checkpoint, and return the best weights."""
        found = checkpoints.epoch()
        if found is None:
            losses: tuple[float, ...] = (self._validate(),) if self._validation else ()
            best = self._weights()
            epochs = 0
        else:
            best, epochs = self._restore(found)
            losses = found.losses
        on_progress(epochs)
        while epochs < self._settings.epochs and not self._out_of_patience(losses):
            self._epoch(epochs)
            epochs += 1
            if self._validation:
                losses = (*losses, self._validate())
            if not self._validation or losses[-1] == min(losses):
                best = self._weights()
            checkpoints.save_epoch(self._snapshot(best, losses, epochs))
            on_progress(1)
        on_progress(self._settings.epochs - epochs)
        return State(best, losses)

    def _out_of_patience(self, losses: Sequence[float]) -> bool:
        return bool(losses) and len(losses) - 1 - int(np.argmin(losses)) >= self._settings.patience

    def _epoch(self, epoch: int) -> None:
        """Run one epoch.

        Random numbers depend only on the seed and the epoch, so that a run can resume after any epoch.
        """
        generator = np.random.default_rng([self._seed, epoch])
        lengths = [len(ids) for ids in self._data.tokens]
        items = self._objective.items(self._data, generator)
        batches = list(cut_batches(items, lengths, self._settings.batch_tokens, generator))
        self._encoder.model.train()
        with _seeded(int(generator.integers(2**31))):
            for place, batch in enumerate(batches):
                share = rate_share((epoch + (place + 0.5) / len(batches)) / self._settings.epochs)
                for group in self._optimizer.param_groups:
                    group["lr"] = group["peak"] * share
                self._optimizer.zero_grad()
                self._loss(self._data, batch, generator).backward()  # type: ignore[no-untyped-call]
                nn.utils.clip_grad_norm_(self._parameters, MAX_GRADIENT)
                self._optimizer.step()

    def _loss(self, data: TuningCorpus, batch: Sequence[Index], generator: np.random.Generator | None) -> Tensor:
        tokens = [data.tokens[unit] for units in batch for unit in units]
        with _low_precision(self._device):
            vectors = self._encoder.embed(tokens, self._settings.batch_tokens // 2)
            definitions = self._definition_vectors(generator)
        return self._objective.loss(data, batch, vectors, definitions)

    def _definition_vectors(self, generator: np.random.Generator | None) -> Tensor:
        """Encode one text per label, and return the vectors.

        The text is drawn at random from the label's definition and rules; without a random generator, it is the
        definition.
        """
        chosen = [own[generator.integers(len(own)) if generator else 0] for own in self._definitions]
        return self._encoder.embed(chosen, self._settings.batch_tokens)

    def _validate(self) -> float:
        """Return the mean loss on the held-out papers, weighted by the number of items per batch."""
        assert self._validation is not None
        generator = np.random.default_rng(self._seed)
        items = self._objective.items(self._validation, generator)
        lengths = [len(ids) for ids in self._validation.tokens]
        self._encoder.model.eval()
        total = 0.0
        with torch.no_grad():
            for batch in cut_batches(items, lengths, self._settings.batch_tokens, generator):
                total += float(self._loss(self._validation, batch, None)) * len(batch)
        return total / max(1, len(items))

    def _weights(self) -> dict[str, Tensor]:
        return {
            name: parameter.detach() * (LORA_SCALE if name.endswith(HIGH) else 1.0)
            for name, parameter in self._trained.items()
        }

    def _snapshot(self, best: dict[str, Tensor], losses: tuple[float, ...], epochs: int) -> State:
        tensors = {f"best.{name}": tensor for name, tensor in best.items()} | {"epochs": torch.tensor(epochs)}
        tensors |= {f"parameter.{place}": parameter for place, parameter in enumerate(self._parameters)}
        for place, moments in self._optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{place}.{name}": tensor for name, tensor in moments.items()}
        return State(tensors, losses)

    def _restore(self, state: State) -> tuple[dict[str, Tensor], int]:
        optimizer = self._optimizer.state_dict()
        best = {}
        with torch.no_grad():
            for name, tensor in state.tensors.items():
                kind, _, rest = name.partition(".")
                if kind == "best":
                    best[rest] = tensor
                elif kind == "parameter":
                    self._parameters[int(rest)].copy_(tensor)
                elif kind == "optimizer":
                    place, _, moment = rest.partition(".")
                    optimizer["state"].setdefault(int(place), {})[moment] = tensor
        self._optimizer.load_state_dict(optimizer)
        return best, int(state.tensors["epochs"])


def hold_out(corpus: Corpus, share: float, generator: np.random.Generator) -> Mask:
    """Draw papers for validation: the same proportion of the relevant papers and of the irrelevant papers."""
    held_out = np.zeros(corpus.n_documents, dtype=bool)
    for kind in (0, 1):
        rows = generator.permutation(np.flatnonzero(corpus.document_targets[:, 0] == kind))
        held_out[rows[: round(share * len(rows))]] = True
    return held_out


def rate_share(progress: float) -> float:
    """Return the learning rate at a given progress as a proportion of the peak learning rate.

    The learning rate rises linearly for the first tenth of the run and then falls to zero.
    """
    return min(progress / WARM_UP, (1 - progress) / (1 - WARM_UP))


def _make_trainable(model: nn.Module, rank: int | None) -> dict[str, nn.Parameter]:
    """Return the trainable parameters by their stored names; add low-rank changes to the model if ``rank`` is set."""
    if rank is not None:
        from peft import LoraConfig, inject_adapter_in_model

        layers = [name for name, module in model.named_modules() if isinstance(module, nn.Linear) and _learns(name)]
        config = LoraConfig(r=rank, lora_alpha=int(LORA_SCALE * rank), target_modules=layers)
        inject_adapter_in_model(config, model)
    trained = {}
    for name, parameter in model.named_parameters():
        if rank is None and _learns(name):
            trained[name] = parameter
        for ending in (LOW, HIGH):
            if name.endswith(f"{ending}.default.weight"):
                trained[name.removesuffix(f"{ending}.default.weight") + ".weight" + ending] = parameter
        parameter.requires_grad_(False)
    for parameter in trained.values():
        parameter.requires_grad_(True)
    return trained


def _learns(name: str) -> bool:
    return not any(part in name for part in _LEFT_ALONE)


def _groups(trained: Mapping[str, nn.Parameter], rate: float) -> Iterator[dict[str, Any]]:
    """Yield groups of parameters with their learning rates for the optimiser; lower layers have lower rates."""
    layers = {name: int(found[1]) for name in trained if (found := _LAYER.search(name))}
    top = max(layers.values(), default=0)
    for layer in range(top + 1):
        own = [parameter for name, parameter in trained.items() if layers.get(name, top) == layer]
        if own:
            peak = rate * LAYER_DECAY ** (top - layer)
            yield {"params": own, "lr": peak, "peak": peak}


def _low_precision(device: torch.device) -> torch.autocast:
    return torch.autocast(device.type, torch.bfloat16, enabled=_has_bfloat16(device))


def _has_bfloat16(device: torch.device) -> bool:
    """Return whether a device supports bfloat16 natively; if not, emulation would be slower than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # Older versions of torch lack this function.
    able: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return device.type == "cpu" and bool(able.get("avx512_bf16") or able.get("amx_bf16"))


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed torch in this context, and restore its random state afterwards."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield
