"""Test the commands in data/README.md that measure accuracy on published abstracts."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mechtag.core.codebook import load_codebook
from mechtag.core.parquet import read_predictions, read_records
from mechtag.core.settings import Settings
from mechtag.training.train import save_model, train
from tests.support.paths import ROOT

# Three gold papers: one with its DOI as a URL, one without a DOI and with its title in capitals, and one without a
# synopsis.
FOUND = {
    "aitken-2014": ("https://doi.org/10.1108/lhs-08-2012-0028", "Organisational and leadership competencies"),
    "best-2017": ("", "FACILITATING INTEGRATED DELIVERY OF SERVICES ACROSS ORGANISATIONAL BOUNDARIES"),
    "scragg-2006": ("10.1108/14769018200600023", "An Evaluation of Integrated Team Management."),
}


def exported(key: str, doi: str, title: str) -> str:
    """Return a gold record in RIS format, with an invented abstract in place of the published one."""
    rows = [
        json.loads(line) for line in (ROOT / "data/raw/gold_records.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    row = next(row for row in rows if row["key"] == key)
    if not doi:
        title = row["title"].upper()
    abstract = f"This abstract of {key} was invented. Leaders of both services shared one aim and met each month."
    lines = ["TY  - JOUR", f"TI  - {title}", f"PY  - {row['year']}", f"JO  - {row['journal']}", f"AB  - {abstract}"]
    lines += [f"AU  - {author}" for author in row["authors"]] + [f"KW  - word {number}" for number in range(3)]
    return "\n".join([*lines, *([f"DO  - {doi}"] if doi else []), "UR  - https://example.org", "ER  - ", ""])


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the shipped data, a small model and a search export."""
    folder = tmp_path_factory.mktemp("published")
    (folder / "data").mkdir()
    # Only these folders: the others may contain what another model tagged in this working copy.
    for name in ("annotated", "raw"):
        (folder / "data" / name).symlink_to(ROOT / "data" / name)
    lines = (ROOT / "data/annotated/coded/coded_records.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    kept = [row for row in rows if row["relevant"]][:12] + [row for row in rows if not row["relevant"]][:12]
    (folder / "coded.jsonl").write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")
    settings = Settings.model_validate({"train": {"records": str(folder / "coded.jsonl"), "exemplars": "", "folds": 2}})
    save_model(train(settings, load_codebook(ROOT / "data/annotated/codebook.yaml")), folder / "models/trained")
    other = "TY  - JOUR\nTI  - Soil moisture in alpine meadows\nPY  - 2014\nAB  - Meadows were wet.\nER  - \n"
    (folder / "params.yaml").write_text("codebook: data/annotated/codebook.yaml\n", encoding="utf-8")
    (folder / "out/published").mkdir(parents=True)
    records = "\n".join([other, *(exported(key, *found) for key, found in FOUND.items())])
    (folder / "out/published/export.ris").write_text(records, encoding="utf-8")
    return folder


@pytest.mark.slow
def test_the_commands_of_the_readme_measure_on_the_exported_abstracts(project: Path) -> None:
    text = (ROOT / "data/README.md").read_text(encoding="utf-8").split("## Measuring on the published abstracts")[1]
    (commands,) = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euc", commands],
        cwd=project,
        env=os.environ | {"PATH": path, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    folder = project / "out/published"
    metrics = json.loads((folder / "reports/metrics.json").read_text(encoding="utf-8"))
    assert metrics["coverage"] == {"abstract": 3, "synopsis": 0, "title_only": 31, "none": 2}
    assert metrics["transfer"]["papers"] == 34
    assert "synopsis in other words" not in (folder / "reports/report.html").read_text(encoding="utf-8")
    records = {dict(row.raw).get("key"): row for row in read_records(folder / "tagged/records.parquet")}
    evidence = {
        (row.record_id, sentence.text)
        for row in read_predictions(folder / "tagged/predictions.parquet")
        for sentence in row.evidence
    }
    for key in FOUND:
        assert records[key].abstract.startswith(f"This abstract of {key} was invented.")
        assert any(name == records[key].record_id and "invented" in sentence for name, sentence in evidence)
    assert (folder / "groups.csv").read_text(encoding="utf-8-sig").count("export.ris") == len(FOUND)


def test_what_the_commands_write_is_not_in_git() -> None:
    assert "/out/" in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
