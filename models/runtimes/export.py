"""An encoder as OpenVINO reads it: made from the torch model, kept in one file, made again where that is no good."""

from __future__ import annotations

import hashlib
import io
import logging
import tempfile
import warnings
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from models.errors import MechtagError
from models.files import replacing

if TYPE_CHECKING:
    from models.encoder import TransformerEncoder

Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Exported:
    """All that is needed to encode texts without torch.

    Attributes
    ----------
    graph, weights
        OpenVINO's own format. Inputs are token ids and mask, shape (n_texts, n_tokens);
        the output is one vector of unit length a text.
    tokenizer
        JSON of the tokenizers library; it cuts texts at the encoder's limit.
    pad
        Token that fills shorter texts of a batch.
    size
        Length of a vector.
    """

    graph: bytes
    weights: bytes
    tokenizer: str
    pad: int
    size: int


def export(encoder: TransformerEncoder, calibration: Sequence[str] = ()) -> Exported:
    """Turn an encoder, tuned or not, into what OpenVINO runs.

    Parameters
    ----------
    calibration
        Where given, weights and activations are quantised to 8 bits, with ranges seen on
        these texts; large channels of activations are moved into the weights before
        (SmoothQuant, Xiao et al. 2023). One layer stays as it is, see `first_narrowing`.

    Raises
    ------
    MechtagError
        OpenVINO or nncf is not installed, or the encoder cannot be exported.
    """
    from tokenizers import Tokenizer

    from models.runtimes.openvino import import_openvino

    openvino = import_openvino()
    fast = getattr(encoder.tokenizer, "backend_tokenizer", None)
    if fast is None:
        raise MechtagError(f"encoder {encoder.source.name}: has no fast tokenizer; use the runtime torch")
    tokenizer = Tokenizer.from_str(fast.to_str())
    tokenizer.no_padding()
    tokenizer.enable_truncation(encoder.max_tokens)
    graph = _convert(openvino, encoder)
    if calibration:
        tokens = [encoding.ids for encoding in tokenizer.encode_batch(list(calibration))]
        graph = _quantise(graph, tokens)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "graph.xml"
        openvino.save_model(graph, path, compress_to_fp16=False)
        return Exported(
            graph=path.read_bytes(),
            weights=path.with_suffix(".bin").read_bytes(),
            tokenizer=tokenizer.to_str(),
            pad=int(encoder.tokenizer.pad_token_id or 0),
            size=encoder.size,
        )


def _convert(openvino: Any, encoder: TransformerEncoder) -> Any:
    import torch

    class Pooled(torch.nn.Module):
        """The transformer and what `TransformerEncoder` does with its output."""

        def __init__(self) -> None:
            super().__init__()
            self.model = encoder.with_weights({}).model.cpu()

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            hidden = self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
            mask = attention_mask.unsqueeze(-1).to(hidden.dtype)
            pooled = (hidden * mask).sum(1) / mask.sum(1).clamp(min=1)
            return torch.nn.functional.normalize(pooled, dim=1)

    # Traced with two lengths in one batch, so that masking is part of what is recorded.
    sample = {
        "input_ids": torch.ones(2, 7, dtype=torch.long),
        "attention_mask": torch.tensor([[1] * 7, [1] * 4 + [0] * 3]),
    }
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # of what tracing fixes, all holds for every batch
            return openvino.convert_model(Pooled().eval(), example_input=sample)
    except Exception as error:  # whatever class the converter, torch or the model raise
        raise MechtagError(
            f"encoder {encoder.source.name}: OpenVINO cannot convert it "
            f"({type(error).__name__}: {' '.join(str(error).split())[:200]}); use the runtime torch"
        ) from None


