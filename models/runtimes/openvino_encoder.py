"""Export the encoder from torch to OpenVINO, cache it in one file, and run it on the CPU."""

from __future__ import annotations

import hashlib
import io
import logging
import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from mechtag.core.errors import MechtagError
from mechtag.core.files import replacing
from mechtag.core.temporary import temporary_folder
from mechtag.models.encoder import Vectors

if TYPE_CHECKING:
    from mechtag.models.encoder import TransformerEncoder


Precision = Literal["fp32", "bf16", "int8"]
PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16", "int8")
# Precision that the processor must support natively; OpenVINO silently computes in another if it does not.
_NEEDS = {"fp32": "FP32", "bf16": "BF16", "int8": "INT8"}
# At this size, the arrays between two layers fit into the processor's caches.
_BATCH_TOKENS = 1024
# Number of texts that are tokenised at a time, while earlier batches are computed. A lower number causes more
# padding, because texts are sorted by number of characters before tokenising but batched by number of tokens.
_SLICE = 4096
# Number of padded lengths from one power of two to the next.
_LENGTHS = 16


def import_openvino() -> Any:
    """Import OpenVINO with its telemetry disabled.

    By default, OpenVINO reports each import and conversion to its vendor. This function blocks OpenVINO's telemetry
    module, so that OpenVINO and nncf send nothing.

    Raises
    ------
    MechtagError
        If OpenVINO is not installed.
    """
    if "openvino" not in sys.modules:
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    try:
        import openvino
    except ImportError as error:
        raise MechtagError(
            f"the runtimes {', '.join(map(repr, PRECISIONS))} need OpenVINO, which cannot be imported ({error}); "
            "run: pip install -c constraints.txt -e '.[fast]', or use the 'torch' runtime"
        ) from None
    return openvino


def available_threads(threads: int) -> int:
    """Return the number of threads to use; if ``threads`` is ``0``, the number of cores available to this process."""
    if threads:
        return threads
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine(threads: int) -> str:
    """Return a text that names the processor, the number of threads and the versions of libraries.

    For one model, a runtime has the same speed and results wherever this text is the same.
    """
    openvino = import_openvino()
    processor = openvino.Core().get_property("CPU", "FULL_DEVICE_NAME")
    versions = [f"{package} {metadata.version(package)}" for package in ("openvino", "torch", "transformers")]
    return "; ".join([str(processor), f"{available_threads(threads)} threads", *versions])


def compile_graph(graph: Any, precision: Precision, threads: int) -> Any:
    """Compile an OpenVINO graph with one stream per thread; each stream computes its own batch.

    Raises
    ------
    MechtagError
        If the processor does not support the precision.
    """
    core = import_openvino().Core()
    capabilities = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if _NEEDS[precision] not in capabilities:
        raise MechtagError(
            f"this processor does not support the runtime '{precision}' (it supports {', '.join(capabilities)}); "
            "use the runtime 'auto', 'fp32' or 'torch'"
        )
    settings = {
        # For int8, this is the precision of all layers that are not quantised.
        "INFERENCE_PRECISION_HINT": "bf16" if precision != "fp32" and "BF16" in capabilities else "f32",
        "INFERENCE_NUM_THREADS": available_threads(threads),
        "NUM_STREAMS": available_threads(threads),
        # Pinning would put two processes on one machine on the same cores.
        "ENABLE_CPU_PINNING": False,
    }
    return core.compile_model(graph, "CPU", settings)


