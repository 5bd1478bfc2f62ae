"""An exported encoder, run by OpenVINO on the processor."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator, Sequence
from importlib import metadata
from typing import Any, Literal

import numpy as np

from models.encoder import Vectors
from models.errors import MechtagError
from models.runtimes.export import Exported

Precision = Literal["fp32", "bf16", "int8"]
PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16", "int8")
# What the processor must be able to multiply by itself. OpenVINO would take any precision and compute in another.
_NEEDS = {"fp32": "FP32", "bf16": "BF16", "int8": "INT8"}
# The arrays between two layers then stay in the processor's caches.
_BATCH_TOKENS = 1024
# Texts are cut into tokens this many at a time, while the batches before them are computed. The fewer, the more
# padding: texts are sorted by length before they are cut, but batched by tokens.
_SLICE = 4096
# To how many lengths, from one power of two to the next, texts are padded.
_LENGTHS = 16


def import_openvino() -> Any:
    """Import OpenVINO without its telemetry.

    The package reports each import and conversion to its makers unless a file in the home
    folder forbids it. Without the module that sends, it and nncf do nothing instead.

    Raises
    ------
    MechtagError
        It is not installed.
    """
    if "openvino" not in sys.modules:
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    try:
        import openvino
    except ImportError as error:
        raise MechtagError(
            f"the runtimes {', '.join(PRECISIONS)} need OpenVINO ({error}); "
            "run: pip install -c constraints.txt -e '.[fast]', or use the runtime torch"
        ) from None
    return openvino


def available_threads(threads: int) -> int:
    """Give the number of threads to compute with; 0 means one for each processor core this process may use."""
    if threads:
        return threads
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine(threads: int) -> str:
    """Name all that the speed and the results of a runtime depend on, beside the model."""
    openvino = import_openvino()
    processor = openvino.Core().get_property("CPU", "FULL_DEVICE_NAME")
    versions = [f"{package} {metadata.version(package)}" for package in ("openvino", "torch", "transformers")]
    return "; ".join([str(processor), f"{available_threads(threads)} threads", *versions])


def compile_graph(graph: Any, precision: Precision, threads: int) -> Any:
    """Compile a model for as many streams as threads, each of which computes its own batch.

    Raises
    ------
    MechtagError
        The processor does not compute in this precision.
    """
    core = import_openvino().Core()
    capabilities = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if _NEEDS[precision] not in capabilities:
        raise MechtagError(
            f"runtime {precision}: this processor has no arithmetic of that kind (it has {', '.join(capabilities)}); "
            "use the runtime auto, fp32 or torch"
        )
    settings = {
        # In int8, it is that of all that is not quantised.
        "INFERENCE_PRECISION_HINT": "bf16" if precision != "fp32" and "BF16" in capabilities else "f32",
        "INFERENCE_NUM_THREADS": available_threads(threads),
        "NUM_STREAMS": available_threads(threads),
        # Two processes on one machine would be pinned to the same cores.
        "ENABLE_CPU_PINNING": False,
    }
    return core.compile_model(graph, "CPU", settings)


class OpenVinoEncoder:
    """Fits `models.encoder.Encoder`.

    Parameters
    ----------
    exported
        See `models.runtimes.export.export`; that for ``int8`` is another than that for the others.
    threads
        How many threads compute; 0 means one for each core.
    """

    def __init__(self, exported: Exported, precision: Precision, *, threads: int = 0) -> None:
        from tokenizers import Tokenizer

        openvino = import_openvino()
        if threads:  # the tokenizer's own threads; read when it is first used
            os.environ.setdefault("RAYON_NUM_THREADS", str(threads))
        graph = openvino.Core().read_model(exported.graph, exported.weights)
        compiled = compile_graph(graph, precision, threads)
        self.precision = precision
        self._queue = openvino.AsyncInferQueue(compiled)
        self._queue.set_callback(_store)
        self._lock = threading.Lock()
        self._tokenizer = Tokenizer.from_str(exported.tokenizer)
        truncation = self._tokenizer.truncation
        assert truncation is not None  # `models.runtimes.export` has set it
        self._longest: int = truncation["max_length"]
        self._exported = exported

    @property
    def size(self) -> int:
        """Length of a vector."""
        return self._exported.size

    def tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """Cut texts into tokens, at most as many each as the encoder takes."""
        return [encoding.ids for encoding in self._tokenizer.encode_batch_fast(list(texts))]

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Give one vector a text; see `models.encoder.Encoder.encode`."""
        vectors = np.zeros((len(texts), self.size), dtype=np.float32)
        # Long texts first, so that no core waits for a long one at the end.
        order = sorted(range(len(texts)), key=lambda row: (-len(texts[row]), row))
        with self._lock:
            try:
                for start in range(0, len(order), _SLICE):
                    self._submit([texts[row] for row in order[start : start + _SLICE]], start, order, vectors)
            finally:
                self._queue.wait_all()
        return vectors

    def _submit(self, texts: list[str], start: int, order: list[int], vectors: Vectors) -> None:
        """Hand texts over in batches; waits only while all streams are busy."""
        tokens = self.tokens(texts)
        for (rows, columns), batch in shaped([len(ids) for ids in tokens], self._longest):
            ids = np.full((rows, columns), self._exported.pad, dtype=np.int64)
            mask = np.zeros_like(ids)
            mask[len(batch) :, 0] = 1  # an empty row, of which the mean could not be taken
            for row, place in enumerate(batch):
                length = len(tokens[place])
                ids[row, :length] = tokens[place]
                mask[row, :length] = 1
            self._queue.start_async({0: ids, 1: mask}, (vectors, [order[start + place] for place in batch]))


def shaped(lengths: Sequence[int], longest: int) -> Iterator[tuple[tuple[int, int], list[int]]]:
    """Cut texts into batches of few shapes, the longest texts first.

    OpenVINO keeps what it compiles for each shape that it meets, some megabytes, and never lets go
    of it. So a length is rounded up to one of `_LENGTHS` between two powers of two, 80 of them to 256
    tokens, and each length goes with one number of rows, or a power of two in the last batch.

    Parameters
    ----------
    lengths
        Of the texts in tokens.
    longest
        More tokens than that no text has, nor may have.

    Yields
    ------
    shape
        Rows and tokens. The last batch may have fewer texts than rows.
    batch : list of int
        Places of its texts in ``lengths``.
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
