"""Test tagging in chunks: how runs are interrupted and resumed, and which files they leave."""

from __future__ import annotations

import csv
import errno
import json
import re
import signal
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import mechtag.models.model_folder
import mechtag.pipeline.tagging.prefetch
from mechtag.core.codebook import load_codebook
from mechtag.core.errors import MechtagError
from mechtag.core.parquet import read_predictions, read_records, write_records, write_sentences
from mechtag.core.records import Prediction, Record
from mechtag.core.settings import load_settings
from mechtag.evaluation.predictions import System
from mechtag.models.model_folder import Model
from mechtag.pipeline.export.tagged import export
from mechtag.pipeline.reading.text import sign_by_vectors
from mechtag.pipeline.reading.text.sentences import split
from mechtag.pipeline.tagging.chunks import Chunk, ChunkStore, RunManifest
from mechtag.pipeline.tagging.inputs import Inputs
from mechtag.pipeline.tagging.predict import predict
from mechtag.pipeline.tagging.prefetch import prefetch
from mechtag.pipeline.tagging.start import Request
from mechtag.pipeline.tagging.storage import locate
from tests.support.batches import finish, outputs, papers, project, start, toy_model
from tests.support.command import call

COUNT = 63


@pytest.fixture(autouse=True)
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mechtag.models.model_folder, "load_model", toy_model)


