"""The parts of retraining: the challenger, the comparison, the change of models, and the account of what changes."""

from __future__ import annotations

import csv
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from sklearn.metrics import cohen_kappa_score, roc_auc_score

import training.promotion
import training.retrain
from evaluation.join import System
from evaluation.paired import compare, judge
from models.artifact import WEIGHTS, load_model, read_config
from models.codebook import Codebook
from models.errors import MechtagError
from models.tagger import Calibration, Document, Tagger
from pipeline.annotations import CodedRecord
from pipeline.codings import read_annotations
from pipeline.parts import locked
from pipeline.records import Coding, Prediction, Record
from pipeline.sentences import split
from pipeline.settings import RetrainSettings, SentenceSettings, Settings
from pipeline.store import read_predictions, write_predictions
from pipeline.tag import predict
from pipeline.tracked import track
from pipeline.versions import Additions, read_history, version_in_use, write_additions
from tests.conftest import ROOT
from tests.test_cli import call
from tests.toy import fruit_documents, fruit_project
from training.change_log import write_change_log
from training.changes import BOUNDS, find_changes
from training.promotion import Places, former_of, install, keep_challenger, keep_champion, recover
from training.registry import tolerated
from training.retrain import Challenger, champion_predictions, train_challenger
from training.train import save_model, train

pytestmark = pytest.mark.usefixtures("one_thread")


def new_records() -> list[Record]:
    return [
        Record(
            record_id=f"text:new{number}",
            title=f"{coded.document.title} {number}",
            abstract=" ".join(f"{text.capitalize()}." for text in coded.document.sentences),
            source_index=number,
        )
        for number, coded in enumerate(fruit_documents(48)[40:], start=40)
    ]


class Project:
    """A trained model, and a challenger that learnt from eight papers more."""

    def __init__(self, folder: Path, fruit: Codebook) -> None:
        self.fruit = fruit
        self.settings = fruit_project(folder, fruit)
        self.places = Places(folder / "models/trained", folder / "oof", folder / "models/kept", str(folder / "added"))
        trained = train(self.settings, fruit)
        save_model(trained, self.places.model)
        write_predictions(self.places.out_of_fold / "documents.parquet", trained.documents)
        write_predictions(self.places.out_of_fold / "sentences.parquet", trained.sentences)
        codings = [
            Coding(
                record_id=record.record_id,
                coder="ann",
                label=key,
                value=int(key in record.abstract.lower()),
                basis="abstract",
            )
            for record in new_records()
            for key in fruit.keys
        ]
        self.version = write_additions(self.places.added, Additions(tuple(codings), tuple(new_records())))
        self.challenger = self.train(folder / "challenger")

    def train(self, folder: Path, settings: Settings | None = None) -> Challenger:
        return train_challenger(settings or self.settings, self.fruit, self.version, folder)

    @property
    def coded(self) -> list[CodedRecord]:
        return read_annotations(self.settings, self.fruit.keys, self.fruit.relevance.key, self.version)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, fruit: Codebook) -> Project:
    return Project(tmp_path_factory.mktemp("fruit"), fruit)


@pytest.fixture
def project(made: Project, tmp_path: Path) -> Project:
    """The same, in a folder that a test may change."""
    own = object.__new__(Project)
    own.__dict__.update(made.__dict__)
    for part in ("model", "out_of_fold", "added"):
        shutil.copytree(getattr(made.places, part), tmp_path / part)
    own.places = Places(tmp_path / "model", tmp_path / "out_of_fold", tmp_path / "kept", str(tmp_path / "added"))
    return own


def follow(project: Project) -> None:
    keep_champion(project.places)
    keep_challenger(project.places, project.challenger.folder, project.version, {})


def in_use(places: Places) -> tuple[str, set[str], str]:
    """Model, makers of the out-of-fold predictions, and version of the annotations, which belong together."""
    documents = read_predictions(places.out_of_fold / "documents.parquet")
    return load_model(places.model).config.model_id, {row.model_id for row in documents}, version_in_use(places.added)


