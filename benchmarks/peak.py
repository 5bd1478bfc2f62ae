"""Measure the peak throughput of this machine, to compare the speed of the encoder with it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mechtag.core.errors import MechtagError
from mechtag.models.encoder import TransformerEncoder
from mechtag.models.runtimes.choice import Runtime
from mechtag.models.runtimes.openvino_encoder import PRECISIONS, available_threads, compile_graph, import_openvino

# Rows and columns of the matrices: too large for the caches, so that blocking is what counts.
_SIDE = 2048
_PRODUCTS, _ROUNDS = 4, 5


def matrix_peak(runtime: Runtime, threads: int = 0) -> float:
    """Multiply large matrices with an encoder runtime, and return the number of operations per second.

    An operation is an addition or a multiplication in the number format of the runtime. The best of several rounds is
    returned, because other programs can only slow the machine down.

    Raises
    ------
    MechtagError
        If the runtime needs OpenVINO and it is not installed, or if the processor does not support the runtime.
    """
    products, run = _openvino(runtime, threads) if runtime in PRECISIONS else _torch(threads)
    run()
    times = []
    for _ in range(_ROUNDS):
        begun = time.perf_counter()
        run()
        times.append(time.perf_counter() - begun)
    return products * 2 * _SIDE**3 / min(times)


def _torch(threads: int) -> tuple[int, Callable[[], None]]:
    import torch

    torch.set_num_threads(available_threads(threads))
    generator = torch.Generator().manual_seed(0)
    one, other = (torch.randn(_SIDE, _SIDE, generator=generator) for _ in range(2))

    def run() -> None:
        with torch.inference_mode():
            for _ in range(_PRODUCTS):
                one @ other

    return _PRODUCTS, run


def _openvino(runtime: Any, threads: int) -> tuple[int, Callable[[], None]]:
    openvino = import_openvino()
    from openvino import opset13 as ops

    generator = np.random.default_rng(0)
    one, other = (generator.standard_normal((_SIDE, _SIDE), dtype=np.float32) for _ in range(2))
    given = ops.parameter([-1, _SIDE], np.float32)
    left, right = given, ops.constant(other)
    if runtime == "int8":
        low, high = np.float32(-5), np.float32(5)
        left = ops.fake_quantize(left, low, high, low, high, 256)
        right = ops.fake_quantize(right, low, high, low, high, 255)
    # Only the largest element is returned, so that copying the product is not measured.
    largest = ops.reduce_max(ops.matmul(left, right, False, True), ops.constant([0, 1]), False)
    queue = openvino.AsyncInferQueue(compile_graph(openvino.Model([largest], [given]), runtime, threads))
    products = _PRODUCTS * len(queue)

    def run() -> None:
        for _ in range(products):
            queue.start_async({0: one})
        queue.wait_all()

    return products, run


def encoder_work(encoder: TransformerEncoder, lengths: Sequence[int]) -> float:
    """Count the operations in an encoder's matrix products for texts of the given lengths in tokens, without padding.

    The count covers the products in the linear layers and, in each attention layer, the products of queries with keys
    and of attention weights with values.

    Raises
    ------
    MechtagError
        If the configuration of the model does not contain the number and the width of the layers.
    """
    config = encoder.model.config
    layers, width = (getattr(config, name, None) for name in ("num_hidden_layers", "hidden_size"))
    if not layers or not width:
        raise MechtagError(
            f"encoder {encoder.source.name}: the number of operations cannot be computed, because "
            "the configuration of the model lacks num_hidden_layers or hidden_size; measure a different encoder"
        )
    import torch

    linear = sum(
        layer.weight.numel()
        for name, layer in encoder.model.named_modules()
        if isinstance(layer, torch.nn.Linear) and "pooler" not in name
    )
    tokens = np.asarray(lengths, dtype=np.float64)
    return float(2 * linear * tokens.sum() + 4 * layers * width * (tokens**2).sum())