def first_narrowing(graph: Any) -> list[str]:
    """Name the first linear layer that gives less than it takes, in a transformer the end of its first block.

    What goes into it has a few values far larger than all others, so that a common range for
    8 bits leaves the others coarse. In float it halves the largest error of a probability, at
    no cost in time that can be told.

    Returns
    -------
    list of str
        One name; none where there is no such layer.
    """
    for node in graph.get_ordered_ops():
        if node.get_type_name() == "MatMul" and node.input(1).get_source_output().get_node().get_type_name() in (
            "Constant",
            "Convert",
        ):
            size = [int(length) for length in node.input(1).get_shape()]
            given, taken = size if node.get_attributes()["transpose_b"] else reversed(size)
            if given < taken:
                return [str(node.get_friendly_name())]
    return []


def _quantise(graph: Any, tokens: Sequence[list[int]]) -> Any:
    try:
        import nncf
        from nncf.quantization.range_estimator import RangeEstimatorParametersSet
    except ImportError as error:
        raise MechtagError(
            f"the runtime int8 needs nncf to be made ({error}); "
            "run: pip install -c constraints.txt -e '.[fast]', or use another"
        ) from None
    nncf.set_log_level(logging.ERROR)

    def inputs(ids: list[int]) -> dict[str, NDArray[np.int64]]:
        row = np.array([ids], dtype=np.int64)
        return {"input_ids": row, "attention_mask": np.ones_like(row)}

    with redirect_stdout(io.StringIO()):  # progress bars
        return nncf.quantize(
            graph,
            nncf.Dataset(tokens, inputs),
            subset_size=len(tokens),
            model_type=nncf.ModelType.TRANSFORMER,
            preset=nncf.QuantizationPreset.MIXED,
            ignored_scope=nncf.IgnoredScope(names=first_narrowing(graph)),
            # Ranges that hold every value seen: cutting off the largest, as is usual, adds a half to the largest error.
            advanced_parameters=nncf.AdvancedQuantizationParameters(
                activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX,
                # How much of the spread goes to the weights, by trial; from 0.5 to 0.95, it is the best of four.
                smooth_quant_alphas=nncf.AdvancedSmoothQuantParameters(matmul=0.85),
            ),
        )


def cached(path: Path, make: Callable[[], Exported]) -> Exported:
    """Read an export, or make and keep it; exports of the same kind for other weights are removed.

    Parameters
    ----------
    path
        ``<kind>-<hash>.safetensors``; the hash stands for all that the export depends on.

    Raises
    ------
    MechtagError
        It cannot be written; or as ``make``.
    """
    try:
        return _read(path)
    except (OSError, SafetensorError, ValueError):
        pass  # not there, or damaged: made again either way
    exported = make()
    try:
        with replacing(path) as part:
            part.write_bytes(_pack(exported))
    except OSError as error:
        raise MechtagError(
            f"{path}: the exported encoder cannot be kept here ({error.strerror or error}); "
            "give it room and the right to write there, or use the runtime torch"
        ) from None
    for other in path.parent.glob(f"{path.name.split('-')[0]}-*.safetensors"):
        if other != path:
            other.unlink(missing_ok=True)
    return exported


def _pack(exported: Exported) -> bytes:
    arrays = {
        "graph": np.frombuffer(exported.graph, np.uint8),
        "weights": np.frombuffer(exported.weights, np.uint8),
        "tokenizer": np.frombuffer(exported.tokenizer.encode(), np.uint8),
    }
    notes = {"pad": str(exported.pad), "size": str(exported.size), "sha256": _hash(*arrays.values())}
    packed: bytes = save(arrays, metadata=notes)
    return packed


def _read(path: Path) -> Exported:
    with safe_open(path, framework="numpy") as file:
        notes = file.metadata() or {}
        graph, weights, tokenizer = (file.get_tensor(name) for name in ("graph", "weights", "tokenizer"))
    if notes.get("sha256") != _hash(graph, weights, tokenizer):
        raise ValueError("altered")
    return Exported(
        graph.tobytes(), weights.tobytes(), tokenizer.tobytes().decode(), int(notes["pad"]), int(notes["size"])
    )


def _hash(*arrays: Bytes) -> str:
    found = hashlib.sha256()
    for array in arrays:
        found.update(array.data)
    return found.hexdigest()
