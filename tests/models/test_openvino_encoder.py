"""Test that OpenVINO gives the same vectors as torch, exports a model once, and sends nothing anywhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import peak
from benchmarks.peak import encoder_work, matrix_peak
from mechtag.cli.options import RuntimeChoice
from mechtag.core.errors import MechtagError
from mechtag.core.settings import RuntimeName, SentenceSettings, Settings
from mechtag.models.encoder import HIGH, LOW, TransformerEncoder, locate_encoder
from mechtag.models.model_folder import EXPORTS, TUNED, Model, load_model
from mechtag.models.runtimes import choice as choosing
from mechtag.models.runtimes import openvino_encoder as running
from mechtag.models.runtimes.choice import RUNTIMES, TOLERANCE, Runtimes, measure_agreement
from mechtag.models.runtimes.openvino_encoder import OpenVinoEncoder, cached, export, first_narrowing, shaped
from mechtag.models.tagger import Document, Scored, Tagger
from mechtag.pipeline.reading.ingest import ingest
from mechtag.pipeline.reading.text.sentences import split
from tests.support.command import call
from tests.support.paths import ROOT
from tests.support.toy import tiny_bert, tiny_mpnet
from tests.support.tuned import model_folder, settings

__all__ = ["model_folder", "settings"]  # fixtures, which pytest finds by their names here
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]
NARROWING = "__module.model.encoder.layer.0.output.dense/aten::linear/MatMul"
WORDS = ["leaders", "share", "power", "in", "teams", "care", "."]
TEXTS = ["leaders share power in teams.", "care", "", "leaders share", "care", "power " * 100, "nonsense"]
BF16 = "BF16" in running.import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TransformerEncoder:
    return TransformerEncoder(locate_encoder(str(tiny_bert(tmp_path_factory.mktemp("tiny"), WORDS))))


@pytest.fixture(scope="module")
def plain(tiny: TransformerEncoder) -> OpenVinoEncoder:
    return OpenVinoEncoder(export(tiny), "fp32", threads=2)


def runtimes(tiny: TransformerEncoder, folder: Path, identity: str = "tiny") -> Runtimes:
    return Runtimes(folder, identity, lambda: tiny, TEXTS * 4, threads=1)


def test_vectors_equal_those_of_torch_in_the_same_order(tiny: TransformerEncoder, plain: OpenVinoEncoder) -> None:
    assert plain.size == tiny.size
    assert plain.tokens(TEXTS) == tiny.tokens(TEXTS)
    np.testing.assert_allclose(plain.encode(TEXTS), tiny.encode(TEXTS), atol=1e-5)


def test_positions_relative_to_each_other_depend_on_the_length_of_the_text(tmp_path: Path) -> None:
    """MPNet computes relative positions from the length of a text, so the export must not fix this length."""
    encoder = TransformerEncoder(locate_encoder(str(tiny_mpnet(tmp_path, WORDS, positions=130))))
    assert encoder.max_tokens == 128
    other = OpenVinoEncoder(export(encoder), "fp32", threads=1)
    assert other.tokens(TEXTS) == encoder.tokens(TEXTS)
    np.testing.assert_allclose(other.encode(TEXTS), encoder.encode(TEXTS), atol=1e-5)


def test_no_texts_give_no_rows(plain: OpenVinoEncoder) -> None:
    assert plain.encode([]).shape == (0, 16)


def test_more_texts_than_one_slice_stay_in_order(tiny: TransformerEncoder, plain: OpenVinoEncoder) -> None:
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(WORDS, size=rng.integers(1, 30))) for _ in range(1500)]
    np.testing.assert_allclose(plain.encode(texts), tiny.encode(texts), atol=1e-5)


@given(st.lists(st.integers(2, 200), max_size=300))
def test_batches_hold_every_text_once_with_little_padding(lengths: list[int]) -> None:
    found = list(shaped(lengths, 200))
    assert sorted(place for _, batch in found for place in batch) == list(range(len(lengths)))
    for (rows, columns), batch in found:
        longest = max(lengths[place] for place in batch)
        assert len(batch) <= rows
        assert longest <= columns <= min(200, longest * 17 / 16)
        assert rows < 2 * len(batch)
    for (rows, columns), batch in found[:-1]:
        assert rows == len(batch) == 1024 // columns


def test_shapes_of_batches_are_few_whatever_the_texts() -> None:
    rng = np.random.default_rng(2021)
    lots = [rng.lognormal(3.3, 0.6, size=4096).astype(int).clip(2, 256).tolist() for _ in range(50)]
    whole = {shape for lot in lots for shape, _ in list(shaped(lot, 256))[:-1]}
    last = {list(shaped(lot, 256))[-1][0] for lot in lots}
    assert len(whole) <= 80
    assert len(last) <= 20


def test_two_threads_may_encode_at_once(tiny: TransformerEncoder, plain: OpenVinoEncoder) -> None:
    found: dict[int, np.ndarray] = {}
    parts = [[f"{word} share power"] * 300 + [word] for word in WORDS[:4]]
    threads = [
        threading.Thread(target=lambda place=place: found.update({place: plain.encode(parts[place])}))  # type: ignore[misc]
        for place in range(len(parts))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for place, part in enumerate(parts):
        np.testing.assert_allclose(found[place], tiny.encode(part), atol=1e-5)


def test_an_error_while_texts_are_cut_leaves_the_encoder_usable(plain: OpenVinoEncoder) -> None:
    with pytest.raises(TypeError, match=r"TextInputSequence|TextEncodeInput"):
        plain.encode(["care", b"no text"])  # type: ignore[list-item]
    assert plain.encode(["care"]).any()


@pytest.mark.skipif(not BF16, reason="this processor has no bf16")
def test_bf16_is_near_and_is_not_fp32(tiny: TransformerEncoder) -> None:
    found = OpenVinoEncoder(export(tiny), "bf16").encode(TEXTS)
    difference = np.abs(found - tiny.encode(TEXTS)).max()
    assert 1e-5 < difference < 0.05


def test_the_layer_that_quantising_hurts_most_stays_as_it_is(tiny: TransformerEncoder) -> None:
    exported = export(tiny, TEXTS)
    graph = running.import_openvino().Core().read_model(exported.graph, exported.weights)
    layers = [node for node in graph.get_ops() if node.get_type_name() == "MatMul"]
    left = [
        node.get_friendly_name()
        for node in layers
        if node.input(0).get_source_output().get_node().get_type_name() != "FakeQuantize"
    ]
    assert len(layers) == 12
    assert left == [NARROWING]


def test_a_model_without_such_a_layer_is_quantised_whole() -> None:
    openvino = running.import_openvino()
    ops = openvino.opset13
    given = ops.parameter([-1, 4], np.float32)
    widening = ops.matmul(given, ops.constant(np.ones((8, 4), np.float32)), False, True)
    assert first_narrowing(openvino.Model([widening], [given])) == []
    narrowing = ops.matmul(widening, ops.constant(np.ones((8, 4), np.float32)), False, False)
    assert first_narrowing(openvino.Model([narrowing], [given])) == [narrowing.get_friendly_name()]


def test_an_export_is_made_once(tiny: TransformerEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = runtimes(tiny, tmp_path).encoder("fp32").encode(TEXTS)
    monkeypatch.setattr(choosing, "export", lambda *_: pytest.fail("exported again"))
    np.testing.assert_array_equal(runtimes(tiny, tmp_path).encoder("fp32").encode(TEXTS), expected)


@pytest.mark.parametrize("damage", ["cut", "changed", "empty", "text"])
def test_a_damaged_export_is_made_again(
    tiny: TransformerEncoder, tmp_path: Path, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = runtimes(tiny, tmp_path).encoder("fp32").encode(TEXTS)
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    middle = len(whole) - 100
    changed = whole[:middle] + bytes([whole[middle] ^ 64]) + whole[middle + 1 :]
    path.write_bytes({"cut": whole[:-10], "changed": changed, "empty": b"", "text": b"no export"}[damage])
    made: list[TransformerEncoder] = []
    monkeypatch.setattr(choosing, "export", lambda encoder, texts: made.append(encoder) or export(encoder, texts))
    np.testing.assert_allclose(runtimes(tiny, tmp_path).encoder("fp32").encode(TEXTS), expected, atol=1e-6)
    assert made == [tiny]
    monkeypatch.setattr(choosing, "export", lambda *_: pytest.fail("exported again"))
    np.testing.assert_allclose(runtimes(tiny, tmp_path).encoder("fp32").encode(TEXTS), expected, atol=1e-6)


def test_an_export_of_other_weights_is_deleted(tiny: TransformerEncoder, tmp_path: Path) -> None:
    runtimes(tiny, tmp_path, "one").encoder("fp32")
    before = {path.name for path in tmp_path.iterdir()}
    name = next(name for name, _ in tiny.model.named_parameters() if name.endswith("value.weight"))
    other = tiny.with_weights({name + ending: np.eye(16, dtype=np.float16) for ending in (HIGH, LOW)})
    found = runtimes(other, tmp_path, "two").encoder("fp32")
    np.testing.assert_allclose(found.encode(TEXTS), other.encode(TEXTS), atol=1e-5)
    assert np.abs(found.encode(TEXTS) - tiny.encode(TEXTS)).max() > 1e-3
    after = {path.name for path in tmp_path.iterdir()}
    assert len(after) == 1
    assert not before & after


def test_exports_at_the_same_time_do_not_collide(tiny: TransformerEncoder, tmp_path: Path) -> None:
    exported = export(tiny)
    path = tmp_path / "runtimes" / "float-0123.safetensors"
    together = threading.Barrier(4)

    def make():  # type: ignore[no-untyped-def]
        together.wait()
        return exported

    threads = [threading.Thread(target=cached, args=(path, make)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [left.name for left in path.parent.iterdir()] == [path.name]
    assert cached(path, lambda: pytest.fail("exported again")) == exported


def test_a_folder_that_cannot_be_written_to_is_reported(tiny: TransformerEncoder, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(MechtagError, match=r"the exported encoder cannot be written .* or use the 'torch' runtime"):
        runtimes(tiny, tmp_path / "file").encoder("fp32")


def test_unknown_runtime_is_refused(tiny: TransformerEncoder, tmp_path: Path) -> None:
    with pytest.raises(
        MechtagError, match="the runtime 'fp8' is not known; choose one of: auto, torch, fp32, bf16, int8"
    ):
        runtimes(tiny, tmp_path).encoder("fp8")  # type: ignore[arg-type]


def test_names_of_runtimes_are_the_same_everywhere() -> None:
    assert get_args(RuntimeName) == RUNTIMES == tuple(RuntimeChoice)


def test_a_precision_that_the_processor_lacks_is_refused(
    plain: OpenVinoEncoder, tiny: TransformerEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(running._NEEDS, "bf16", "FP7")
    with pytest.raises(MechtagError, match="this processor does not support the runtime 'bf16'"):
        OpenVinoEncoder(export(tiny), "bf16")


def test_tuned_weights_are_exported(model_folder: Path) -> None:
    documents = [Document("apple cider", ("pear perry here", "")), Document("plum jam")]
    reference = load_model(model_folder)
    assert (model_folder / TUNED).stat().st_size > 100
    found = load_model(model_folder, runtime="fp32")
    assert isinstance(found.tagger.encoder, OpenVinoEncoder)
    assert measure_agreement(reference.tagger.tag(documents), found.tagger.tag(documents)).difference < 1e-4
    bare = TransformerEncoder(reference.reference().source)
    assert np.abs(bare.encode(["apple pear"]) - found.tagger.encoder.encode(["apple pear"])).max() > 1e-3


def test_int8_has_a_finer_encoder_for_close_decisions(model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_model(model_folder).tagger.finer is None
    assert load_model(model_folder, runtime="fp32").tagger.finer is None
    finer = load_model(model_folder, runtime="int8").tagger.finer
    assert finer is not None
    assert finer() is finer()
    assert finer().precision == ("bf16" if BF16 else "fp32")  # type: ignore[attr-defined]
    monkeypatch.setitem(running._NEEDS, "bf16", "FP7")
    older = load_model(model_folder, runtime="int8").tagger.finer
    assert older is not None
    assert older().precision == "fp32"  # type: ignore[attr-defined]


def test_repeated_sentences_are_scored_once(model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load_model(model_folder)
    seen: list[list[str]] = []
    encode = type(model.tagger.encoder).encode
    monkeypatch.setattr(
        TransformerEncoder, "encode", lambda self, texts: seen.append(list(texts)) or encode(self, texts)
    )
    documents = [Document("plum jam", ("pear", "apple; pear", "pear")), Document("plum jam", ("apple",))]
    first, second = model.tagger.tag(documents)
    # The whole texts of all papers are encoded first, then each distinct part once.
    assert seen == [["plum jam. pear. apple", "plum jam. apple"], ["plum jam", "pear", "apple"]]
    np.testing.assert_array_equal(first.unit_scores[0], second.unit_scores[0])
    # A repeated part counts only where it occurs first.
    np.testing.assert_allclose(first.unit_scores[2], second.unit_scores[1])
    assert np.isneginf(first.unit_scores[3]).all()
    assert (first.unit_scores[0] != first.unit_scores[1]).any()


QUIET = """
import socket, sys
def refuse(*arguments, **_):
    print("tried to connect", arguments)
    raise OSError("no network")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
