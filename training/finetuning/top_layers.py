"""Encode texts with an encoder whose top layers have trainable low-rank changes.

The hidden states that the top layers receive as input are computed once per text.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.rnn import pad_sequence

from mechtag.core.errors import MechtagError
from mechtag.models.encoder import HIGH, LOW, Arrays, TransformerEncoder, Vectors, in_batches, pool_tokens


class States:
    """Hidden states that the top layers of an encoder receive as input; they are computed once per text.

    The states are kept in memory in half precision: 2 bytes per element and token. For an encoder with 384 elements,
    this is 0.8 kB per token.

    Parameters
    ----------
    layers
        Number of top layers. If the encoder has fewer layers, all its layers are top layers.
    """

    def __init__(self, encoder: TransformerEncoder, layers: int) -> None:
        self.encoder = encoder
        self.layers = min(layers, encoder.model.config.num_hidden_layers)
        self._found: dict[str, Tensor] = {}

    def of(self, texts: Sequence[str]) -> list[Tensor]:
        """Return the hidden states of each text, shape (n_tokens, size)."""
        new = [text for text in dict.fromkeys(texts) if text not in self._found]
        self._found.update(zip(new, self.encoder.hidden_states(new, self.layers), strict=True))
        return [self._found[text] for text in texts]


class TopLayers:
    """The top layers of an encoder, with low-rank changes of their weights.

    This class implements `Encoder`.

    Parameters
    ----------
    states
        Hidden states that the top layers receive as input.
    rank
        Rank of the change of each weight matrix. The changes are zero before training.

    Attributes
    ----------
    model
        Copy of the encoder's model that contains only the top layers.
    trained
        Trainable factors of the changes, keyed by their names in a model folder; see `encoder.apply_tuned`.

    Raises
    ------
    MechtagError
        If the encoder's model does not consist of embeddings followed by a list of layers.
    """

    def __init__(self, states: States, rank: int) -> None:
        self._states = states
        self.model = copy.deepcopy(states.encoder.model)
        names = {module: name for name, module in self.model.named_modules()}
        depth = self.model.config.num_hidden_layers
        stacks = [module for module in names if isinstance(module, nn.ModuleList) and len(module) == depth]
        if len(stacks) != 1 or not hasattr(self.model, "embeddings"):
            raise MechtagError(
                f"encoder {states.encoder.source.name}: the top layers of {type(self.model).__name__} cannot be "
                "fine-tuned separately; use a different encoder, or set train.trainer to 'frozen'"
            )
        self.trained: dict[str, nn.Parameter] = {}
        for module in list(stacks[0][-states.layers :].modules()):
            if isinstance(module, nn.Linear):
                change = _LowRank(module.weight, rank)
                parametrize.register_parametrization(module, "weight", change)
                name = f"{names[module]}.weight"
                self.trained |= {name + LOW: change.low, name + HIGH: change.high}
        del stacks[0][: -states.layers]
        self.model.embeddings = _Given()

    @property
    def size(self) -> int:
        """Return the number of elements of each vector."""
        return self._states.encoder.size

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Return one vector per text; see `Encoder.encode`."""
        with torch.inference_mode():
            self.model.eval()
            vectors: Vectors = self.embed(self._states.of(texts)).cpu().numpy()
        return vectors

    def embed(self, states: Sequence[Tensor]) -> Tensor:
        """Return a tensor of shape (n_texts, size): one vector per text, computed from its hidden states."""
        return in_batches(self._embed, states, self._states.encoder.batch_tokens)

    def _embed(self, states: list[Tensor]) -> Tensor:
        device = self.model.device
        hidden = pad_sequence([state.to(device, torch.float32) for state in states], batch_first=True)
        mask = pad_sequence([torch.ones(len(state), dtype=torch.long, device=device) for state in states], True)
        return pool_tokens(self.model(inputs_embeds=hidden, attention_mask=mask).last_hidden_state, mask)

    def arrays(self) -> Arrays:
        """Return the factors of the low-rank changes in half precision, as a model folder stores them."""
        return {name: factor.detach().half().cpu().numpy() for name, factor in self.trained.items()}

    def load(self, arrays: Arrays) -> None:
        """Set the factors of the low-rank changes to ``arrays``, an earlier result of the method `arrays`."""
        with torch.no_grad():
            for name, factor in self.trained.items():
                factor.copy_(torch.from_numpy(arrays[name]))


class _LowRank(nn.Module):
    """Adds the product of two small trained matrices to a weight matrix."""

    def __init__(self, weight: Tensor, rank: int) -> None:
        super().__init__()
        n_out, n_in = weight.shape
        self.low = nn.Parameter(torch.randn(rank, n_in, device=weight.device) / n_in**0.5)
        # Zero, so that the weight matrix is unchanged before training.
        self.high = nn.Parameter(torch.zeros(n_out, rank, device=weight.device))

    def forward(self, weight: Tensor) -> Tensor:
        return weight + self.high @ self.low


class _Given(nn.Module):
    """An embedding layer that returns its input ``inputs_embeds``, which already consists of hidden states."""

    def forward(self, *_: Any, inputs_embeds: Tensor, **__: Any) -> Tensor:
        return inputs_embeds
