"""Test the steps of retraining: the challenger, the replacement of the model, the rollback, and the history."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import mechtag.training.retraining.challenger
import mechtag.training.retraining.model_store
from mechtag.core.errors import MechtagError
from mechtag.core.parquet import read_predictions, write_records
from mechtag.core.records import Coding, Record
from mechtag.core.settings import SentenceSettings
from mechtag.models.model_folder import WEIGHTS, load_model, read_config
from mechtag.pipeline.annotations.versions import (
    Additions,
    read_history,
    track_with_dvc,
    use_version,
    version_in_use,
    write_additions,
)
from mechtag.pipeline.reading.text.sentences import split
from mechtag.pipeline.tagging.chunks import locked
from mechtag.pipeline.tagging.predict import predict
from mechtag.project import create_project
from mechtag.training.mlflow_runs import tolerated
from mechtag.training.retraining.challenger import champion_predictions
from mechtag.training.retraining.model_store import (
    ModelPaths,
    former_of,
    install,
    keep_challenger,
    keep_champion,
    recover,
)
from mechtag.training.train import define, save_model, train
from mechtag.workflows.retrain import Retraining
from mechtag.workflows.train import train as train_project
from tests.support.command import call
from tests.support.paths import ROOT
from tests.support.retrainings import Project, made, new_records, project

__all__ = ["made", "project"]  # fixtures, which pytest finds by their names here

pytestmark = pytest.mark.usefixtures("one_thread")


def follow(project: Project) -> None:
    keep_champion(project.places)
    keep_challenger(project.places, project.challenger.folder, project.version, {})


def in_use(places: ModelPaths) -> tuple[str, set[str], str]:
    """Return the model's id, the model ids in the out-of-fold predictions, and the version of the annotations."""
    documents = read_predictions(places.out_of_fold / "documents.parquet")
    return load_model(places.model).config.model_id, {row.model_id for row in documents}, version_in_use(places.added)


