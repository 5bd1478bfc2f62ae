"""Test the script that measures how fast this machine tags records."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import bench as measuring
from benchmarks.bench import bench, main, varied
from mechtag.core.errors import MechtagError
from mechtag.core.records import Record
from mechtag.core.settings import SentenceSettings, Settings, TagSettings
from mechtag.models.model_folder import load_model
from tests.support.tuned import model_folder, settings

__all__ = ["model_folder", "settings"]  # fixtures, which pytest finds by their names here

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]
RECORDS = [
    Record(record_id=f"text:{number}", title=f"apple {number}", abstract="Pear perry. Plum jam.") for number in range(4)
]


@pytest.fixture(autouse=True)
def small_matrices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.peak._SIDE", 128)


@pytest.mark.parametrize("runtime", ["torch", "fp32"])
def test_metrics_are_consistent(runtime: str, model_folder: Path) -> None:
    model = load_model(model_folder, runtime=runtime)  # type: ignore[arg-type]
    found = bench(model, RECORDS, SentenceSettings(), TagSettings(threads=1), repeats=1)
    assert (found.runtime, found.records) == (runtime, 4)
    assert found.sentences == 6  # four titles, and two sentences that all abstracts share
    lengths = [
        len(ids) for ids in model.reference().tokens([*(row.title for row in RECORDS), "Pear perry.", "Plum jam."])
    ]
    assert found.tokens == sum(lengths)
    work = measuring.encoder_work(model.reference(), lengths)
    assert found.share == pytest.approx(work * found.tokens_per_second / found.tokens / found.peak)
    assert 0 < found.splitting < 1
    assert found.records_per_second > 0
    assert 50 < found.megabytes < 50_000


def test_an_empty_set_of_records_is_reported(model_folder: Path) -> None:
    with pytest.raises(MechtagError, match="the sources contain no records"):
        bench(load_model(model_folder), [], SentenceSettings(), TagSettings())


def test_generated_records_differ_and_are_the_same_each_time() -> None:
    base = [Record(record_id="text:a", title="A title", abstract=" ".join(map(str, range(200))))]
    found = list(varied(base, 5, np.random.default_rng(0)))
    assert len({record.record_id for record in found}) == len({record.abstract for record in found}) == 5
    assert all(150 < len(record.abstract.split()) < 200 for record in found)
    assert found == list(varied(base, 5, np.random.default_rng(0)))


def test_script_measures_the_coded_records_or_an_export(
    model_folder: Path, settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    params = tmp_path / "params.yaml"
    named = {"codebook": str(settings.codebook), "train": {"records": str(settings.train.records)}}
    params.write_text(json.dumps(named))
    (tmp_path / "one.ris").write_text("TY  - JOUR\nTI  - apple cider\nAB  - Pear perry. Plum jam.\nER  - \n")
    shared = [f"--model={model_folder}", f"--project={tmp_path}", "--repeats=1", "--threads=1"]
    main(["--records=7", "--json", "--runtime=fp32", *shared])
    printed = capsys.readouterr()
    assert printed.err == "runtime fp32: as requested\n"
    assert json.loads(printed.out)["records"] == 7
    main([str(tmp_path / "one.ris"), *shared])
    printed = capsys.readouterr()
    assert printed.out.startswith("1 records, 3 different sentences and titles, ")
    assert "of the matrix peak:" in printed.out