from mechtag.models.runtimes.openvino_encoder import import_openvino
openvino = import_openvino()
import nncf, torch
openvino.convert_model(torch.nn.Linear(2, 2), example_input=torch.zeros(1, 2))
print("quiet" if sys.modules["openvino_telemetry"] is None else "loud")
"""


def test_nothing_is_sent_and_no_consent_file_is_written(tmp_path: Path) -> None:
    environment = {**os.environ, "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    environment.pop("CI", None)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", QUIET], env=environment, capture_output=True, text=True
    )
    assert done.stdout.split() == ["quiet"], done.stderr[-2000:]
    assert "tried" not in done.stderr
    assert not list(tmp_path.rglob("*openvino*"))
    assert not (tmp_path / "intel").exists()


def test_a_kept_export_needs_no_torch(model_folder: Path) -> None:
    load_model(model_folder, runtime="fp32")
    code = (
        "import sys; from mechtag.models.model_folder import load_model; from mechtag.models.tagger import Document;"
        f"load_model({str(model_folder)!r}, runtime='fp32').tagger.tag([Document('apple')]);"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"]


def test_the_peak_and_the_work_are_measured_in_operations(
    tiny: TransformerEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Two layers of width 16 with an inner width of 32, one text of three tokens.
    linear = 2 * (4 * 16 * 16 + 2 * 16 * 32)
    assert encoder_work(tiny, [3]) == 2 * linear * 3 + 4 * 2 * 16 * 9
    monkeypatch.setattr(peak, "_SIDE", 256)
    for runtime in ("torch", "fp32", "int8"):
        assert 1e8 < matrix_peak(runtime, threads=1) < 1e13  # type: ignore[arg-type]


def test_tag_names_the_runtime_and_writes_the_same_table(
    model_folder: Path, settings: Settings, tmp_path: Path
) -> None:
    params = {"codebook": str(Path(settings.codebook).absolute()), "encoder": {"name": str(settings.encoder.name)}}
    (tmp_path / "params.yaml").write_text(json.dumps(params))
    (tmp_path / "one.ris").write_text("TY  - JOUR\nTI  - apple cider\nAB  - pear perry. plum jam.\nER  - \n")
    shared = ("tag", tmp_path / "one.ris", "--model", model_folder, "--project", tmp_path, "-o")
    status, _, said = call(*shared, tmp_path / "fast", "--runtime", "fp32", "--threads", "1")
    assert (status, said) == (0, "runtime fp32: as requested\n")
    status, _, said = call(*shared, tmp_path / "slow")
    assert (status, said) == (0, "")
    tables = [(tmp_path / name / "tagged.csv").read_text() for name in ("fast", "slow")]
    assert tables[0] == tables[1]


@pytest.mark.slow
@pytest.mark.parametrize("runtime", list(TOLERANCE))
def test_shipped_texts_are_tagged_as_torch_tags_them(runtime: str, tmp_path: Path) -> None:
    import shutil

    trained = ROOT / "models/trained"
    if not (trained / "config.json").is_file():
        pytest.skip("no trained model; run 'dvc repro train'")
    if runtime == "bf16" and not BF16:
        pytest.skip("this processor has no bf16")
    shutil.copytree(trained, tmp_path / "model", ignore=shutil.ignore_patterns(EXPORTS))
    records = ingest([ROOT / "data/raw/search_update.ris", ROOT / "data/raw/gold_records.jsonl"]).records
    by_record: dict[str, list[str]] = {record.record_id: [] for record in records}
    for sentence in split(records, SentenceSettings()):
        by_record[sentence.record_id].append(sentence.text)
    documents = [Document(record.title, tuple(by_record[record.record_id])) for record in records]

    def tag(model: Model) -> list[Scored]:
        tagger: Tagger = model.tagger
        return tagger.tag(documents)

    found = measure_agreement(tag(load_model(trained)), tag(load_model(tmp_path / "model", runtime=runtime)))  # type: ignore[arg-type]
    # The papers are about leadership, so many probabilities are near the bounds.
    difference, changed = {"fp32": (0.001, 0.0), "bf16": (0.02, 0.005), "int8": (0.05, 0.005)}[runtime]
    assert found.difference <= difference
    assert found.changed <= changed
