"""Test project folders: how they are found, created and described, and that two projects share nothing."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
from pathlib import Path

import pytest
import yaml

from mechtag.core.errors import MechtagError
from mechtag.core.settings import ProjectPath, find_project, load_settings
from mechtag.models.model_folder import read_config
from mechtag.project import SHIPPED, create_example, create_project, open_project
from mechtag.training.train import save_model
from mechtag.training.train import train as fit
from mechtag.workflows.status import describe
from tests.support.command import call
from tests.support.garden import CODEBOOK, LABELS, by_sentence, carried, export, papers
from tests.support.paths import ROOT, UPDATE

EXAMPLE = ROOT / "data/examples/farm-trees"


def test_a_path_is_what_the_settings_say_and_lies_in_the_project(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("codebook: codes.yaml\ntrain: {records: /elsewhere/coded.jsonl}\n")
    settings = load_settings(tmp_path / "params.yaml")
    assert Path(settings.codebook) == tmp_path / "codes.yaml"
    assert str(settings.codebook) == settings.model_dump(mode="json")["codebook"] == "codes.yaml"
    assert Path(settings.train.records) == Path("/elsewhere/coded.jsonl")
    assert Path(settings.train.added) == tmp_path / "data/annotated/added"  # Defaults lie in the project too.
    assert not settings.train.texts
    assert settings.root == tmp_path
    assert ProjectPath("a", tmp_path) != ProjectPath("a")


def test_a_setting_that_is_not_a_path_is_refused(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("codebook: 5\n")
    with pytest.raises(MechtagError, match=r"params\.yaml: codebook: found a value of type .*enter one path as text"):
        load_settings(tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_text("train: {added: ''}\n")
    with pytest.raises(MechtagError, match="enter an existing or a new folder"):
        load_settings(tmp_path / "params.yaml")


def test_the_nearest_project_above_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = tmp_path / "outer/notes/inner"
    for folder in (tmp_path / "outer", inner):
        create_project(folder)
    below = inner / "data/raw"
    assert find_project(below) == inner.resolve()
    assert find_project(tmp_path / "outer/notes") == (tmp_path / "outer").resolve()
    monkeypatch.chdir(below)
    assert Path(open_project().settings.codebook).samefile(inner / "codebook.yaml")
    monkeypatch.chdir(inner)
    assert open_project().root == Path(".")  # Logged paths must stay relative.
    assert open_project(tmp_path / "outer").root == tmp_path / "outer"


def test_settings_of_other_programs_are_not_a_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "params.yaml").write_text("learning_rate: 0.1\nmy_codebook: x\n")
    assert find_project(tmp_path) is None
    monkeypatch.chdir(tmp_path)
    project = open_project()
    assert project.is_shipped
    assert project.codebook.sha256 == open_project(ROOT).codebook.sha256
    with pytest.raises(MechtagError, match=r"no project found: .* 'mechtag init FOLDER', or change to the folder"):
        project.require_own()
    with pytest.raises(MechtagError, match=r"nowhere is not a project, because it has no params\.yaml"):
        open_project(tmp_path / "nowhere")


def test_an_existing_project_is_not_overwritten(tmp_path: Path) -> None:
    made = create_project(tmp_path / "a")
    assert made.codebook.sha256 == open_project(ROOT).codebook.sha256
    with pytest.raises(MechtagError, match=r"params\.yaml already exists"):
        create_project(tmp_path / "a")
    (tmp_path / "b").mkdir()
    (tmp_path / "b/codebook.yaml").write_text("mine: true\n")
    with pytest.raises(MechtagError, match=r"codebook\.yaml already exists, and the new project would"):
        create_project(tmp_path / "b")
    assert (tmp_path / "b/codebook.yaml").read_text() == "mine: true\n"
    (tmp_path / "bad.yaml").write_text("labels: []\n")
    with pytest.raises(MechtagError, match=r"nowhere\.yaml: no such codebook file; check the path$"):
        create_project(tmp_path / "c", tmp_path / "nowhere.yaml")
    with pytest.raises(MechtagError, match=r"bad\.yaml"):
        create_project(tmp_path / "c", tmp_path / "bad.yaml")
    assert not (tmp_path / "c").exists()


def test_the_example_is_a_separate_review(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    status, _, message = call("init", tmp_path / "trees", "--example")
    assert (status, "farm-trees (5 labels)" in message) == (0, True)
    for path in (path for path in EXAMPLE.rglob("*") if path.is_file()):
        assert (tmp_path / "trees" / path.relative_to(EXAMPLE)).read_bytes() == path.read_bytes()
    monkeypatch.chdir(tmp_path / "trees")
    lines = describe(open_project())
    assert lines[2] == "Records:   1 search file"
    # The table of codes does not contain the texts, so the records come first.
    assert (
        lines[3] == "Codes:     data/annotated/codings.csv; they can be counted as soon as data/unique.parquet exists"
    )
    first = "mechtag ingest data/raw -o data/records.parquet"
    then = "mechtag dedupe data/records.parquet -o data/unique.parquet"
    assert lines[-1] == f"Next:      read the search and remove duplicates: {first}, then {then}"
    assert call(*first.split()[1:])[0] == 0
    assert describe(open_project())[-1] == f"Next:      read the search and remove duplicates: {then}"
    assert call(*then.split()[1:])[0] == 0
    lines = describe(open_project())
    assert lines[3] == "Codes:     24 records coded, 12 of them relevant"
    assert lines[-1] == "Next:      train a model: mechtag train"


def test_the_example_replaces_nothing(tmp_path: Path) -> None:
    (tmp_path / "data/raw").mkdir(parents=True)
    (tmp_path / "data/raw/search.ris").write_text("mine")
    with pytest.raises(MechtagError, match=r"search\.ris already exists, and the new project would"):
        create_example(tmp_path)
    assert [path.name for path in tmp_path.rglob("*.*")] == ["search.ris"]
    assert (tmp_path / "data/raw/search.ris").read_text() == "mine"
    status, _, message = call("init", tmp_path / "b", "--example", "--codebook", EXAMPLE / "codebook.yaml")
    assert (status, "--example comes with its own codebook" in message) == (2, True)
    assert not (tmp_path / "b").exists()


def test_the_settings_of_a_new_project_contain_no_absolute_path(tmp_path: Path) -> None:
    made = create_project(tmp_path / "review")
    dumped = json.dumps(made.settings.model_dump(mode="json"))
    assert str(tmp_path) not in dumped + (tmp_path / "review/params.yaml").read_text()


def test_status_says_what_comes_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    book = tmp_path / "garden.yaml"
    book.write_text(yaml.safe_dump(CODEBOOK))
    assert call("init", tmp_path / "review", "--codebook", book)[0] == 0
    monkeypatch.chdir(tmp_path / "review")
    lines = describe(open_project())
    assert "Codebook:  kitchen garden, 3 labels" in lines
    assert "Records:   0 search files" in lines
    assert "Codes:     none yet (data/annotated/codings.csv does not exist)" in lines
    assert "Model:     none yet" in lines
    assert lines[-1] == "Next:      put search exports into data/raw"
    shutil.copy(UPDATE, "data/raw")
    lines = describe(open_project())
    assert "Records:   1 search file" in lines
    # Without codes and a model, the definitions of the codebook tag the first search.
    assert lines[-1] == "Next:      tag the search: mechtag tag data/raw -o data/tagged"
    Path("data/tagged").mkdir()
    Path("data/tagged/summary.json").write_text(json.dumps({"unique": 3}))
    assert describe(open_project())[-1] == (
        "Next:      review data/tagged/review.xlsx, or the papers that 'mechtag next data/tagged -o next.csv' chooses; "
        "import codes with 'mechtag codings' (data/annotated/codings.csv)"
    )
    Path("data/annotated/codings.csv").write_text("nonsense\n")
    Path("data/unique.parquet").touch()
    lines = describe(open_project())
    assert any(line.startswith("Codes:     cannot be read: ") for line in lines)
    assert lines[-1] == "Next:      correct data/annotated/codings.csv, which cannot be read: see Codes above"
    status, said, _ = call("status")
    assert status == 0
    assert said.splitlines()[0] == f"Project:   {Path.cwd().resolve()}"


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (
            6,
            "code more papers for the labels with fewer than 3 examples (Pests, Shade): 'mechtag next data/winter ",
        ),
        (8, "measure accuracy against your own codes: mechtag evaluate (docs/report.md)"),
    ],
)
def test_status_names_the_labels_with_few_examples(tmp_path: Path, count: int, expected: str) -> None:
    by_sentence(tmp_path, papers(count, seed=1))
    (tmp_path / "codebook.yaml").write_text(yaml.safe_dump(CODEBOOK))
    train = {"records": "coded.jsonl", "exemplars": "", "added": "added", "folds": 2}
    params = {"codebook": "codebook.yaml", "sources": {"search": "search.ris"}, "train": train}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    shutil.copy(UPDATE, tmp_path / "search.ris")
    (tmp_path / "data/winter").mkdir(parents=True)
    (tmp_path / "data/winter/summary.json").write_text(json.dumps({"unique": 3}))
    review = open_project(tmp_path)
    assert describe(review)[-1] == "Next:      train a model: mechtag train"
    save_model(fit(review.settings, review.codebook), review.own_model)
    lines = describe(review)
    assert "Records:   1 search file; tagged: 3 records (data/winter)" in lines
    assert lines[-1].startswith(f"Next:      {expected}")
    # A search that a different model tagged has to be tagged again, into a folder that does not exist yet.
    summary = {"unique": 3, "model_id": "definitions-1"}
    (tmp_path / "data/winter/summary.json").write_text(json.dumps(summary))
    (tmp_path / "data/tagged-2").mkdir()
    lines = describe(review)
    assert "Records:   1 search file; tagged: 3 records (data/winter), by a different model from the one below" in lines
    assert (
        lines[-1] == "Next:      tag the search again, with the model in use: mechtag tag search.ris -o data/tagged-3"
    )
    (tmp_path / "data/winter/summary.json").write_text(
        json.dumps(summary | {"model_id": read_config(review.own_model).model_id})
    )
    assert describe(review)[-1].startswith(f"Next:      {expected}")
    # If the codes cannot be read, status still says that the model is of an earlier codebook.
    (tmp_path / "codebook.yaml").write_text(yaml.safe_dump(CODEBOOK | {"labels": CODEBOOK["labels"][:1]}))
    lines = describe(open_project(tmp_path))
    assert f"Codebook:  {CODEBOOK['name']}, 1 label" in lines
    assert any(line.startswith("Codes:     cannot be read: ") for line in lines)
    assert "Outdated:  the codebook has changed since the model was trained" in lines


def test_without_a_project_the_shipped_model_is_used_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not (SHIPPED / "model/config.json").exists():
        pytest.skip("no trained model; run 'dvc repro train'")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "one.ris").write_text("TY  - JOUR\nTI  - Growth of beans\nAB  - Beans grew in shade.\nER  - \n")
    status, _, said = call("tag", "one.ris", "-o", "out")
    assert status == 0
    assert "note: no project found; using the codebook and model that come with mechtag" in said
    assert {path.name for path in tmp_path.iterdir()} == {"one.ris", "out"}
    assert call("train")[0] == 1


def tree(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file below a folder, keyed by its path."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def renamed(codebook: dict[str, object], suffix: str) -> dict[str, object]:
    labels = [{**label, "key": label["key"] + suffix} for label in codebook["labels"]]  # type: ignore[attr-defined]
    return {**codebook, "name": f"garden{suffix}", "labels": labels}


class Review:
    """A project about gardens, in which the key of each label ends in ``suffix``."""

    def __init__(self, folder: Path, suffix: str) -> None:
        self.folder, self.suffix = folder, suffix
        book = folder.with_suffix(".yaml")
        book.write_text(yaml.safe_dump(renamed(CODEBOOK, suffix)))
        self.run("init", folder, "--codebook", book, here=False)
        by_sentence(folder, papers(24, seed=1))
        rows = (folder / "coded.jsonl").read_text()
        for label in LABELS:
            rows = rows.replace(f'"{label}"', f'"{label}{suffix}"')
        (folder / "data/annotated/coded.jsonl").write_text(rows)
        (folder / "coded.jsonl").unlink()
        params = yaml.safe_load((folder / "params.yaml").read_text())
        params["train"] |= {"records": "data/annotated/coded.jsonl", "texts": "", "folds": 3}
        params["evaluate"] |= {"bootstrap": 100, "permutations": 100}
        (folder / "params.yaml").write_text(yaml.safe_dump(params))
        export(folder / "data/raw/new.jsonl", papers(12, seed=3), 100)
        self.codings = folder / "new_codings.csv"
        with self.codings.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["key", "coder", "label", "value", "basis"])
            for number, sentences in enumerate(papers(12, seed=3), start=100):
                writer.writerow([f"p{number}", "one", "about_gardens", 1, "abstract"])
                for label in LABELS:
                    writer.writerow([f"p{number}", "one", label + suffix, int(label in carried(sentences)), "abstract"])

    def run(self, *words: object, here: bool = True) -> str:
        status, said, message = call(*words, *(["--project", self.folder] if here else []))
        assert status == 0, said + message
        return said + message


@pytest.mark.slow
def test_two_projects_share_nothing_and_a_moved_one_still_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "nowhere").mkdir()
    monkeypatch.chdir(tmp_path / "nowhere")
    reviews = Review(tmp_path / "a", ""), Review(tmp_path / "b", "_b")
    new = "data/raw/new.jsonl"
    for step in (
        lambda own: own.run("train"),
        lambda own: own.run("tag", own.folder / new, "-o", own.folder / "data/tagged"),
        lambda own: own.run("retrain", own.codings, "--records", own.folder / "data/tagged/records.parquet"),
        lambda own: own.run("retrain", "--history"),
    ):
        for own, other in (reviews, reviews[::-1]):
            before = tree(other.folder)
            step(own)
            assert tree(other.folder) == before
    assert list((tmp_path / "nowhere").iterdir()) == []
    first, second = reviews
    with pytest.raises(AssertionError, match="watering_b"):
        first.run("retrain", second.codings, "--records", second.folder / "data/tagged/records.parquet")

    model = read_config(first.folder / "models/trained").model_id
    first.folder.rename(tmp_path / "moved")
    first.folder = tmp_path / "moved"
    assert f"model {model}" in first.run("train")
    first.run("tag", first.folder / new, "-o", first.folder / "data/again")
    again, before = ((first.folder / f"data/{name}/predictions.parquet").read_bytes() for name in ("again", "tagged"))
    assert read_config(first.folder / "models/trained").model_id == model
    assert len(again) > 0 < len(before)
    mlflow.set_tracking_uri(f"sqlite:///{first.folder}/mlflow.db")
    runs = mlflow.search_runs(experiment_names=["mechtag"], output_format="list")
    assert runs[0].info.run_name.startswith("train garden 20")
    for run in runs:
        artifacts = mlflow.artifacts.list_artifacts(artifact_uri=run.info.artifact_uri)
        assert str(tmp_path / "a/") not in run.info.artifact_uri
        assert artifacts is not None
    versions = mlflow.MlflowClient().search_model_versions("name = 'mechtag'")
    for version in versions:
        assert Path(mlflow.artifacts.download_artifacts(f"models:/mechtag/{version.version}")).is_dir()