class OpenVinoEncoder:
    """An `encoder.Encoder` that runs in OpenVINO.

    Parameters
    ----------
    exported
        Encoder exported by `export`. The precision ``int8`` needs a different export than the other precisions.
    threads
        Number of threads; ``0`` means one per core.
    """

    def __init__(self, exported: Exported, precision: Precision, *, threads: int = 0) -> None:
        from tokenizers import Tokenizer

        openvino = import_openvino()
        if threads:  # the tokenizer's own threads; read on its first use
            os.environ.setdefault("RAYON_NUM_THREADS", str(threads))
        graph = openvino.Core().read_model(exported.graph, exported.weights)
        compiled = compile_graph(graph, precision, threads)
        self.precision = precision
        self._queue = openvino.AsyncInferQueue(compiled)
        self._queue.set_callback(_store)
        self._lock = threading.Lock()
        self._tokenizer = Tokenizer.from_str(exported.tokenizer)
        truncation = self._tokenizer.truncation
        assert truncation is not None  # set by `export`
        self._longest: int = truncation["max_length"]
        self._exported = exported

    @property
    def size(self) -> int:
        """Return the number of elements of each vector."""
        return self._exported.size

    def tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the token ids of each text, truncated to the encoder's limit."""
        return [encoding.ids for encoding in self._tokenizer.encode_batch_fast(list(texts))]

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Return one vector per text; see `mechtag.models.encoder.Encoder.encode`."""
        vectors = np.zeros((len(texts), self.size), dtype=np.float32)
        # Long texts first, so that no core waits for a long text at the end.
        order = sorted(range(len(texts)), key=lambda row: (-len(texts[row]), row))
        with self._lock:
            try:
                for start in range(0, len(order), _SLICE):
                    self._submit([texts[row] for row in order[start : start + _SLICE]], start, order, vectors)
            finally:
                self._queue.wait_all()
        return vectors

    def _submit(self, texts: list[str], start: int, order: list[int], vectors: Vectors) -> None:
        """Submit texts to OpenVINO; the vector of text ``i`` is later written to ``vectors[order[start + i]]``."""
        tokens = self.tokens(texts)
        for (rows, columns), batch in shaped([len(ids) for ids in tokens], self._longest):
            ids = np.full((rows, columns), self._exported.pad, dtype=np.int64)
            mask = np.zeros_like(ids)
            mask[len(batch) :, 0] = 1  # an empty row, which has no mean
            for row, place in enumerate(batch):
                length = len(tokens[place])
                ids[row, :length] = tokens[place]
                mask[row, :length] = 1
            # This waits only if all streams are busy.
            self._queue.start_async({0: ids, 1: mask}, (vectors, [order[start + place] for place in batch]))


def shaped(lengths: Sequence[int], longest: int) -> Iterator[tuple[tuple[int, int], list[int]]]:
    """Group texts into batches of few different shapes, the longest texts first.

    For each shape, OpenVINO compiles a kernel of several megabytes, and never frees it. Therefore, texts are padded to
    few different lengths, and all batches of one length have the same number of rows. Only the very last batch differs:
    its number of rows is a power of two.

    Parameters
    ----------
    lengths
        Lengths of the texts in tokens.
    longest
        Maximum number of tokens in a text.

    Yields
    ------
    shape
        Number of rows and number of tokens. The last batch may have fewer texts than rows.
    batch : list of int
        Positions in ``lengths`` of the texts in the batch.
    """
    order = sorted(range(len(lengths)), key=lambda place: (-lengths[place], place))
    start = 0
    while start < len(order):
        length = lengths[order[start]]
        step = max(1, (1 << length.bit_length()) // (2 * _LENGTHS))
        columns = min(-(-length // step) * step, longest)
        batch = order[start : start + max(1, _BATCH_TOKENS // columns)]
        start += len(batch)
        rows = len(batch) if start < len(order) else 1 << (len(batch) - 1).bit_length()
        yield (rows, columns), batch


def _store(request: Any, target: tuple[Vectors, list[int]]) -> None:
    vectors, rows = target
    vectors[rows] = request.get_output_tensor().data[: len(rows)]


Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Exported:
    """An encoder exported for use without torch.

    Attributes
    ----------
    graph, weights
        Model and weights in OpenVINO's own format. The inputs are token ids and mask, each of shape (n_texts,
        n_tokens). The output is one vector of unit length per text.
    tokenizer
        Tokenizer in the JSON format of the tokenizers library. The tokenizer truncates texts at the encoder's limit.
    pad
        Id of the padding token.
    size
        Number of elements of each vector.
    """

    graph: bytes
    weights: bytes
    tokenizer: str
    pad: int
    size: int


def export(encoder: TransformerEncoder, calibration: Sequence[str] = ()) -> Exported:
    """Export an encoder for OpenVINO; the encoder may be fine-tuned.

    Parameters
    ----------
    calibration
        Texts on which the ranges of activations are measured, for quantisation to 8 bits (``int8``). Without texts,
        the encoder is not quantised. Before quantisation, SmoothQuant (Xiao et al. 2023) is applied. One layer is not
        quantised; see `first_narrowing`.

    Raises
    ------
    MechtagError
        If OpenVINO or nncf is not installed, or the encoder cannot be exported.
    """
    from tokenizers import Tokenizer

    openvino = import_openvino()
    fast = getattr(encoder.tokenizer, "backend_tokenizer", None)
    if fast is None:
        raise MechtagError(f"encoder {encoder.source.name}: the encoder has no fast tokenizer; use the 'torch' runtime")
    tokenizer = Tokenizer.from_str(fast.to_str())
    tokenizer.no_padding()
    tokenizer.enable_truncation(encoder.max_tokens)
    graph = _convert(openvino, encoder)
    if calibration:
        tokens = [encoding.ids for encoding in tokenizer.encode_batch(list(calibration))]
        graph = _quantise(graph, tokens)
    with temporary_folder() as folder:
        path = folder / "graph.xml"
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
        """A torch module: the transformer, followed by the pooling and normalisation of `TransformerEncoder`."""

        def __init__(self) -> None:
            super().__init__()
            self.model = encoder.with_weights({}).model.cpu()

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            hidden = self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
            mask = attention_mask.unsqueeze(-1).to(hidden.dtype)
            pooled = (hidden * mask).sum(1) / mask.sum(1).clamp(min=1)
            return torch.nn.functional.normalize(pooled, dim=1)

    # Trace with two lengths in one batch, so that the trace includes masking.
    sample = {
        "input_ids": torch.ones(2, 7, dtype=torch.long),
        "attention_mask": torch.tensor([[1] * 7, [1] * 4 + [0] * 3]),
    }
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # tracing warns about constants, but these are the same for every batch
            return openvino.convert_model(Pooled().eval(), example_input=sample)
    except Exception as error:  # the converter, torch and the model raise errors of unrelated classes
        raise MechtagError(
            f"encoder {encoder.source.name}: OpenVINO cannot convert the encoder "
            f"({type(error).__name__}: {' '.join(str(error).split())[:200]}); use the 'torch' runtime"
        ) from None


def first_narrowing(graph: Any) -> list[str]:
    """Find the first linear layer with fewer outputs than inputs, which is at the end of the first transformer block.

    This layer should not be quantised. A few of its input values are so large that 8 bits would represent all other
    values coarsely. Leaving it unquantised halves the largest error of a probability, and costs no measurable time.

    Returns
    -------
    list of str
        Name of the layer; empty if there is no such layer.
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
            f"exporting the encoder for the runtime 'int8' needs nncf, which cannot be imported ({error}); "
            "run: pip install -c constraints.txt -e '.[fast]', or use a different runtime"
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
            # Use the full range of observed values: the usual clipping increases the largest error by half.
            advanced_parameters=nncf.AdvancedQuantizationParameters(
                activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX,
                # Proportion of the spread moved to the weights; the best of four values tried between 0.5 and 0.95.
                smooth_quant_alphas=nncf.AdvancedSmoothQuantParameters(matmul=0.85),
            ),
        )


def cached(path: Path, make: Callable[[], Exported]) -> Exported:
    """Return the exported encoder that is cached at ``path``.

    If the file is missing or damaged, ``make`` is called, and its result is written to ``path``. Other files in the
    folder with the same ``<kind>`` are then deleted.

    Parameters
    ----------
    path
        File named ``<kind>-<hash>.safetensors``. The hash covers everything that the exported encoder depends on.
    make
        Function that exports the encoder.

    Raises
    ------
    MechtagError
        If the exported encoder cannot be written. Errors raised by ``make`` are passed on unchanged.
    """
    try:
        return _read(path)
    except (OSError, SafetensorError, ValueError):
        pass  # missing or damaged: created again in either case
    exported = make()
    try:
        with replacing(path) as part:
            part.write_bytes(_pack(exported))
    except OSError as error:
        raise MechtagError(
            f"{path}: the exported encoder cannot be written ({error.strerror or error}); "
            "free disk space, make the folder writable, or use the 'torch' runtime"
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