def test_a_challenger_is_trained_once(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def counted(*args: object, **options: object) -> object:
        calls.append(options["version"])
        return train(*args, **options)  # type: ignore[arg-type]

    def interrupted(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(training.retrain, "train", counted)
    with monkeypatch.context() as patch:
        patch.setattr(training.retrain, "write_predictions", interrupted)
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


def test_the_champion_speaks_of_papers_it_has_not_learnt_from(project: Project) -> None:
    champion = load_model(project.places.model)
    found, new = champion_predictions(champion, project.places.out_of_fold, project.coded)
    assert [record.record.record_id for record in new] == [record.record_id for record in new_records()]
    own = read_predictions(project.places.out_of_fold / "documents.parquet")
    assert found[: len(own)] == own
    sentences = split(new_records(), SentenceSettings())
    direct = predict(champion.tagger, champion.config.model_id, new_records(), sentences, evidence_sentences=1)
    assert found[len(own) :] == direct
    with pytest.raises(MechtagError, match=r"out-of-fold predictions of .*, but the model in use is"):
        champion_predictions(project.challenger.model, project.places.out_of_fold, project.coded)


def test_promotion_and_the_way_back(project: Project) -> None:
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
    with pytest.raises(MechtagError, match="there is no former one to go back to"):
        former_of(places, first[0])
    assert sorted(path.name for path in places.model.parent.iterdir()) == ["added", "kept", "model", "out_of_fold"]


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
            patch.setattr(f"training.promotion.{step}", killed)
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
    with pytest.raises(MechtagError, match="model elsewhere was not kept here"):
        install(places, "elsewhere", {"event": "promoted"})
    assert (in_use(places), recover(places)) == (before, "")


def test_a_model_whose_annotations_are_gone_is_not_installed(project: Project) -> None:
    places = project.places
    before = in_use(places)
    follow(project)
    shutil.rmtree(Path(places.added) / project.version)
    with pytest.raises(MechtagError, match="no such version of annotations"):
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
            assert (status, f"{taken}: another run of mechtag is writing there" in message) == (1, True)
        assert call("retrain", "--history")[0] == 0
    assert "another run" not in call("retrain")[2]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--rollback", "--onto", "none"], "are for learning anew"),
        (["--history", "--on", "a.ris"], "are for learning anew"),
        (["--rollback", "--leave-out-leaks"], "are for learning anew"),
        (["--model", "."], "exchanged as a whole"),
        (["--model", ".."], "exchanged as a whole"),
    ],
)
def test_what_would_be_ignored_or_go_wrong_is_refused(words: list[str], told: str) -> None:
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
    assert f"{project.version} cannot be read: " in message
    assert output.startswith(f"{whole}: ")


def system(name: str, coded: list[CodedRecord], scores: np.ndarray, keys: list[str]) -> System:
    rows = [
        Prediction(
            record_id=record.record.record_id,
            label=key,
            score=float(scores[row, column]),
            probability=float(1 / (1 + np.exp(-scores[row, column]))),
            threshold=0.5,
            decision="yes" if scores[row, column] >= 0 else "no",
            model_id=name,
        )
        for row, record in enumerate(coded)
        for column, key in enumerate(keys)
    ]
    return System(name, rows)


