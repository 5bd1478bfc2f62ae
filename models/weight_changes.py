"""What tuning changed in an encoder: as arrays, as a file, and put into the encoder again."""

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

# Endings of the two factors of a low-rank change; what stands before is the parameter's name.
LOW, HIGH = ".lora_A", ".lora_B"


def pack_tuned(arrays: Arrays) -> bytes:
    """Serialise changed weights as safetensors; none at all make a file too."""
    packed: bytes = save({name: np.ascontiguousarray(array) for name, array in arrays.items()})
    return packed


def unpack_tuned(data: bytes, place: str) -> Arrays:
    """Read what `pack_tuned` made; ``place`` names it in the error.

    Raises
    ------
    MechtagError
        The bytes are not safetensors.
    """
    try:
        arrays: Arrays = load(data)
    except SafetensorError as error:
        raise MechtagError(f"{place}: not readable as weights of an encoder: {error}; train again") from None
    return arrays


def apply_tuned(model: nn.Module, arrays: Arrays, encoder: str) -> None:
    """Put changed weights into a model.

    A whole parameter ``W`` stands under its name. A low-rank change stands as two factors,
    ``A`` of shape (rank, n_in) under ``<name>.lora_A`` and ``B`` of shape (n_out, rank)
    under ``<name>.lora_B``, and gives ``W + B A`` (Hu et al. 2022, LoRA; its scale is
    already in ``B``).

    Parameters
    ----------
    encoder
        Name of the encoder, for the error.

    Raises
    ------
    MechtagError
        A name is not in the model, a factor stands alone, or a shape does not fit.
    """
    import torch

    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name, array in arrays.items():
            target = name.removesuffix(LOW).removesuffix(HIGH)
            if target not in parameters:
                raise MechtagError(f"encoder {encoder}: tuned weights name {name}, which it does not have; train again")
            if name.endswith(HIGH) and target + LOW in arrays:
                continue  # done with the other factor
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
                    "they were made for another encoder: train again"
                )
            if target == name:
                parameters[target].copy_(torch.from_numpy(array.copy()))
            else:
                high, low = (torch.from_numpy(factor.copy()) for factor in factors)
                parameters[target].add_((high @ low).to(parameters[target].device))
