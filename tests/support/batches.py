"""Records to tag, and the command line with a toy model.

The command line runs in the process of the test, or in a separate one that the test can kill.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

import mechtag.cli.main
import mechtag.models.model_folder
from mechtag.cli.main import main
from mechtag.core.codebook import Codebook
from mechtag.core.parquet import write_records
from mechtag.core.records import Record
from mechtag.core.settings import EncoderSettings
from mechtag.models.encoder import TransformerEncoder
from mechtag.models.features import Words, embed_codebook
from mechtag.models.model_folder import FORMAT_VERSION, EncoderConfig, Model, ModelConfig
from mechtag.models.runtimes.choice import Choice
from mechtag.models.scoring import Calibration, RelevanceHead
from mechtag.models.tagger import Document, Heads, Scored, Tagger
from tests.support.paths import ROOT
from tests.support.toy import WordEncoder

LABELS = {"apple": "apple orchard cider", "pear": "pear perry"}
CHUNK = 10
WORDS = "apple pear orchard perry cider the and of with study people garden year led care".split()


@dataclass(frozen=True)
class SlowTagger(Tagger):
    """A tagger that waits before each batch of documents, so that a test can interrupt it.

    ``TOY_SECONDS`` is the time to wait; each batch is noted in the file ``TOY_LOG``.
    """

    def tag(self, documents: Sequence[Document]) -> list[Scored]:
        time.sleep(float(os.environ.get("TOY_SECONDS", "0")))
        if log := os.environ.get("TOY_LOG"):
            with Path(log).open("a") as file:
                file.write(f"{os.getpid()} {documents[0].title}\n")
        return super().tag(documents)


def toy_model(
    folder: str | Path = "",
    codebook: Codebook | None = None,
    *,
    score_all: bool = True,
    familiar: float = -1.0,
    **_: Any,
) -> Model:
    """Return a model with random heads for the labels of ``codebook``; it replaces a model read from a folder."""
    assert codebook is not None
    rng = np.random.default_rng(5)
    labels, encoder = len(codebook.keys), WordEncoder()
    heads = Heads(
        relevance=RelevanceHead(
            direction=np.zeros(encoder.size),
            vectors=encoder.encode(WORDS).astype(np.float16),
            weights=9 * rng.normal(size=len(WORDS)),
            word_weights=np.zeros(0),
            intercept=0.0,
            familiar=familiar,
        ),
        weights=rng.normal(size=(labels, encoder.size + 1)),
        words=Words((), np.zeros(0)),
        word_weights=np.zeros((labels, 0)),
        intercept=np.zeros(labels),
    )
    third = np.full(1 + labels, 1 / 3)
    calibration = Calibration(np.ones(1 + labels), np.zeros(1 + labels), third, third, 2 * third)
    definitions = embed_codebook(codebook, encoder)
    tagger = SlowTagger(codebook, encoder, definitions, heads, calibration, score_all=score_all)
    config = ModelConfig(
        format_version=FORMAT_VERSION,
        model_id=os.environ.get("TOY_MODEL", "toy"),
        codebook=codebook,
        codebook_sha256=codebook.sha256,
        # The encoder that the default settings name.
        encoder=EncoderConfig(**EncoderSettings().model_dump(mode="json") | {"sha256": "toy", "tuned_sha256": ""}),
        seed=1,
        settings={},
        data={},
        versions={},
    )
    return Model(tagger, config, Choice("torch", "toy"), _no_reference)


def _no_reference() -> TransformerEncoder:
    raise AssertionError("the toy model has no reference encoder")


def papers(count: int) -> list[Record]:
    """Return records of which every seventh has no abstract, and every fifth repeats the abstract before it."""
    rng = np.random.default_rng(9)
    found: list[Record] = []
    for number in range(count):
        sentences = [" ".join(rng.choice(WORDS, 7)).capitalize() + "." for _ in range(rng.integers(1, 5))]
        abstract = found[-1].abstract if number % 5 == 4 else " ".join(sentences)
        found.append(
            Record(
                record_id=f"text:{count - number:06d}",
                title=f"Study {number} of {rng.choice(WORDS)}",
                abstract="" if number % 7 == 6 else abstract,
                authors=("Roe, R.", "=cmd"),
                source_file="a.ris",
                raw=(("TY", "JOUR"), ("TI", f"Study {number}"), ("X1", "kept")),
            )
        )
    return found


def project(folder: Path, count: int) -> tuple[Path, Path]:
    """Write a table of records, and settings with a small codebook; return their paths."""
    codebook = {
        "name": "fruit",
        "relevance": {"key": "edible", "definition": "The text is about fruit."},
        "labels": [{"key": key, "name": key.title(), "definition": text} for key, text in LABELS.items()],
    }
    (folder / "codebook.yaml").write_text(yaml.safe_dump(codebook), encoding="utf-8")
    params = folder / "params.yaml"
    settings = {"codebook": str(folder / "codebook.yaml"), "tag": {"chunk_records": CHUNK}}
    params.write_text(yaml.safe_dump(settings), encoding="utf-8")
    write_records(folder / "records.parquet", papers(count))
    return folder / "records.parquet", params


def start(*words: object, seconds: float = 0.0, **environment: str) -> subprocess.Popen[str]:
    """Start the command line with the toy model in a separate process."""
    given = os.environ | {"PYTHONPATH": str(ROOT), "TOY_SECONDS": str(seconds)} | environment
    return subprocess.Popen(
        [sys.executable, "-m", "tests.support.batches", *map(str, words)],
        cwd=ROOT,
        env=given,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Wait for a process to end, and return its exit status, standard output and standard error."""
    output, error = process.communicate(timeout=240)
    return process.returncode, output, error


def outputs(folder: Path) -> dict[str, bytes]:
    """Return the content of all files below a folder, by relative path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


if __name__ == "__main__":
    from tests.support import batches

    # A shell that runs the tests in the background makes its child processes ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    mechtag.models.model_folder.load_model = batches.toy_model  # type: ignore[assignment]
    main()