def test_the_comparison_agrees_with_scikit_learn(project: Project) -> None:
    coded, fruit = project.coded, project.fruit
    keys = list(fruit.all_keys)
    generator = np.random.default_rng(3)
    truth = np.array([[record.relevant, *(record.code(key) for key in fruit.keys)] for record in coded], dtype=float)
    signals = [(truth - 0.5) * strength + generator.normal(size=truth.shape) for strength in (1.0, 6.0)]
    systems = [system(name, coded, scores, keys) for name, scores in zip("ab", signals, strict=True)]
    settings = RetrainSettings(bootstrap=300, margins={"across_auc": 0.05, "relevance_auc": 0.05, "kappa": 0.05})
    found = {
        each.figure: each for each in compare(*systems, coded, fruit.keys, keys[0], settings, np.random.default_rng(1))
    }
    # Nobody has coded a plum.
    labels = [column for column in range(1, len(keys)) if len(np.unique(truth[:, column])) == 2]
    assert len(labels) == 2
    for side, scores in zip(("champion", "challenger"), signals, strict=True):
        assert getattr(found["relevance_auc"], side) == pytest.approx(roc_auc_score(truth[:, 0], scores[:, 0]))
        across = np.mean([roc_auc_score(truth[:, column], scores[:, column]) for column in labels])
        assert getattr(found["across_auc"], side) == pytest.approx(across)
        kappa = cohen_kappa_score(truth[:, 1:].ravel(), (scores[:, 1:] >= 0).ravel())
        assert getattr(found["kappa"], side) == pytest.approx(kappa)
    for each in (found["across_auc"], found["relevance_auc"]):
        assert each.difference == pytest.approx(each.challenger - each.champion)
        assert each.ci_low < each.difference < each.ci_high
    assert judge({"all": list(found.values())}, settings).promote
    back = compare(*systems[::-1], coded, fruit.keys, keys[0], settings, np.random.default_rng(1))
    assert not judge({"all": back}, settings).promote
    # One set of papers on which it may be worse is enough to stay.
    assert not judge({"all": list(found.values()), "earlier": back}, settings).promote
    # The papers are drawn alike for both: a system does not differ from itself, in any resample.
    same = compare(systems[0], systems[0], coded, fruit.keys, keys[0], settings, np.random.default_rng(1))
    assert {(each.ci_low, each.ci_high) for each in same if each.difference is not None} == {(0.0, 0.0)}


def test_the_rule_asks_for_the_lower_end_of_the_interval(project: Project) -> None:
    coded, fruit = project.coded, project.fruit
    scores = np.random.default_rng(4).normal(size=(len(coded), len(fruit.all_keys)))
    systems = [system(name, coded, each, list(fruit.all_keys)) for name, each in (("a", scores), ("b", -scores))]

    def verdict(**margins: float) -> bool:
        settings = RetrainSettings(bootstrap=200, margins=margins)
        generator = np.random.default_rng(1)
        differences = compare(*systems, coded, fruit.keys, fruit.relevance.key, settings, generator)
        (low,) = (each.ci_low for each in differences if each.figure == "across_auc")
        assert low is not None
        assert low < 0
        settings = RetrainSettings(margins={"across_auc": -low * (1 + margins["across_auc"] / 100)})
        return judge({"all": differences}, settings).promote

    assert verdict(across_auc=0.9)
    with pytest.raises(MechtagError, match="'hamming_loss' is no figure of which more is better"):
        verdict(across_auc=0.1, hamming_loss=0.1)
    only_relevant = [record for record in coded if record.relevant]
    settings = RetrainSettings(bootstrap=200, margins={"relevance_auc": 0.1})
    nothing = compare(*systems, only_relevant, fruit.keys, fruit.relevance.key, settings, np.random.default_rng(1))
    refused = judge({"all": nothing}, settings)
    assert (refused.promote, "not compared (all papers or none are relevant" in refused.reasons[0]) == (False, True)


def with_calibration(tagger: Tagger, change: Callable[[Calibration], Calibration]) -> Tagger:
    return replace(tagger, calibration=change(tagger.calibration))


def shifted(values: np.ndarray, column: int, by: float) -> np.ndarray:
    moved = values.copy()
    moved[column] += by
    return moved


def with_bounds(tagger: Tagger, low: float, high: float) -> Tagger:
    """Let no and yes begin where these shares of the new papers lie below, so that some papers are near."""
    tagged = tagger.tag([Document(record.title, tuple(record.abstract.split("."))) for record in new_records()])
    bounds = np.quantile([scored.probabilities for scored in tagged], [low, high], axis=0)
    return with_calibration(tagger, lambda own: replace(own, low=bounds[0], high=bounds[1]))