@pytest.fixture
def table(tmp_path: Path) -> tuple[Path, Path]:
    return project(tmp_path, COUNT)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Return the content of each file that a run without interruption writes."""
    folder = tmp_path_factory.mktemp("whole")
    records, params = project(folder, COUNT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mechtag.models.model_folder, "load_model", toy_model)
        status, _, message = call("tag", records, "-o", folder / "out", "--project", params.parent)
    assert status == 0, message
    found = outputs(folder / "out")
    assert set(found) == {
        *("records.parquet", "predictions.parquet", "tagged.csv", "tagged.ris", "review.xlsx", "summary.json"),
        *("groups.csv", "uncertain.csv", "rejected.jsonl"),
    }
    return found


def model_of(params: Path) -> Model:
    settings = load_settings(params)
    return toy_model("", load_codebook(settings.codebook), score_all=settings.tag.score_all)


def test_joined_chunks_equal_a_run_in_memory(table: tuple[Path, Path], whole: dict[str, bytes], tmp_path: Path) -> None:
    model, settings = model_of(table[1]), load_settings(table[1])
    records = read_records(table[0])
    sentences = list(split(records, settings.sentences))
    expected = predict(model.tagger, "toy", records, sentences, evidence_sentences=2)
    (tmp_path / "predictions.parquet").write_bytes(whole["predictions.parquet"])
    found = read_predictions(tmp_path / "predictions.parquet")

    def said(row: Prediction) -> tuple[object, ...]:
        return row.record_id, row.label, row.decision, [evidence.text for evidence in row.evidence]

    assert list(map(said, found)) == list(map(said, expected))
    assert [row.probability for row in found] == pytest.approx([row.probability for row in expected])
    labels = [(entry.key, entry.name) for entry in model.tagger.codebook.entries]
    for form in ("csv", "ris"):
        export(form, tmp_path / "again", records, found, labels)
        assert (tmp_path / "again").read_bytes() == whole[f"tagged.{form}"]
    counts = json.loads(whole["summary.json"])
    assert counts["unique"] == COUNT
    assert counts["without_abstract"] == sum(not record.abstract for record in records) > 0
    assert list(counts["decisions"]) == ["edible", "apple", "pear"]
    for label, decided in counts["decisions"].items():
        own = [row for row in expected if row.label == label]
        named = {name: sum(row.decision == name for row in own) for name in ("yes", "refer", "no")}
        assert decided == named | {"not_scored": sum(row.score is None for row in own)}


@pytest.mark.slow
def test_killed_at_random_moments_and_resumed(
    table: tuple[Path, Path], whole: dict[str, bytes], tmp_path: Path
) -> None:
    rng, log = np.random.default_rng(11), tmp_path / "log"
    words = ("tag", table[0], "-o", tmp_path / "out", "--project", table[1].parent, "--resume")
    kills = 0
    while True:
        process = start(*words, seconds=0.2, TOY_LOG=str(log))
        before = log.read_text().count("\n") if log.exists() else 0
        deadline = time.monotonic() + 120
        while process.poll() is None and (log.read_text().count("\n") if log.exists() else 0) <= before:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        time.sleep(rng.uniform(0, 0.6))
        if kills < 2 and process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
            finish(process)
            continue
        status, _, message = finish(process)
        assert status == 0, message
        break
    assert kills == 2
    assert outputs(tmp_path / "out") == whole
    # After a kill, only the chunk that was being scored and the one that was being written are scored again.
    assert 7 <= len(log.read_text().splitlines()) <= 7 + 2 * kills


@pytest.mark.slow
def test_ctrl_c_keeps_what_is_finished_and_says_how_to_go_on(
    table: tuple[Path, Path], whole: dict[str, bytes], tmp_path: Path
) -> None:
    words = ("tag", table[0], "-o", tmp_path / "out", "--project", table[1].parent)
    process = start(*words, seconds=0.4)
    deadline = time.monotonic() + 120
    while not (tmp_path / "out/parts/predictions-00001.json").exists():
        assert process.poll() is None, finish(process)
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    status, _, message = finish(process)
    assert status == 1
    assert "mechtag: the run was stopped. " in message
    assert "of 7 chunks are done; continue the run (add --resume to continue)" in message
    assert "Traceback" not in message
    assert not (tmp_path / "out/.lock").exists()

    status, _, message = call(*words)
    assert status == 1
    assert "this folder contains an unfinished run, with " in message
    assert "continue this run, or delete this folder to start over (add --resume to continue)" in message
    assert call(*words, "--resume")[0] == 0
    assert outputs(tmp_path / "out") == whole


def test_decisions_in_the_tables_of_an_unfinished_run_are_not_overwritten(
    table: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    words = ("tag", table[0], "-o", tmp_path / "out", "--project", table[1].parent)
    with monkeypatch.context() as patch:
        patch.setattr("mechtag.pipeline.tagging.run.write_json", interrupted)  # called after the tables are written
        assert call(*words)[0] == 1
    path = tmp_path / "out/tagged.csv"
    rows = list(csv.reader(path.read_text(encoding="utf-8-sig").splitlines()))
    rows[1][rows[0].index("decision")] = "1"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    before = path.read_bytes()
    status, _, message = call(*words, "--resume")
    assert status == 1
    assert "tagged.csv would delete 1 decision that a person filled in" in message
    assert path.read_bytes() == before


@pytest.mark.parametrize("name", ["predictions-00004.parquet", "predictions-00004.json", "tagged.ris", "summary.json"])
def test_a_full_disk_keeps_what_is_finished(
    name: str, table: tuple[Path, Path], whole: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("tag", table[0], "-o", tmp_path / "out", "--project", table[1].parent)
    really = Path.replace

    def replace(path: Path, target: Path) -> Path:
        if Path(target).name == name:
            raise OSError(errno.ENOSPC, "No space left on device")
        return really(path, target)

    with monkeypatch.context() as full:
        full.setattr(Path, "replace", replace)
        status, _, message = call(*words)
    assert status == 1
    written = 7 if name.endswith(("ris", "summary.json")) else 4
    assert f"no space left on the disk. {written} of 7 chunks are done; continue the run (add --resume" in message
    assert not list(tmp_path.rglob(".mechtag-*"))
    status, _, message = call(*words, "--resume")
    assert status == 0, message
    assert "resuming: " in message
    assert outputs(tmp_path / "out") == whole


@pytest.mark.slow
def test_a_second_run_on_the_same_output_is_refused(
    table: tuple[Path, Path], whole: dict[str, bytes], tmp_path: Path
) -> None:
    words = ("tag", table[0], "-o", tmp_path / "out", "--project", table[1].parent)
    process = start(*words, seconds=0.4)
    deadline = time.monotonic() + 120
    while not (tmp_path / "out/parts/manifest.json").exists():
        assert process.poll() is None, finish(process)
        assert time.monotonic() < deadline
        time.sleep(0.05)
    for more in ((), ("--resume",)):
        status, _, message = call(*words, *more)
        assert status == 1
        assert "another run of mechtag is writing to this folder" in message
    assert finish(process)[0] == 0
    assert outputs(tmp_path / "out") == whole


def fail_at(patch: pytest.MonkeyPatch, part: int, error: BaseException) -> None:
    """Make the writing of chunk ``part`` raise ``error``."""
    really = ChunkStore.write

    def write(parts: ChunkStore, manifest: RunManifest, number: int, *given: Any) -> Chunk:
        if number == part:
            raise error
        return really(parts, manifest, number, *given)

    patch.setattr(ChunkStore, "write", write)


@pytest.fixture
def stopped(table: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[object, ...]:
    """Interrupt a run after two chunks, and return the command that resumes it."""
    words = ("tag", table[0], "-o", tmp_path / "out", "--project", table[1].parent)
    with monkeypatch.context() as patch:
        fail_at(patch, 2, KeyboardInterrupt())
        status, _, message = call(*words)
    assert status == 1
    assert "stopped. 2 of 7 chunks are done" in message
    return (*words, "--resume")


def test_a_resumed_run_refuses_changed_inputs_and_settings(
    stopped: tuple[object, ...], table: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = outputs(tmp_path / "out")

    def refused(*parts: str) -> None:
        status, _, message = call(*stopped)
        assert status == 1
        assert "this run cannot be resumed" in message
        assert all(part in message for part in parts), message
        assert outputs(tmp_path / "out") == kept

    params = table[1].read_text(encoding="utf-8")
    table[1].write_text(params.replace("chunk_records: 10", "chunk_records: 20\n  evidence_sentences: 1"))
    refused("setting tag.chunk_records was 10 and is now 20", "setting tag.evidence_sentences was 2 and is now 1")
    table[1].write_text(params.replace("chunk_records: 10", "chunk_records: 10\n  score_all: true"))
    refused("setting tag.score_all was False and is now True")
    table[1].write_text(params)
    status, _, message = call(*stopped, "--score-all")
    assert status == 1
    assert "setting tag.score_all was False and is now True. Undo the change" in message
    assert outputs(tmp_path / "out") == kept

    codebook = (tmp_path / "codebook.yaml").read_text(encoding="utf-8")
    (tmp_path / "codebook.yaml").write_text(codebook.replace("pear perry", "pear tree"), encoding="utf-8")
    refused("codebook was ")
    (tmp_path / "codebook.yaml").write_text(codebook, encoding="utf-8")

    with monkeypatch.context() as patch:
        patch.setenv("TOY_MODEL", "other")
        refused("model was toy and is now other")

    records = table[0].read_bytes()
    write_records(table[0], papers(COUNT - 1))
    refused("source", "records.parquet has different content")
    table[0].write_bytes(records)

    # The signs of evidence are read only when the tables are written.
    monkeypatch.setattr(sign_by_vectors, "accurate_encoder", lambda: None)
    monkeypatch.setattr(sign_by_vectors, "SignsByVectors", lambda _: lambda texts: ["absent" for _ in texts])
    table[1].write_text(params.replace("chunk_records: 10", "chunk_records: 10\n  sign: accurate"))
    assert call(*stopped)[0] == 0
    text = (tmp_path / "out/tagged.csv").read_text(encoding="utf-8-sig")
    rows = list(csv.DictReader(text.splitlines()))
    signs = {(bool(row[f"{name}: evidence"]), row[f"{name}: sign"]) for row in rows for name in ("Apple", "Pear")}
    assert signs == {(True, "absent"), (False, "")}


def test_a_damaged_part_is_made_again(stopped: tuple[object, ...], whole: dict[str, bytes], tmp_path: Path) -> None:
    parts = tmp_path / "out/parts"
    data = (parts / "predictions-00000.parquet").read_bytes()
    (parts / "predictions-00000.parquet").write_bytes(data[:-9] + b"123456789")
    (parts / "predictions-00001.json").write_text('{"part": 1}')
    status, _, message = call(*stopped)
    assert status == 0
    assert "resuming" not in message
    assert outputs(tmp_path / "out") == whole


def test_a_run_of_an_older_version_is_refused(stopped: tuple[object, ...], tmp_path: Path) -> None:
    path = tmp_path / "out/parts/manifest.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    assert content["format_version"] == 2
    path.write_text(json.dumps(content | {"format_version": 1}), encoding="utf-8")
    kept = outputs(tmp_path / "out")
    for words in (stopped, stopped[:-1]):
        status, _, message = call(*words)
        assert status == 1
        assert (
            f"{path}: format 1 is not supported, because this version of mechtag reads only format 2; resume with the "
            "version of mechtag that" in message
        )
        assert f"started the run, or delete {path.parent}" in message
        assert outputs(tmp_path / "out") == kept


def test_a_part_without_its_counts_is_made_again(
    stopped: tuple[object, ...], whole: dict[str, bytes], tmp_path: Path
) -> None:
    path = tmp_path / "out/parts/predictions-00001.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    del content["unlike"]
    path.write_text(json.dumps(content), encoding="utf-8")
    assert call(*stopped)[0] == 0
    assert outputs(tmp_path / "out") == whole


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{}", "format None is not supported"),
        ('{"format_version": 99}', "format 99 is not supported, because this version of mechtag reads only format 2"),
        ('{"format_version": 2}', "Field required"),
        ("[1]", "not readable"),
        ("{", "not readable"),
    ],
)
def test_a_damaged_manifest_is_reported(
    content: str, message: str, stopped: tuple[object, ...], tmp_path: Path
) -> None:
    (tmp_path / "out/parts/manifest.json").write_text(content)
    status, _, error = call(*stopped)
    assert status == 1
    assert "manifest.json" in error
    assert message in error
    assert "delete " in error.lower()


def test_exports_are_resumed_without_reading_them_into_records_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, params = project(tmp_path, 1)
    source = tmp_path / "exports"
    source.mkdir()
    entry = "TY  - JOUR\nTI  - Study {0} of pears\n"
    entry += "AU  - Roe, R.\nDO  - 10.1000/{0}\nPY  - 20{0}\nAB  - Apple {0} grew. Pears did not.\nER  - \n"
    (source / "a.ris").write_text("".join(entry.format(number) for number in range(10, 36)), encoding="utf-8")
    (source / "b.ris").write_text(entry.format(10) + "TY  - JOUR\nAU  - Doe, D.\nER  - \n", encoding="utf-8")
    words = ("tag", source, "--project", params.parent, "-o")
    assert call(*words, tmp_path / "whole")[0] == 0
    expected = outputs(tmp_path / "whole")
    assert (json.loads(expected["summary.json"])["read"], json.loads(expected["summary.json"])["unique"]) == (28, 26)
    with monkeypatch.context() as patch:
        fail_at(patch, 1, OSError(errno.ENOSPC, "No space left on device"))
        assert call(*words, tmp_path / "out")[0] == 1
    with monkeypatch.context() as patch:
        patch.setattr("mechtag.pipeline.tagging.inputs.ingest", None)
        assert call(*words, tmp_path / "out", "--resume")[0] == 0
    assert outputs(tmp_path / "out") == expected

    with monkeypatch.context() as patch:
        fail_at(patch, 1, OSError(errno.ENOSPC, "No space left on device"))
        assert call(*words, tmp_path / "more")[0] == 1
    (source / "c.ris").write_text(entry.format(50), encoding="utf-8")
    status, _, message = call(*words, tmp_path / "more", "--resume")
    assert status == 1
    assert f"source {source / 'c.ris'} is new" in message


@pytest.mark.parametrize("count", [0, 1, 10, 11])
def test_any_number_of_records(count: int, tmp_path: Path) -> None:
    records, params = project(tmp_path, count)
    status, _, message = call("tag", records, "-o", tmp_path / "out", "--project", params.parent)
    assert status == 0, message
    found = read_predictions(tmp_path / "out/predictions.parquet")
    assert [row.record_id for row in found[::3]] == [record.record_id for record in papers(count)]
    assert json.loads((tmp_path / "out/summary.json").read_text(encoding="utf-8"))["unique"] == count


def test_records_without_abstract_are_scored_by_their_title(tmp_path: Path) -> None:
    records, params = project(tmp_path, 1)
    write_records(records, [Record(record_id=f"text:{n}", title=f"Pear {n}") for n in range(25)])
    assert call("tag", records, "-o", tmp_path / "out", "--project", params.parent)[0] == 0
    found = read_predictions(tmp_path / "out/predictions.parquet")
    assert len(found) == 25 * 3
    assert not any(row.evidence for row in found)


def test_a_repeated_record_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    records, params = project(tmp_path, 1)
    write_records(records, [*papers(4000), papers(4000)[17]])
    status, _, message = call("tag", records, "-o", tmp_path / "a/out", "--project", params.parent)
    assert status == 1
    assert "record text:003983 appears more than once" in message
    assert not (tmp_path / "a").exists()


@pytest.mark.slow
def test_an_error_in_the_process_that_cuts_sentences_reaches_the_user(
    table: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mechtag.pipeline.tagging.prefetch, "prefetch", prefetch)
    with table[1].open("a", encoding="utf-8") as file:
        file.write("sentences: {spacy_model: no_such_model}\n")
    status, _, message = call("tag", table[0], "-o", tmp_path / "out", "--project", table[1].parent)
    assert status == 1
    assert "sentences.spacy_model: the spaCy model 'no_such_model' cannot be loaded" in message


def test_a_table_with_raw_texts_is_cleaned_and_offsets_are_into_the_copy(
    table: tuple[Path, Path], tmp_path: Path
) -> None:
    tidy = "Managers of R&D agreed on one aim. They met each month."
    raw = f"<p>{tidy.replace('&', '&amp;')}</p> Keywords: power; Trust"
    abstracts = [raw, "", "Managers agreed on the", "Keywords: power; trust"]
    records = [
        Record(record_id=f"text:{number}", title="Joint <i>care</i>", abstract=abstract, keywords=("trust",))
        for number, abstract in enumerate(abstracts)
    ]
    write_records(tmp_path / "raw.parquet", records)
    words = ("tag", tmp_path / "raw.parquet", "--project", table[1].parent)
    status, _, said = call(*words, "-o", tmp_path / "out")
    assert status == 0, said
    assert "note: 1 abstract ends in mid-sentence, because it is truncated in the export" in said
    kept = read_records(tmp_path / "out/records.parquet")
    assert [record.abstract for record in kept] == [tidy, "", "Managers agreed on the", ""]
    assert (kept[0].title, kept[0].keywords) == ("Joint care", ("trust", "power"))
    summary = json.loads((tmp_path / "out/summary.json").read_text(encoding="utf-8"))
    assert (summary["abstracts_cut"], summary["without_abstract"]) == (1, 2)
    by_id = {record.record_id: record.abstract for record in kept}
    predictions = read_predictions(tmp_path / "out/predictions.parquet")
    assert any(row.evidence for row in predictions)
    for row in predictions:
        assert all(by_id[row.record_id][found.start : found.end] == found.text for found in row.evidence)
    # 'mechtag sentences' splits the same cleaned texts.
    assert (
        call("sentences", tmp_path / "raw.parquet", "-o", tmp_path / "s.parquet", "--project", table[1].parent)[0] == 0
    )
    assert call(*words, "--sentences", tmp_path / "s.parquet", "-o", tmp_path / "again")[0] == 0
    assert outputs(tmp_path / "again") == outputs(tmp_path / "out")


def test_sentences_cut_before_are_taken_part_by_part(
    table: tuple[Path, Path], whole: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sentences = list(split(read_records(table[0]), load_settings(table[1]).sentences))
    write_sentences(tmp_path / "s.parquet", sentences)
    words = (
        "tag",
        table[0],
        "--sentences",
        tmp_path / "s.parquet",
        "-o",
        tmp_path / "out",
        "--project",
        table[1].parent,
    )
    with monkeypatch.context() as patch:
        fail_at(patch, 3, KeyboardInterrupt())
        assert call(*words)[0] == 1
    assert call(*words, "--resume")[0] == 0
    assert outputs(tmp_path / "out") == whole
    for wrong in (sentences[1:] + sentences[:1], [*sentences, sentences[0]]):
        write_sentences(tmp_path / "s.parquet", wrong)
        status, _, message = call(*words[:-4], "-o", tmp_path / "other", "--project", table[1].parent)
        assert status == 1
        assert "split these records again" in message
        assert not (tmp_path / "other").exists()


def assert_alike(one: Prediction, other: Prediction) -> None:
    """Assert that predictions are equal up to rounding, which depends on the texts that are encoded together."""
    numbers = ("score", "probability", "given_relevant")
    assert [getattr(one, name) for name in numbers] == pytest.approx([getattr(other, name) for name in numbers])
    assert [row.score for row in one.evidence] == pytest.approx([row.score for row in other.evidence])
    assert one == other.model_copy(
        update={name: getattr(one, name) for name in numbers}
        | {
            "evidence": tuple(
                row.model_copy(update={"score": own.score})
                for own, row in zip(one.evidence, other.evidence, strict=True)
            )
        }
    )


def test_labels_of_what_is_clearly_irrelevant_are_not_scored(
    table: tuple[Path, Path], whole: dict[str, bytes], tmp_path: Path
) -> None:
    """Labels are skipped for exactly the records whose relevance is a no with ``--score-all``; nothing else differs."""
    words = ("tag", table[0], "--project", table[1].parent, "-o")
    status, said, _ = call(*words, tmp_path / "some")
    assert status == 0
    assert outputs(tmp_path / "some") == whole
    status, said_all, _ = call(*words, tmp_path / "all", "--score-all")
    assert status == 0
    some, every = (read_predictions(tmp_path / name / "predictions.parquet") for name in ("some", "all"))
    assert not any(row.score is None or row.probability is None for row in every)
    assert not any(row.given_relevant is None for row in every if row.label != "edible")
    clear = {row.record_id for row in every if row.label == "edible" and row.decision == "no"}
    assert 5 < len(clear) < COUNT - 5
    nothing = {"score": None, "probability": None, "given_relevant": None, "evidence": ()}
    for one, other in zip(some, every, strict=True):
        if other.record_id not in clear:
            assert_alike(one, other)
        elif other.label == "edible":
            assert_alike(one, other.model_copy(update={"evidence": ()}))
        else:
            assert other.decision == "no"
            assert one == other.model_copy(update=nothing)

    # The table has null, because NaN would be counted as a number in sorting and sums.
    found = pq.read_table(tmp_path / "some/predictions.parquet")
    counts = {name: found[name].null_count for name in ("score", "probability", "given_relevant", "decision")}
    unscored = 2 * len(clear)
    assert counts == {"score": unscored, "probability": unscored, "given_relevant": unscored + COUNT, "decision": 0}
    assert not any(np.isnan(found[name].drop_null().to_numpy()).any() for name in ("score", "probability"))

    summaries = [json.loads((tmp_path / name / "summary.json").read_text("utf-8")) for name in ("some", "all")]
    for label in ("edible", "apple", "pear"):
        own, full = (summary["decisions"][label] for summary in summaries)
        assert own["yes"] + own["refer"] + own["no"] == COUNT
        assert own == full | {"not_scored": 0 if label == "edible" else len(clear)}
        assert full["not_scored"] == 0
    assert said.count(f" ({len(clear)} of these not scored)") == 2
    assert "not scored" not in said_all

    for name, expected in (("some", len(clear)), ("all", 0)):
        with (tmp_path / name / "tagged.csv").open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == COUNT
        for row in rows:
            left_out = name == "some" and row["record_id"] in clear
            for label in ("apple", "pear"):
                assert (row[f"{label.capitalize()}: decision"] == "not scored") == left_out
                assert (row[f"{label.capitalize()}: probability"] == "") == left_out
        notes = (tmp_path / name / "tagged.ris").read_text("utf-8").count("N1  - mechtag: labels not scored, ")
        assert notes == expected


def test_score_all_may_be_a_setting(table: tuple[Path, Path], tmp_path: Path) -> None:
    words = ("tag", table[0], "--project", table[1].parent, "-o")
    assert call(*words, tmp_path / "option", "--score-all")[0] == 0
    params = table[1].read_text(encoding="utf-8")
    table[1].write_text(params.replace("chunk_records: 10", "chunk_records: 10\n  score_all: true"), encoding="utf-8")
    assert call(*words, tmp_path / "settings")[0] == 0
    assert outputs(tmp_path / "settings") == outputs(tmp_path / "option")


def test_what_was_not_scored_is_not_evaluated(table: tuple[Path, Path], tmp_path: Path) -> None:
    words = ("tag", table[0], "--project", table[1].parent, "-o")
    assert call(*words, tmp_path / "some")[0] == call(*words, tmp_path / "all", "--score-all")[0] == 0
    some, every = (read_predictions(tmp_path / name / "predictions.parquet") for name in ("some", "all"))
    first = next(row for row in some if row.score is None)
    place = f"predictions of toy: record {first.record_id}, label '{first.label}': the label was not scored"
    with pytest.raises(
        MechtagError,
        match=f"^{place}, because .* clearly irrelevant; tag the records again with 'mechtag tag --score-all",
    ):
        System("toy", some)
    ids, labels = list(dict.fromkeys(row.record_id for row in every)), ["apple", "pear"]
    judged = System("toy", every).judged(ids, labels, np.zeros((COUNT, 2)))
    assert np.isfinite(judged.score).all()


def test_records_unlike_the_training_texts_are_counted_and_reported(
    table: tuple[Path, Path], whole: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("tag", table[0], "--project", table[1].parent, "-o")
    usual = json.loads(whole["summary.json"])
    assert (usual["unlike"], usual["notes"]) == (0, [])
    status, _, message = call(*words, tmp_path / "usual")
    assert (status, message) == (0, "")
    # No cosine reaches 1.5, so all records are unlike, but only those that may be relevant are counted.
    monkeypatch.setattr(mechtag.models.model_folder, "load_model", partial(toy_model, familiar=1.5))
    status, _, message = call(*words, tmp_path / "odd")
    assert status == 0
    found = json.loads((tmp_path / "odd/summary.json").read_text(encoding="utf-8"))
    likely = usual["decisions"]["edible"]["yes"] + usual["decisions"]["edible"]["refer"]
    assert 0 < likely < COUNT
    assert found["unlike"] == likely
    (note,) = found["notes"]
    assert note.startswith(f"{likely} of the {likely} records that may be relevant are unlike the texts that")
    assert message == f"note: {note}\n"
    assert found == usual | {"unlike": likely, "notes": [note]}


@pytest.mark.parametrize(
    ("relevance", "unlike", "told"),
    [
        ({"yes": 3, "refer": 1, "no": 90}, 3, "3 of the 4 records"),
        ({"yes": 0, "refer": 3, "no": 0}, 2, "2 of the 3 records"),
        ({"yes": 3, "refer": 1, "no": 90}, 2, None),  # half is not most
        ({"yes": 3, "refer": 1, "no": 0}, 0, None),
        ({"yes": 0, "refer": 0, "no": 7}, 0, None),
        ({}, 0, None),
    ],
)
def test_note_where_most_that_may_be_relevant_is_unlike(
    relevance: dict[str, int], unlike: int, told: str | None, table: tuple[Path, Path]
) -> None:
    codebook = load_codebook(load_settings(table[1]).codebook)
    intake = Inputs(records=94, without_abstract=0, sources=None, notes=("of the intake",))
    decisions = {"edible": relevance, "apple": {"yes": 50, "no": 44, "not_scored": 40}}
    summary = intake.summary("toy", codebook, decisions, unlike)
    first, *others = summary["notes"]
    assert first == "of the intake"
    assert summary["unlike"] == unlike
    if told:
        (note,) = others
        assert note.startswith(f"{told} that may be relevant are unlike the texts that the model was trained")
        assert note.endswith("code some of them, and retrain")
    else:
        assert others == []
    assert summary["decisions"]["apple"] == {"yes": 50, "refer": 0, "no": 44, "not_scored": 40}
    assert summary["decisions"]["pear"] == dict.fromkeys(("yes", "refer", "no", "not_scored"), 0)


def test_file_uris_are_folders(table: tuple[Path, Path], whole: dict[str, bytes], tmp_path: Path) -> None:
    output = tmp_path / "out"
    status, said, message = call("tag", table[0].as_uri(), "-o", output.as_uri(), "--project", table[1].parent)
    assert status == 0, message
    assert f"{output.as_uri()}/review.xlsx" in said
    assert outputs(output) == whole


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["a.ris", "-o", "s3://bucket/x"], "only if the input is a single table of records"),
        (["s3://bucket/a.ris", "-o", "out"], "only a table of records .* can be read from a URI"),
        (["nosuch://a.parquet", "-o", "out"], "nosuch://a.parquet: this path cannot be accessed"),
        (["a.parquet", "b.ris", "-o", "out"], "a Parquet table cannot be combined with other sources"),
        (
            ["a.parquet", "-o", "out", "--workers", "2"],
            r"only for the Ray engine; .* \(omit --workers, or add --engine ray\)",
        ),
        (["a.parquet", "-o", "out"], "a.parquet: no such file"),
        (["b.ris", "-o", "out"], "b.ris: no such file or folder"),
    ],
)
def test_impossible_options_are_refused(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, params = project(tmp_path, 1)
    (tmp_path / "a.ris").touch()
    monkeypatch.chdir(tmp_path)
    # A model takes seconds to load, so paths are checked first.
    monkeypatch.setattr("mechtag.models.model_folder.load_model", None)
    status, _, error = call("tag", *words, "--project", params.parent)
    assert status == 1
    assert re.search(message, error)
    assert not (tmp_path / "out").exists()


def test_a_key_in_a_uri_is_not_shown() -> None:
    place = locate("s3://AKIAXXXX:secret@bucket/records.parquet?region=eu-west-1")
    assert (place.name, place.path) == ("s3://bucket/records.parquet?region=eu-west-1", "bucket/records.parquet")


def test_a_run_is_not_resumed_with_another_runtime(table: tuple[Path, Path]) -> None:
    settings, model = load_settings(table[1]), model_of(table[1]).config
    one, two = (Request([], "out", settings, model, runtime=name).identity(None) for name in ("torch", "bf16"))
    assert list(one.changes(two)) == ["setting runtime was torch and is now bf16"]
    assert list(one.changes(one)) == []
