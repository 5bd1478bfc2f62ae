"""Define fixtures and settings for all tests."""

from __future__ import annotations

import gc
import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager

# No test may download anything; this is set before any test imports a library that reads it.
os.environ["HF_HUB_OFFLINE"] = "1"

from pathlib import Path

import pytest
from hypothesis import settings

from mechtag.core.codebook import Codebook, load_codebook
from mechtag.core.records import Record
from mechtag.models.features import Definitions, embed_codebook
from mechtag.pipeline.annotations.coded_records import Exemplar
from mechtag.pipeline.reading.ingest import Ingested, ingest
from mechtag.pipeline.tagging import prefetch
from mechtag.training.dataset import Corpus, build_corpus
from mechtag.training.finetuning.trainers import FrozenTrainer
from tests.support.exports import Reader
from tests.support.paths import ROOT
from tests.support.toy import WordEncoder, fruit_documents

# Examples have no deadline, because the machine may be busy with other work.
settings.register_profile("mechtag", deadline=None)
settings.load_profile("mechtag")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect garbage less often, which shortens the test run.

    The tests and their libraries create 700,000 objects that are never freed. Scanning these objects took half of the
    time in which pytest collects the tests, and a tenth of the time in which it runs them.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.set_threshold(10_000)
        gc.enable()


@pytest.fixture(scope="session", autouse=True)
def _no_process_for_prefetching() -> Iterator[None]:
    """Prefetch in the main process, because starting a separate process takes a second.

    The tests of the separate process import the original function before this fixture replaces it.
    """

    @contextmanager
    def inline(*_: object) -> Iterator[prefetch.Runner]:
        yield prefetch.directly

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prefetch, "prefetch", inline)
        yield


@pytest.fixture(scope="session")
def codebook() -> Codebook:
    return load_codebook(ROOT / "data/annotated/codebook.yaml")


@pytest.fixture(scope="session")
def word_encoder() -> WordEncoder:
    return WordEncoder()


@pytest.fixture(scope="session")
def fruit() -> Codebook:
    """Return a codebook with three labels; no toy paper has the last one."""
    return Codebook.model_validate(
        {
            "name": "fruit",
            "relevance": {"key": "edible", "definition": "The text is about fruit."},
            "labels": [
                {"key": "apple", "name": "Apple", "definition": "apple orchard cider", "include": ["apple pie"]},
                {"key": "pear", "name": "Pear", "definition": "pear perry"},
                {"key": "plum", "name": "Plum", "definition": "plum damson prune", "include": ["plum jam"]},
            ],
        }
    )


@pytest.fixture(scope="session")
def fruit_definitions(fruit: Codebook, word_encoder: WordEncoder) -> Definitions:
    return embed_codebook(fruit, word_encoder)


@pytest.fixture(scope="session")
def fruit_corpus(fruit: Codebook, word_encoder: WordEncoder, fruit_definitions: Definitions) -> Corpus:
    exemplars = [Exemplar(id="e1", text="apple cider again", labels=("apple",))]
    return build_corpus(fruit_documents(), exemplars, fruit.keys, word_encoder, fruit_definitions)


@pytest.fixture(scope="session")
def frozen(word_encoder: WordEncoder, fruit_definitions: Definitions) -> FrozenTrainer:
    return FrozenTrainer(word_encoder, fruit_definitions)


@pytest.fixture
def read(tmp_path: Path) -> Reader:
    """Return a function that writes content to a file, whose name does not reveal the format, and reads its records."""

    def read(content: str | bytes) -> Ingested:
        path = tmp_path / "export.txt"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        found = ingest([path])
        for record in found.records:
            # The readers create records without validating them.
            assert Record.model_validate(vars(record), strict=True) == record
            assert list(vars(record)) == list(Record.model_fields)
        return found

    return read


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Use one thread in PyTorch, because several threads slow down the small matrix products of toy models."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