@pytest.mark.parametrize("cause", ["sentences", "calibration", "relevance", BOUNDS, "all"])
def test_the_step_that_made_the_difference_is_named(project: Project, cause: str) -> None:
    old = with_bounds(load_model(project.places.model).tagger, 0.3, 0.6)
    column = old.codebook.all_keys.index("apple")
    weights = old.heads.word_weights * np.array([1, -3, -3, -3])[:, None]
    changed: dict[str, Callable[[], Tagger]] = {
        "sentences": lambda: replace(old, heads=replace(old.heads, word_weights=weights)),
        "calibration": lambda: with_calibration(old, lambda x: replace(x, intercept=shifted(x.intercept, column, -2))),
        "relevance": lambda: with_calibration(old, lambda x: replace(x, intercept=shifted(x.intercept, 0, -2))),
        BOUNDS: lambda: with_bounds(old, 0.3, 0.9),
        "all": lambda: project.challenger.model.tagger,
    }
    new = changed[cause]()
    records = new_records()
    sentences = list(split(records, SentenceSettings()))
    learnt = [record for record in project.coded if record.added]
    found = {(each.record_id, each.label): each for each in find_changes(old, new, records, sentences, learnt)}
    before, after = (predict(tagger, "m", records, sentences, evidence_sentences=1) for tagger in (old, new))
    pairs = {(one.record_id, one.label): (one, two) for one, two in zip(before, after, strict=True)}
    flips = {name: pair for name, pair in pairs.items() if pair[0].decision != pair[1].decision}
    assert found.keys() == flips.keys()
    assert found
    for name, (one, two) in flips.items():
        change = found[name]
        assert (change.old, change.new) == (one.decision, two.decision)
        assert (change.probabilities[0], change.probabilities[-1]) == pytest.approx((one.probability, two.probability))
        if cause not in ("all", "relevance") or (cause == "relevance" and change.label != "edible"):
            assert change.cause == cause
        if cause == "sentences":
            assert "by its words" in change.why
        if change.cause != BOUNDS:
            assert "the record is among the newly coded ones" in change.why
    if cause == "calibration":
        assert {label for _, label in found} == {"apple"}


def test_the_change_log_can_be_read_and_holds_no_markup(project: Project, tmp_path: Path) -> None:
    old = with_bounds(load_model(project.places.model).tagger, 0.3, 0.6)
    new = with_bounds(old, 0.3, 0.9)
    records = [record.model_copy(update={"title": f"=<b>{record.title}</b>|"}) for record in new_records()]
    changes = find_changes(old, new, records, list(split(records, SentenceSettings())), [])
    write_change_log(tmp_path, changes, len(records), "one", "two")
    text = (tmp_path / "changes.md").read_text(encoding="utf-8")
    assert f"{len(changes)} decisions on" in text
    assert "\\<b\\>" in text
    with (tmp_path / "changes.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(changes)
    assert all(row["title"].startswith("'=") for row in rows)
    write_change_log(tmp_path, [], 0, "one", "two")
    assert "tagged the same 0 records. 0 decisions on 0 of them differ." in (tmp_path / "changes.md").read_text("utf-8")
    assert find_changes(old, new, [], [], []) == []


def test_a_failing_server_is_told_and_survived(capsys: pytest.CaptureFixture[str]) -> None:
    told: list[str] = []
    with tolerated(told.append):
        raise ConnectionError("no route\nto host")
    (message,) = told
    assert message.startswith("note: MLflow failed (ConnectionError: no route to host)")
    with pytest.raises(KeyboardInterrupt), tolerated(told.append):
        raise KeyboardInterrupt


def test_outside_of_dvc_nothing_is_tracked(tmp_path: Path) -> None:
    assert track(tmp_path / "1-abc") == ""


@pytest.mark.slow
def test_a_version_is_put_under_dvc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    subprocess.run([sys.executable, "-m", "dvc", "init", "--no-scm", "--quiet"], check=True)
    name = write_additions("added", Additions(records=tuple(new_records())))
    digest = track(Path("added") / name)
    assert digest.endswith(".dir")
    assert digest in Path(f"added/{name}.dvc").read_text(encoding="utf-8")
    assert track(Path("added") / name) == digest
    with pytest.raises(MechtagError, match=r"dvc add added/nothing: .*; mend this and call again"):
        track(Path("added/nothing"))


def test_the_model_of_a_challenger_is_named_by_its_data(project: Project) -> None:
    data = read_config(project.challenger.folder / "model").data
    assert {f"{project.version}/codings.jsonl", f"{project.version}/records.parquet", "coded.jsonl"} == data.keys()
