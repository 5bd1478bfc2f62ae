"""Weights that fine-tuning changed in an encoder: save, load and apply them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from mechtag.core.errors import MechtagError

if TYPE_CHECKING:
    from torch import nn

Arrays = Mapping[str, NDArray[np.float32]]

# Suffixes, after the parameter's name, of the two factors of a low-rank change.
LOW, HIGH = ".lora_A", ".lora_B"


def pack_tuned(arrays: Arrays) -> bytes:
    """Serialise changed weights as safetensors, also if there are none."""
    packed: bytes = save({name: np.ascontiguousarray(array) for name, array in arrays.items()})
    return packed


def unpack_tuned(data: bytes, place: str) -> Arrays:
    """Deserialise the bytes of `pack_tuned`; ``place`` is the source named in the error.

    Raises
    ------
    MechtagError
        The bytes are not safetensors.
    """
    try:
        arrays: Arrays = load(data)
    except SafetensorError as error:
        raise MechtagError(f"{place}: not readable as encoder weights: {error}; train again") from None
    return arrays


def apply_tuned(model: nn.Module, arrays: Arrays, encoder: str) -> None:
    """Apply changed weights to a model in place.

    A whole parameter ``W`` is stored under its name. A low-rank change is stored as two factors,
    ``A`` of shape (rank, n_in) under ``<name>.lora_A`` and ``B`` of shape (n_out, rank)
    under ``<name>.lora_B``, and yields ``W + B A`` (Hu et al. 2022, LoRA; ``B`` includes the scale).

    Parameters
    ----------
    encoder
        Name of the encoder in error messages.

    Raises
    ------
    MechtagError
        A name is not in the model, one factor of a pair is missing, or a shape does not fit.
    """
    import torch

    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name, array in arrays.items():
            target = name.removesuffix(LOW).removesuffix(HIGH)
            if target not in parameters:
                raise MechtagError(
                    f"encoder {encoder}: it has no parameter {name}, which the tuned weights change; train again"
                )
            if name.endswith(HIGH) and target + LOW in arrays:
                continue  # applied together with the other factor
            found = tuple(array.shape)
            if target != name:
                factors = [arrays.get(target + ending, np.zeros((0, 0), np.float32)) for ending in (HIGH, LOW)]
                found = (factors[0].shape[0], factors[1].shape[-1])
                if factors[0].shape[-1] != factors[1].shape[0]:
                    found = ()
            expected = tuple(parameters[target].shape)
            if found != expected:
                raise MechtagError(
                    f"encoder {encoder}: tuned weights of {target} have shape {found}, expected {expected}; "
                    "they belong to another encoder: train again"
                )
            if target == name:
                parameters[target].copy_(torch.from_numpy(array.copy()))
            else:
                high, low = (torch.from_numpy(factor.copy()) for factor in factors)
                parameters[target].add_((high @ low).to(parameters[target].device))
