"""Test what users see on the command line, especially after invalid input."""

from __future__ import annotations

import csv
import errno
import json
import shutil
from pathlib import Path

import pytest
import yaml

from mechtag.cli.main import app, main
from mechtag.core.codebook import load_codebook
from mechtag.core.errors import MechtagError
from mechtag.core.parquet import read_predictions, read_records
from mechtag.core.settings import Settings, load_settings
from mechtag.models.model_folder import load_model
from tests.support.command import call
from tests.support.paths import ROOT, UPDATE

# All tests wait for a search to be tagged, which takes a while.
pytestmark = pytest.mark.slow

RIS = "TY  - JOUR\nTI  - Sharing the lead in joint teams\nAU  - Roe, R.\nPY  - 2020\nAB  - Managers led.\nER  - \n"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return the folder of a model that was trained on some of the shipped annotations, and its settings file."""
    folder = tmp_path_factory.mktemp("trained")
    lines = (ROOT / "data/annotated/coded/coded_records.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    kept = [row for row in rows if row["relevant"]][:20] + [row for row in rows if not row["relevant"]][:20]
    records = folder / "coded.jsonl"
    records.write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")
    exemplars = (ROOT / "data/annotated/exemplars.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (folder / "exemplars.jsonl").write_text("".join(exemplars[::6]), encoding="utf-8")
    params = folder / "params.yaml"
    params.write_text(
        yaml.safe_dump(
            {
                "codebook": str(ROOT / "data/annotated/codebook.yaml"),
                "train": {
                    "records": str(records),
                    "exemplars": str(folder / "exemplars.jsonl"),
                    "folds": 3,
                },
            }
        ),
        encoding="utf-8",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        patch.chdir(folder)
        status, _, message = call(
            "train", "-o", folder / "model", "--out-of-fold", folder / "oof", "--project", params.parent
        )
    assert status == 0, message
    return folder / "model", params


@pytest.fixture(scope="module")
def tagged(trained: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    model, params = trained
    folder = tmp_path_factory.mktemp("tagged")
    status, output, message = call("tag", UPDATE, "-o", folder, "--model", model, "--project", params.parent)
    assert status == 0, message
    assert "30 records identified (search_update.ris 30)" in output
    assert "4 duplicates, 0 by automation, 0 that could not be read" in output
    assert "26 records to screen" in output
    return folder


def test_every_evidence_offset_cuts_its_text_out_of_the_abstract(tagged: Path) -> None:
    abstracts = {record.record_id: record.abstract for record in read_records(tagged / "records.parquet")}
    predictions = read_predictions(tagged / "predictions.parquet")
    assert len(predictions) == 26 * 8
    quoted = [(row.record_id, evidence) for row in predictions for evidence in row.evidence]
    assert len(quoted) >= len(predictions)
    for record_id, evidence in quoted:
        assert abstracts[record_id][evidence.start : evidence.end] == evidence.text


def test_labels_are_in_codebook_order(tagged: Path) -> None:
    codebook = load_codebook(ROOT / "data/annotated/codebook.yaml")
    keys = codebook.all_keys
    predictions = read_predictions(tagged / "predictions.parquet")
    assert [row.label for row in predictions] == list(keys) * 26
    with (tagged / "tagged.csv").open(encoding="utf-8-sig", newline="") as file:
        header = next(csv.reader(file))
    assert [name.removesuffix(": decision") for name in header if name.endswith(": decision")] == [
        entry.name for entry in codebook.entries
    ]


@pytest.mark.parametrize("form", ["csv", "ris"])
def test_export_writes_what_tag_wrote(tagged: Path, trained: tuple[Path, Path], tmp_path: Path, form: str) -> None:
    output = tmp_path / f"again.{form}"
    words = ["export", tagged / "predictions.parquet", "--to", form, "-o", output, "--project", trained[1].parent]
    assert call(*words)[0] == 0
    assert output.read_bytes() == (tagged / f"tagged.{form}").read_bytes()
    status, _, message = call(*words[:3], "docx", *words[4:])
    assert (status, "'docx' is not one of 'csv', 'ris'" in message) == (2, True)


def test_counts_of_the_summary_add_up(tagged: Path) -> None:
    summary = json.loads((tagged / "summary.json").read_text(encoding="utf-8"))
    assert summary["read"] == summary["kept"] + summary["rejected"] == 30
    assert summary["kept"] == summary["unique"] + summary["duplicates"]
    for counts in summary["decisions"].values():
        assert counts["yes"] + counts["refer"] + counts["no"] == 26
        assert counts["not_scored"] <= counts["no"]


def test_run_id_is_in_the_model_folder_and_in_mlflow(trained: tuple[Path, Path]) -> None:
    import mlflow

    model, _ = trained
    run = json.loads((model / "mlflow_run.json").read_text(encoding="utf-8"))
    mlflow.set_tracking_uri(f"sqlite:///{model.parent}/mlflow.db")
    logged = mlflow.get_run(run["run_id"])
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    assert logged.data.tags["model_id"] == run["model_id"] == config["model_id"]
    assert logged.data.params["train.folds"] == "3"
    assert 0.5 < logged.data.metrics["relevance_roc_auc"] <= 1
    names = {item.path for item in mlflow.MlflowClient().list_artifacts(run["run_id"], "model/artifacts/model")}
    assert {Path(name).name for name in names} == {"config.json", "model.safetensors", "encoder.safetensors"}


@pytest.mark.slow
def test_training_twice_gives_the_same_model(trained: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    from mechtag.training.train import save_model, train

    model, params = trained
    settings = load_settings(params)
    again = train(settings, load_codebook(settings.codebook))
    save_model(again, model.parent / "again")
    for name in ("config.json", "model.safetensors"):
        assert (model.parent / "again" / name).read_bytes() == (model / name).read_bytes()


def test_parquet_and_its_sentences_give_the_same_predictions(
    trained: tuple[Path, Path], tagged: Path, tmp_path: Path
) -> None:
    model, params = trained
    options = ["--project", params.parent]
    assert call("sentences", tagged / "records.parquet", "-o", tmp_path / "s.parquet", *options)[0] == 0
    words = ["tag", tagged / "records.parquet", "--sentences", tmp_path / "s.parquet", "-o", tmp_path / "out"]
    assert call(*words, "--model", model, *options)[0] == 0
    assert (tmp_path / "out/predictions.parquet").read_bytes() == (tagged / "predictions.parquet").read_bytes()


def test_sentences_of_other_records_are_refused(trained: tuple[Path, Path], tagged: Path, tmp_path: Path) -> None:
    model, params = trained
    (tmp_path / "one.ris").write_text(RIS, encoding="utf-8")
    assert call("ingest", tmp_path / "one.ris", "-o", tmp_path / "one.parquet")[0] == 0
    assert call("sentences", tagged / "records.parquet", "-o", tmp_path / "s.parquet")[0] == 0
    words = ["tag", tmp_path / "one.parquet", "--sentences", tmp_path / "s.parquet", "-o", tmp_path / "out"]
    status, _, message = call(*words, "--model", model, "--project", params.parent)
    assert status == 1
    assert "is not in the abstract" in message
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.ris", b"", "empty.ris: the file is empty"),
        ("picture.ris", b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 20, "picture.ris: this is a binary file"),
        ("prose.txt", b"just some words\n", "prose.txt: this file is in an unknown format"),
        ("table.csv", b"author,year\nRoe,2020\n", "table.csv"),
    ],
)
def test_unreadable_files_are_reported(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    status, _, error = call("ingest", tmp_path / name, "-o", tmp_path / "records.parquet")
    assert status == 1
    assert message in error
    assert not (tmp_path / "records.parquet").exists()


def test_records_that_cannot_be_used_are_rejected_or_noted(tmp_path: Path) -> None:
    """A record without a title is rejected, one without an abstract is kept, and one without ER is kept with a note."""
    source = tmp_path / "export.ris"
    source.write_text(
        RIS
        + "TY  - JOUR\nAU  - Doe, D.\nAB  - No title here.\nER  - \n"
        + "TY  - JOUR\nTI  - No abstract here\nER  - \n"
        + "TY  - JOUR\nTI  - The end is missing\nAB  - Cut off.\n",
        encoding="utf-8",
    )
    status, _, message = call("ingest", source, "-o", tmp_path / "records.parquet")
    assert status == 0
    titles = [record.title for record in read_records(tmp_path / "records.parquet")]
    assert titles == ["Sharing the lead in joint teams", "No abstract here", "The end is missing"]
    (rejected,) = [json.loads(line) for line in (tmp_path / "rejected.jsonl").read_text(encoding="utf-8").splitlines()]
    assert (rejected["file"], rejected["record"], rejected["line"]) == ("export.ris", 2, 7)
    assert "title" in rejected["reason"]
    assert ["AB", "No title here."] in rejected["raw"]
    assert "export.ris: record 4, line 14" in message
    counts = json.loads((tmp_path / "ingest.json").read_text(encoding="utf-8"))
    assert (counts["read"], counts["kept"], counts["rejected"]) == (4, 3, 1)
    assert counts["sources"][0]["without_abstract"] == 1


def test_record_without_abstract_is_tagged_by_its_title(trained: tuple[Path, Path], tmp_path: Path) -> None:
    model, params = trained
    (tmp_path / "bare.ris").write_text("TY  - JOUR\nTI  - Leading joint care teams\nER  - \n", encoding="utf-8")
    status, output, _ = call(
        "tag", tmp_path / "bare.ris", "-o", tmp_path / "out", "--model", model, "--project", params.parent
    )
    assert status == 0
    assert "1 record to screen, 1 of them without an abstract" in output
    assert all(row.evidence == () for row in read_predictions(tmp_path / "out/predictions.parquet"))


def test_stray_key_in_the_settings_is_refused(tmp_path: Path) -> None:
    params = tmp_path / "params.yaml"
    params.write_text("train:\n  foldz: 5\n", encoding="utf-8")
    status, _, message = call("train", "-o", tmp_path / "m", "--project", params.parent)
    assert status == 1
    assert "params.yaml: train.foldz: unknown key" in message


def test_codebook_with_an_unknown_key_is_refused(tmp_path: Path) -> None:
    book = tmp_path / "codebook.yaml"
    content = yaml.safe_load((ROOT / "data/annotated/codebook.yaml").read_text(encoding="utf-8"))
    content["labels"][0]["colour"] = "red"
    book.write_text(yaml.safe_dump(content), encoding="utf-8")
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"codebook": str(book)}), encoding="utf-8")
    status, _, message = call("train", "-o", tmp_path / "m", "--project", tmp_path)
    assert status == 1
    assert "codebook.yaml: labels.0.colour: unknown key" in message


def test_model_of_another_codebook_is_refused(trained: tuple[Path, Path], tmp_path: Path) -> None:
    model, _ = trained
    content = yaml.safe_load((ROOT / "data/annotated/codebook.yaml").read_text(encoding="utf-8"))
    content["labels"][0]["definition"] = "Something else."
    book = tmp_path / "codebook.yaml"
    book.write_text(yaml.safe_dump(content), encoding="utf-8")
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"codebook": str(book)}), encoding="utf-8")
    words = ["tag", UPDATE, "-o", tmp_path / "out", "--model", model, "--project", tmp_path]
    status, _, message = call(*words)
    assert status == 1
    assert "this model was trained for the codebook sims-2021" in message
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("config.json", lambda text: text.replace('"format_version": 6', '"format_version": 9'), "model format 9"),
        (
            "config.json",
            lambda text: text.replace('"decided_precision": 0.85', '"decided_precision": 0.7'),
            "do not belong together",
        ),
        ("config.json", lambda text: text[:-20], "not readable as JSON"),
        ("config.json", lambda text: text.replace('"seed"', '"sead"'), "sead: unknown key"),
    ],
)
def test_altered_model_is_refused(trained: tuple[Path, Path], tmp_path: Path, name: str, change, message: str) -> None:
    model, _ = trained
    for file in model.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    text = (tmp_path / name).read_text(encoding="utf-8")
    assert change(text) != text
    (tmp_path / name).write_text(change(text), encoding="utf-8")
    with pytest.raises(MechtagError, match=message):
        load_model(tmp_path)


def test_damaged_weights_are_refused(trained: tuple[Path, Path], tmp_path: Path) -> None:
    model, _ = trained
    (tmp_path / "config.json").write_bytes((model / "config.json").read_bytes())
    (tmp_path / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(MechtagError, match="not readable as model weights"):
        load_model(tmp_path)


def test_folder_without_a_model_is_reported(tmp_path: Path) -> None:
    status, _, message = call("tag", UPDATE, "-o", tmp_path / "out", "--model", tmp_path)
    assert status == 1
    assert "run 'mechtag train' first" in message


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("ingest",), "Missing argument 'SRC...'."),
        (("nonsense",), "No such command 'nonsense'."),
        (("ingest", UPDATE), "Missing option '-o' / '--output'."),
    ],
)
def test_wrong_usage_has_exit_status_two(words: tuple[object, ...], expected: str) -> None:
    status, output, message = call(*words)
    assert (status, output) == (2, "")
    assert f"│ {expected} " in message


def test_every_command_shows_an_example() -> None:
    for command in app.registered_commands:
        name = command.name or command.callback.__name__
        status, output, _ = call(name, "--help")
        assert status == 0
        assert "Example" in output
        assert f"mechtag {name}" in output


def test_main_prints_the_message_without_a_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "sys.argv", ["mechtag", "ingest", str(tmp_path / "none.ris"), "-o", str(tmp_path / "r.parquet")]
    )
    with pytest.raises(SystemExit, match="1"):
        main()
    error = capsys.readouterr().err
    assert error.startswith("mechtag: ")
    assert "no such file" in error
    assert "Traceback" not in error


def test_a_full_disk_is_reported_once_even_if_a_folder_was_being_copied(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in ("a", "b"):
        (source / name).touch()

    def fill(_: str, target: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", target)

    monkeypatch.setattr("mechtag.cli.main.app", lambda: shutil.copytree(source, tmp_path / "t", copy_function=fill))
    with pytest.raises(SystemExit, match="1"):
        main()
    error = capsys.readouterr().err
    assert error.startswith("mechtag: [Errno ")
    assert error.count("No space left on device") == error.count("\n") == 1


def test_shipped_settings_are_the_defaults_except_sources_and_hash() -> None:
    shipped = load_settings(ROOT / "params.yaml")
    encoder = shipped.encoder.model_copy(update={"sha256": ""})
    found = shipped.model_copy(update={"sources": {}, "encoder": encoder})
    assert found.model_dump(mode="json") == Settings().model_dump(mode="json")


def test_rank_without_decisions_follows_the_model(trained: tuple[Path, Path], tagged: Path, tmp_path: Path) -> None:
    model, params = trained
    output = tmp_path / "ranking.csv"
    status, said, message = call(
        "rank", tagged / "records.parquet", "-o", output, "--model", model, "--project", params.parent
    )
    assert status == 0, message
    assert "0 of 26 records have been judged" in said
    relevance = load_codebook(ROOT / "data/annotated/codebook.yaml").relevance.key
    scores = {
        row.record_id: row.score for row in read_predictions(tagged / "predictions.parquet") if row.label == relevance
    }
    with output.open(encoding="utf-8-sig", newline="") as file:
        ranked = [row["record_id"] for row in csv.DictReader(file)]
    assert ranked == sorted(scores, key=lambda name: -scores[name])
