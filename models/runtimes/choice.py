"""Choose the runtime of the encoder: the requested runtime, or the fastest runtime whose results agree with torch."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, cached_property
from importlib import metadata
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from mechtag.core.errors import MechtagError
from mechtag.core.files import replacing
from mechtag.models.encoder import Encoder, TransformerEncoder
from mechtag.models.runtimes.openvino_encoder import (
    OpenVinoEncoder,
    Precision,
    cached,
    export,
    import_openvino,
    machine,
)
from mechtag.models.scoring import CLOSE
from mechtag.models.tagger import Document, Scored, Tagger

Runtime = Literal["auto", "torch", "fp32", "bf16", "int8"]
RUNTIMES: tuple[Runtime, ...] = get_args(Runtime)
MakeTagger = Callable[[Encoder, Callable[[], Encoder] | None], Tagger]
# Limits for `auto`: the largest difference from a reference probability, and the proportion of changed decisions.
TOLERANCE: dict[Precision, float] = {"fp32": 0.001, "bf16": 0.02, "int8": CLOSE}
CHANGED = 0.005
# Version of the export procedure; increase it when the procedure changes.
_VERSION = 2
# Number of made-up texts, and number of terms in each. A sentence of an abstract has about 25 words.
_MADE_UP, _TERMS = 320, 14
_UNITS = 8


def made_up_texts(terms: Sequence[str], known: Sequence[str], seed: int) -> list[str]:
    """Return artificial texts for testing runtimes; each text consists of terms of the model in random order.

    Real sentences cannot be used, because a model folder does not contain any.

    Parameters
    ----------
    terms
        The model's words and word pairs.
    known
        Texts of the codebook, which are returned unchanged before the artificial texts.
    """
    order = np.random.default_rng(seed).permutation(len(terms))[: _MADE_UP * _TERMS]
    rows = (order[start : start + _TERMS] for start in range(0, len(order), _TERMS))
    return [*known, *(" ".join(terms[place] for place in row).capitalize() + "." for row in rows)]


@dataclass(frozen=True)
class Agreement:
    """Difference between the results of two runtimes for the same documents.

    Attributes
    ----------
    difference
        Largest difference between the probabilities that the two runtimes return for a label of a document.
    changed
        Proportion of decisions that differ.
    """

    difference: float
    changed: float


def measure_agreement(reference: Sequence[Scored], other: Sequence[Scored]) -> Agreement:
    """Compare the results of two runtimes for the same documents; there must be at least one document."""
    difference = max(
        float(np.abs(one.probabilities - two.probabilities).max()) for one, two in zip(reference, other, strict=True)
    )
    pairs = [
        one != two
        for first, second in zip(reference, other, strict=True)
        for one, two in zip(first.decisions, second.decisions, strict=True)
    ]
    return Agreement(difference, sum(pairs) / len(pairs))


@dataclass(frozen=True)
class Choice:
    """A runtime, and a one-line reason for choosing it."""

    runtime: Runtime
    reason: str


class Runtimes:
    """Loads the encoder of one model in any runtime, and chooses the fastest runtime that is precise enough.

    Parameters
    ----------
    folder
        Folder in which exported encoders are stored.
    identity
        Text that changes whenever the encoder's vectors can change. The names of exported encoders depend on this text.
    reference
        Function that loads the encoder in torch; it is called only if torch is needed.
    calibration
        Texts for calibrating the runtime ``int8``; see `made_up_texts`.
    threads
        Number of threads; ``0`` means one per core.
    """

    def __init__(
        self,
        folder: Path,
        identity: str,
        reference: Callable[[], TransformerEncoder],
        calibration: Sequence[str],
        threads: int = 0,
    ) -> None:
        self._folder = folder
        self._identity = identity
        self._load = reference
        self._calibration = calibration
        self._threads = threads

    def reference(self) -> TransformerEncoder:
        """Return the encoder that runs in torch; the first call loads the encoder."""
        return self._reference

    @cached_property
    def _reference(self) -> TransformerEncoder:
        import torch

        if self._threads:
            torch.set_num_threads(self._threads)
        return self._load()

    def encoder(self, runtime: Runtime) -> Encoder:
        """Return the encoder in a runtime other than ``auto``.

        Raises
        ------
        MechtagError
            If the runtime is unknown, a library is not installed, the processor does not support the
            precision, or the encoder cannot be exported.
        """
        if runtime == "torch":
            return self.reference()
        if runtime not in TOLERANCE:
            raise MechtagError(f"the runtime {runtime!r} is not known; choose one of: {', '.join(RUNTIMES)}")
        import_openvino()
        calibration = self._calibration if runtime == "int8" else ()
        made_by = [f"openvino {metadata.version('openvino')}"]
        text = json.dumps([_VERSION, self._identity, made_by, list(calibration)])
        name = f"{'int8' if calibration else 'float'}-{hashlib.sha256(text.encode()).hexdigest()[:16]}.safetensors"
        exported = cached(self._folder / name, lambda: export(self.reference(), calibration))
        return OpenVinoEncoder(exported, runtime, threads=self._threads)

    def finer(self, runtime: Runtime) -> Callable[[], Encoder] | None:
        """Return a function that loads a more precise encoder, if ``runtime`` is ``int8``; otherwise, return ``None``.

        For the use of the more precise encoder, see ``finer`` in `Tagger`.
        """
        return cache(self._finer) if runtime == "int8" else None

    def _finer(self) -> Encoder:
        try:
            return self.encoder("bf16")
        except MechtagError:  # An older processor does not support it.
            return self.encoder("fp32")

    def choose(self, tagger: MakeTagger, texts: Sequence[str]) -> Choice:
        """Choose the fastest of the runtimes whose results on ``texts`` agree with those of torch.

        The choice is cached for this model, machine and number of threads.

        Parameters
        ----------
        tagger
            Function that makes a tagger. Its first argument is an encoder. Its second argument is a function that loads
            a more precise encoder, or ``None``; see ``finer`` in `Tagger`.
        """
        try:
            where = machine(self._threads)
        except MechtagError as error:
            return Choice("torch", f"torch: {error}")
        key = hashlib.sha256(f"{_VERSION} {self._identity} {where}".encode()).hexdigest()
        path = self._folder / "auto.json"
        kept = _kept(path, key)
        if kept:
            return kept
        choice = self._measure(tagger, texts)
        try:
            with replacing(path) as part:
                part.write_text(json.dumps({"key": key, **asdict(choice)}, indent=2) + "\n", encoding="utf-8")
        except OSError:
            pass  # measured again next time
        return choice

    def _measure(self, tagger: MakeTagger, texts: Sequence[str]) -> Choice:
        documents = [
            Document(texts[start], tuple(texts[start + 1 : start + _UNITS])) for start in range(0, len(texts), _UNITS)
        ]
        reference = self.reference()
        expected, slowest = tagger(reference, None).tag(documents), _seconds(reference, texts)
        best = Choice("torch", "torch: the fastest on this machine")
        fastest, refused = slowest, []
        for precision, tolerance in TOLERANCE.items():
            try:
                encoder = self.encoder(precision)
                found = measure_agreement(expected, tagger(encoder, None).tag(documents))
                if finer := self.finer(precision):
                    again = measure_agreement(expected, tagger(encoder, finer).tag(documents))
                    found = replace(found, changed=again.changed)
                seconds = _seconds(encoder, texts)
            except MechtagError as error:
                refused.append(str(error))
                continue
            change = (
                f"probabilities differ by at most {found.difference:.3f} and {found.changed:.1%} of decisions change"
            )
            if found.difference > tolerance or found.changed > CHANGED:
                refused.append(f"{precision} is not precise enough: {change}")
            elif seconds < fastest:
                fastest = seconds
                speed = f"{slowest / seconds:.1f} times as fast as torch on this machine"
                best = Choice(precision, f"{precision}: {speed}; in a check on {len(texts)} texts, {change}")
        return Choice(best.runtime, "; ".join([best.reason, *refused]))


def _kept(path: Path, key: str) -> Choice | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["key"] == key and found["runtime"] in RUNTIMES:
            return Choice(found["runtime"], str(found["reason"]))
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        pass  # missing or damaged: measured again in either case
    return None


def _seconds(encoder: Encoder, texts: Sequence[str]) -> float:
    """Encode texts twice, and return the shorter time in seconds."""
    # Tagging is not timed as a whole: it encodes texts near a decision bound again, with a more precise encoder,
    # and artificial texts are often near a bound.
    times = []
    for _ in range(2):
        begun = time.perf_counter()
        encoder.encode(texts)
        times.append(time.perf_counter() - begun)
    return min(times)