def test_a_challenger_is_trained_once(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def counted(*args: object, **options: object) -> object:
        calls.append(options["version"])
        return train(*args, **options)  # type: ignore[arg-type]

    def interrupted(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(mechtag.training.retraining.challenger, "train", counted)
    with monkeypatch.context() as patch:
        patch.setattr(mechtag.training.retraining.challenger, "write_predictions", interrupted)
        with pytest.raises(KeyboardInterrupt):
            project.train(tmp_path / "work")
    first = project.train(tmp_path / "work")
    again = project.train(tmp_path / "work")
    assert calls == [project.version] * 2
    assert again.documents == first.documents == project.challenger.documents
    assert again.figures == first.figures
    other = project.settings.model_copy(update={"seed": 7})
    assert project.train(tmp_path / "work", other).model.config.seed == 7
    assert len(calls) == 3


def test_the_champion_predicts_papers_that_it_was_not_trained_on(project: Project) -> None:
    champion = load_model(project.places.model)
    found, new = champion_predictions(champion, project.places.out_of_fold, project.coded)
    assert [record.record.record_id for record in new] == [record.record_id for record in new_records()]
    own = read_predictions(project.places.out_of_fold / "documents.parquet")
    assert found[: len(own)] == own
    sentences = split(new_records(), SentenceSettings())
    direct = predict(champion.tagger, champion.config.model_id, new_records(), sentences, evidence_sentences=1)
    assert found[len(own) :] == direct
    with pytest.raises(MechtagError, match=r"out-of-fold predictions from .*, but the model in use is"):
        champion_predictions(project.challenger.model, project.places.out_of_fold, project.coded)


def test_promotion_and_rollback(project: Project) -> None:
    places, challenger = project.places, project.challenger
    first = in_use(places)
    files = {path.name: path.read_bytes() for path in places.model.iterdir()}
    follow(project)
    assert in_use(places) == first
    new = challenger.model.config.model_id
    install(places, new, {"event": "promoted"})
    assert in_use(places) == (new, {f"{new}:out-of-fold"}, project.version)
    assert former_of(places, new) == first[0]
    assert recover(places) == ""
    install(places, first[0], {"event": "back"})
    assert in_use(places) == first
    assert {path.name: path.read_bytes() for path in places.model.iterdir()} == files
    assert [row["event"] for row in read_history(places.added)] == ["promoted", "back"]
    with pytest.raises(MechtagError, match="there is no earlier model to roll back to"):
        former_of(places, first[0])
    assert sorted(path.name for path in places.model.parent.iterdir()) == ["added", "kept", "model", "out_of_fold"]


def test_a_model_from_the_definitions_has_learnt_from_no_paper_and_can_be_restored(project: Project) -> None:
    places = project.places
    save_model(define(project.settings, project.fruit), places.model)
    shutil.rmtree(places.out_of_fold)
    champion = load_model(places.model)
    found, new = champion_predictions(champion, places.out_of_fold, project.coded)
    assert new == project.coded
    assert {row.model_id for row in found} == {champion.config.model_id}
    assert len(found) == len(new) * len(project.fruit.all_keys)

    follow(project)
    challenger = project.challenger.model.config.model_id
    install(places, challenger, {"event": "promoted"})
    assert in_use(places) == (challenger, {f"{challenger}:out-of-fold"}, project.version)
    install(places, former_of(places, challenger), {"event": "back"})
    assert load_model(places.model).config == champion.config
    # The challenger's out-of-fold predictions do not belong to the model in use.
    assert list(places.out_of_fold.iterdir()) == []


def test_without_codes_the_first_codings_are_imported_and_trained_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(create_project(tmp_path / "review").root)
    (tmp_path / "codes.csv").write_text("key,coder,label,value,basis\n", encoding="utf-8")
    status, _, message = call("retrain", tmp_path / "codes.csv")
    assert status == 1
    assert "no record has been coded yet; import the first codings with 'mechtag codings', and train" in message


@pytest.mark.parametrize(
    "step", ["shutil.copytree", "Path.rename new", "Path.rename old", "replacing", "use_version", "append_history"]
)
def test_an_interrupted_promotion_is_finished(project: Project, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    places = project.places
    follow(project)
    new = project.challenger.model.config.model_id

    def killed(*args: object, **options: object) -> None:
        raise KeyboardInterrupt

    rename = Path.rename

    def killed_rename(self: Path, target: Path) -> Path:
        if self.name.endswith(".new") == step.endswith("new"):
            raise KeyboardInterrupt
        return rename(self, target)

    with monkeypatch.context() as patch:
        if step.startswith("Path"):
            patch.setattr(Path, "rename", killed_rename)
        else:
            patch.setattr(f"mechtag.training.retraining.model_store.{step}", killed)
        with pytest.raises(KeyboardInterrupt):
            install(places, new, {"event": "promoted"})
    assert recover(places) == new
    assert in_use(places) == (new, {f"{new}:out-of-fold"}, project.version)
    assert [row["event"] for row in read_history(places.added)] == ["promoted"]
    assert recover(places) == ""
    assert sorted(path.name for path in places.model.parent.iterdir()) == ["added", "kept", "model", "out_of_fold"]


def test_a_promotion_that_fails_leaves_the_champion(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    places = project.places
    before = in_use(places)
    follow(project)
    rename = Path.rename

    def refused(self: Path, target: Path) -> Path:
        if self.name.endswith(".new"):
            raise OSError("disk full")
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", refused)
        with pytest.raises(OSError, match="disk full"):
            install(places, project.challenger.model.config.model_id, {"event": "promoted"})
    assert (in_use(places), recover(places), read_history(places.added)) == (before, "", [])


def test_a_kept_model_that_was_altered_is_not_installed(project: Project) -> None:
    places = project.places
    before = in_use(places)
    follow(project)
    new = project.challenger.model.config.model_id
    path = places.kept / new / "model" / WEIGHTS
    path.write_bytes((places.model / WEIGHTS).read_bytes())
    with pytest.raises(MechtagError, match="do not belong together"):
        install(places, new, {"event": "promoted"})
    with pytest.raises(MechtagError, match="no copy of model elsewhere was found"):
        install(places, "elsewhere", {"event": "promoted"})
    assert (in_use(places), recover(places)) == (before, "")


def test_a_model_whose_annotations_are_gone_is_not_installed(project: Project) -> None:
    places = project.places
    before = in_use(places)
    follow(project)
    shutil.rmtree(Path(places.added) / project.version)
    with pytest.raises(MechtagError, match="no such version of the annotations"):
        install(places, project.challenger.model.config.model_id, {"event": "promoted"})
    assert (in_use(places), recover(places)) == (before, "")


@pytest.mark.parametrize("taken", ["models/kept", "data/annotated/added"])
def test_two_retrainings_at_once_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taken: str) -> None:
    monkeypatch.chdir(tmp_path)
    codebook = {"codebook": str(ROOT / "data/annotated/codebook.yaml")}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(codebook), encoding="utf-8")
    with locked(Path(taken)):
        for words in ([], ["--rollback"]):
            status, _, message = call("retrain", *words)
            assert (status, f"{taken}: another run of mechtag is writing to this folder" in message) == (1, True)
        assert call("retrain", "--history")[0] == 0
    assert "another run" not in call("retrain")[2]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--rollback", "--onto", "none"], "cannot be combined with"),
        (["--history", "--on", "a.ris"], "cannot be combined with"),
        (["--rollback", "--leave-out-leaks"], "cannot be combined with"),
        (["--model", "."], "retraining replaces this folder"),
        (["--model", ".."], "retraining replaces this folder"),
    ],
)
def test_options_that_would_be_ignored_or_do_harm_are_refused(words: list[str], told: str) -> None:
    status, _, message = call("retrain", *words)
    assert status == 2
    assert told in " ".join(message.replace("│", " ").split())


