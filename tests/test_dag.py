"""Test the whole pipeline on a small part of the shipped data, run by DVC as in `make run`."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.support.paths import ROOT

pytestmark = pytest.mark.slow


def run(folder: Path, *command: str) -> str:
    """Run a command of this Python environment, and return its output."""
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def outputs(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file that the stages wrote, by path."""
    lock = yaml.safe_load((folder / "dvc.lock").read_text(encoding="utf-8"))
    written = [folder / out["path"] for stage in lock["stages"].values() for out in stage["outs"]]
    files = [
        file for path in written for file in ([path] if path.is_file() else sorted(path.rglob("*"))) if file.is_file()
    ]
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    for name in ("core", "models", "pipeline", "training", "evaluation"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("trained", "__pycache__"))
    shutil.copytree(ROOT / "mechtag/workflows", folder / "mechtag/workflows")
    shutil.copytree(ROOT / "data/raw", folder / "data/raw")
    shutil.copytree(ROOT / "data/annotated", folder / "data/annotated")
    shutil.copy(ROOT / "dvc.yaml", folder)

    keys = set()
    for path in sorted((folder / "data/annotated/coded").glob("*.jsonl")):
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        count = 24 if path.stem == "coded_records" else 7
        kept = [
            row for relevant in (True, False) for row in [row for row in rows if row["relevant"] == relevant][:count]
        ]
        path.write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")
        keys |= {row["key"] for row in kept}
    for path in sorted((folder / "data/annotated/second_coder").glob("*.jsonl")):
        lines = path.read_text(encoding="utf-8").splitlines()
        known = [f"{line}\n" for line in lines if json.loads(line)["key"] in keys]
        if known:
            path.write_text("".join(known), encoding="utf-8")
        else:
            path.unlink()
    for name, count in (("annotated/table2.csv", 13), ("raw/gold_records.jsonl", 12)):
        path = folder / "data" / name
        path.write_text("".join(path.read_text(encoding="utf-8").splitlines(keepends=True)[:count]), encoding="utf-8")

    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    params["train"]["folds"] = 3
    params["evaluate"] |= {"bootstrap": 100, "permutations": 100}
    (folder / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    run(folder, "dvc", "init", "--no-scm", "--quiet")
    run(folder, "dvc", "config", "core.analytics", "false")
    return folder


def test_the_pipeline_is_not_repeated_and_gives_the_same_results_if_forced(project: Path) -> None:
    run(project, "dvc", "repro")
    first = outputs(project)
    assert {
        "data/work/update/tagged/tagged.csv",
        "data/work/update/tagged/tagged.ris",
        "data/work/update/tagged/predictions.parquet",
        "data/work/update/tagged/rejected.jsonl",
        "data/work/update/tagged/summary.json",
        "models/trained/config.json",
        "reports/headline.json",
        "reports/metrics.json",
        "reports/per_label.csv",
        "reports/predictions_vs_table2.csv",
        "reports/accuracy.md",
        "reports/report.html",
    } <= first.keys()
    summary = json.loads((project / "data/work/update/tagged/summary.json").read_text(encoding="utf-8"))
    assert summary["unique"] == 26
    metrics = json.loads((project / "reports/metrics.json").read_text(encoding="utf-8"))
    assert sum(metrics["coverage"].values()) == 12
    shown = json.loads(run(project, "dvc", "metrics", "show", "--json"))[""]["data"]
    assert list(shown) == ["reports/headline.json"]
    headline = shown["reports/headline.json"]["data"]
    assert headline["transfer, across papers"] == metrics["transfer"]["pooled"]["across_auc"]["value"]
    every = json.loads(run(project, "dvc", "metrics", "show", "--json", "reports/metrics.json"))[""]["data"]
    across = every["reports/metrics.json"]["data"]["transfer"]["pooled"]["across_auc"]["value"]
    assert across == metrics["transfer"]["pooled"]["across_auc"]["value"]

    assert len(metrics["learning_curve"]) > 1
    coded = (path.read_text(encoding="utf-8") for path in (project / "data/annotated/coded").glob("*.jsonl"))
    assert metrics["invariance"]["keywords_added"]["papers"] == sum(len(text.splitlines()) for text in coded)
    report = (project / "reports/report.html").read_text(encoding="utf-8")
    lock = yaml.safe_load((project / "dvc.lock").read_text(encoding="utf-8"))
    sums = {out["path"]: out["md5"] for stage in lock["stages"].values() for out in stage["outs"]}
    named = dict(re.findall(r'data-file="([^"]+)">([0-9a-f]{32})<', report))
    assert {path: named[path] for path in named if path in sums} == {path: sums[path] for path in named if path in sums}
    assert {"reports/metrics.json", "models/trained/config.json", "models/trained/model.safetensors"} <= named.keys()

    assert "Running stage" not in run(project, "dvc", "repro")

    run(project, "dvc", "repro", "--force", "--no-run-cache")
    assert outputs(project) == first
