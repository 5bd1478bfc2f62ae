"""Test that the wheel works offline in a new environment, in a folder with modules named like those of mechtag."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

from tests.support.command import call
from tests.support.paths import ROOT, UPDATE

pytestmark = pytest.mark.slow

EXAMPLE = ROOT / "data/examples/farm-trees"


def run(folder: Path, *command: object) -> str:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {"HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [str(word) for word in command], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the files that go into the wheel, with a model trained on some of the shipped records."""
    folder = tmp_path_factory.mktemp("source")
    for name in ("core", "models", "pipeline", "training", "evaluation", "review", "mechtag"):
        ignored = shutil.ignore_patterns("__pycache__", "trained", "kept")
        shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    (folder / "data/annotated").mkdir(parents=True)
    (folder / "data/raw").mkdir()
    shutil.copy(ROOT / "data/annotated/codebook.yaml", folder / "data/annotated")
    shutil.copy(UPDATE, folder / "data/raw")
    shutil.copytree(EXAMPLE, folder / "data/examples" / EXAMPLE.name)
    lines = (ROOT / "data/annotated/coded/coded_records.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    kept = [row for value in (True, False) for row in [row for row in rows if row["relevant"] is value][:20]]
    (folder / "data/coded.jsonl").write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")
    params = {"codebook": "data/annotated/codebook.yaml", "train": {"records": "data/coded.jsonl", "folds": 3}}
    params["train"] |= {"exemplars": str(ROOT / "data/annotated/exemplars.jsonl")}  # type: ignore[operator]
    (folder / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    status, _, message = call("train", "--project", folder)
    assert status == 0, message
    return folder


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    run(source, sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", folder, ".")
    (made,) = folder.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the Python of an environment with only the wheel; its dependencies are those of this environment."""
    folder = tmp_path_factory.mktemp("bare")
    run(folder, sys.executable, "-m", "venv", "--without-pip", "env")
    made = folder / "env/bin/python"
    run(folder, sys.executable, "-m", "pip", "--python", made, "install", "-q", "--no-deps", wheel)
    packages = next((folder / "env/lib").glob("python*/site-packages"))
    # Only the folder is added, so import hooks of editable installations in it do not run.
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return made


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """Return a folder in which the user has modules named like the subpackages of mechtag."""
    for name in ("core", "models", "pipeline", "training", "evaluation"):
        (tmp_path / f"{name}.py").write_text(f"raise RuntimeError('{name} of the user was imported')\n")
    shutil.copy(UPDATE, tmp_path / "my_export.ris")
    return tmp_path


def test_it_has_one_package_with_codebook_and_model_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"mechtag"}
    shipped = {name.removeprefix("mechtag/shipped/") for name in names if name.startswith("mechtag/shipped/")}
    assert shipped == {
        "codebook.yaml",
        "demo.ris",
        *(f"example/{path.relative_to(EXAMPLE)}" for path in EXAMPLE.rglob("*") if path.is_file()),
        *(
            f"model/{name}"
            for name in ("config.json", "model.safetensors", "encoder.safetensors", "papers.safetensors")
        ),
    }
    assert {"mechtag/py.typed", "mechtag/models/roles.safetensors", "mechtag/models/spelling.csv"} <= set(names)
    assert not [name for name in names if "trained" in name or "mlflow_run.json" in name or "__pycache__" in name]
    own = {
        str(path.relative_to(ROOT))
        for folder in ("core", "models", "pipeline", "training", "evaluation", "review")
        for path in (ROOT / folder).rglob("*.py")
    }
    own |= {
        str(path.relative_to(ROOT))
        for folder in ("templates", "static")
        for path in (ROOT / "review" / folder).rglob("*")
        if path.is_file()
    }
    assert {f"mechtag/{name}" for name in own} <= set(names)


def test_it_tags_at_once(python: Path, elsewhere: Path) -> None:
    said = run(elsewhere, python.with_name("mechtag"), "tag", "my_export.ris", "-o", "out")
    assert "26 records to screen" in said
    assert "using the codebook and model that come with mechtag" in said
    assert {"tagged.csv", "tagged.ris", "predictions.parquet"} <= {path.name for path in (elsewhere / "out").iterdir()}


def test_it_creates_the_example(python: Path, elsewhere: Path) -> None:
    run(elsewhere, python.with_name("mechtag"), "init", "farm-trees", "--example")
    made = {path.relative_to(elsewhere / "farm-trees") for path in (elsewhere / "farm-trees").rglob("*.*")}
    assert made == {path.relative_to(EXAMPLE) for path in EXAMPLE.rglob("*.*")} | {Path("params.yaml")}


def test_it_runs_as_a_module_and_leaves_spacy_alone(python: Path, elsewhere: Path) -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert run(elsewhere, python, "-m", "mechtag", "--version") == f"mechtag {settings['project']['version']}\n"
    run(elsewhere, python, "-c", "import spacy; spacy.blank('en')('Beans grew.')")
    where = run(elsewhere, python, "-c", "import mechtag.pipeline.reading as m; print(m.__file__)")
    assert str(python.parent.parent) in where


def test_the_example_of_the_readme_runs(python: Path, elsewhere: Path) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (elsewhere / "example.py").write_text(example)
    run(elsewhere, python, "example.py")
    assert (elsewhere / "tagged.csv").exists()