def test_the_history_goes_on_after_a_version_that_is_damaged(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    added = tmp_path / "versions"
    shutil.copytree(project.places.added, added)
    whole = f"9-{project.version.split('-')[1]}"
    shutil.copytree(added / project.version, added / whole)
    damaged = next((added / project.version).glob("codings*"))
    damaged.write_text("{", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    settings = {"codebook": str(ROOT / "data/annotated/codebook.yaml"), "train": {"added": str(added)}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    status, output, message = call("retrain", "--history")
    assert status == 0
    assert f"version {project.version} of the annotations cannot be read: " in message
    assert output.startswith(f"{whole}: ")


def test_added_records_may_be_imported_again_after_a_label_was_renamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Codes of labels that the codebook no longer has are reported."""
    book = {"name": "b", "relevance": {"definition": "r"}, "labels": [{"key": "new", "name": "N", "definition": "d"}]}
    (tmp_path / "book.yaml").write_text(yaml.safe_dump(book), encoding="utf-8")
    review = create_project(tmp_path / "review", tmp_path / "book.yaml")
    save_model(define(review.settings, review.codebook), review.own_model)
    added = review.root / "data/annotated/added"
    paper = Record(record_id="text:1", title="A paper")
    codes = [
        Coding(record_id="text:1", coder="Ann", label=label, value=1, basis="abstract") for label in ("old", "new")
    ]
    use_version(added, write_additions(added, Additions(tuple(codes), (paper,), {"": {}})))
    columns = "record_id,title,coder,label,value,basis\ntext:1,A paper,Ann,new,0,abstract"
    (review.root / "data/annotated/codings.csv").write_text(columns, encoding="utf-8")
    write_records(review.root / "data/unique.parquet", [paper])
    monkeypatch.setattr(Retraining, "_challenge", lambda *_: [])
    status, _, message = call("retrain", "--project", review.root)
    assert status == 0, message
    assert "note: 1 code in version 2-" in message
    assert "is not used, because the codebook has no such label: old (1). If you renamed a label" in message


def test_a_failing_server_is_reported_and_tolerated(capsys: pytest.CaptureFixture[str]) -> None:
    told: list[str] = []
    with tolerated(told.append):
        raise ConnectionError("no route\nto host")
    (message,) = told
    assert message.startswith("note: MLflow failed (ConnectionError: no route to host)")
    with pytest.raises(KeyboardInterrupt), tolerated(told.append):
        raise KeyboardInterrupt


def test_outside_of_dvc_nothing_is_tracked(tmp_path: Path) -> None:
    assert track_with_dvc(tmp_path / "1-abc") == ""


@pytest.mark.slow
def test_a_version_is_put_under_dvc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    subprocess.run([sys.executable, "-m", "dvc", "init", "--no-scm", "--quiet"], check=True)
    name = write_additions("added", Additions(records=tuple(new_records())))
    digest = track_with_dvc(Path("added") / name)
    assert digest.endswith(".dir")
    assert digest in Path(f"added/{name}.dvc").read_text(encoding="utf-8")
    assert track_with_dvc(Path("added") / name) == digest
    with pytest.raises(
        MechtagError, match=r"dvc add added/nothing failed: .*; correct the cause and run the command again"
    ):
        track_with_dvc(Path("added/nothing"))


def test_the_model_of_a_challenger_is_named_by_its_data(project: Project) -> None:
    data = read_config(project.challenger.folder / "model").data
    assert {f"{project.version}/codings.jsonl", f"{project.version}/records.parquet", "coded.jsonl"} == data.keys()


def test_training_waits_for_a_retraining(tmp_path: Path) -> None:
    review = create_project(tmp_path / "review", ROOT / "data/annotated/codebook.yaml")
    with (
        locked(review.kept_models),
        pytest.raises(MechtagError, match="another run of mechtag is writing to this folder"),
    ):
        train_project(review)


def test_the_swap_of_a_trained_model_is_finished(project: Project) -> None:
    model = project.places.model
    before = read_config(model).model_id
    shutil.copytree(model, model.with_name(f".{model.name}.new"))
    model.rename(model.with_name(f".{model.name}.old"))
    assert recover(project.places) == before
    assert read_config(model).model_id == before
    assert recover(project.places) == ""
