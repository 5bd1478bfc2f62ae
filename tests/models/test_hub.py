"""Test that encoders are downloaded from the hub by one command only, and never because a model folder names one."""

from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path
from typing import Any

import pytest

from mechtag.core.codebook import Codebook
from mechtag.core.errors import MechtagError
from mechtag.models.encoder import TransformerEncoder, locate_encoder
from mechtag.models.model_folder import CONFIG, WEIGHTS, ModelConfig, load_model, with_model_id
from mechtag.training.train import save_model, train
from tests.support.command import call
from tests.support.toy import fruit_project, tiny_bert

COMMIT = "a" * 40


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bert(tmp_path_factory.mktemp("tiny"), ["leaders", "share"], positions=12)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of an empty cache; the hub's client may use the network, so that tests see what it requests."""
    folder = tmp_path / "cache"
    folder.mkdir()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(folder))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    return folder


@pytest.fixture
def lookups(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the list of host names that are looked up. Each look-up fails."""
    found: list[str] = []

    def getaddrinfo(host: str, *_: Any, **__: Any) -> Any:
        found.append(host)
        raise socket.gaierror(-2, "no network in tests")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return found


def put(cache: Path, files: Path) -> Path:
    """Copy the files of a model into the cache as the hub's client does, and return their folder there."""
    repository = cache / "models--someone--tiny"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs/main").write_text(COMMIT, encoding="utf-8")
    return Path(shutil.copytree(files, repository / "snapshots" / COMMIT))


def test_an_encoder_in_the_cache_needs_no_network(tiny_model: Path, cache: Path, lookups: list[str]) -> None:
    put(cache, tiny_model)
    assert locate_encoder("someone/tiny").sha256 == locate_encoder(str(tiny_model)).sha256
    assert lookups == []


@pytest.mark.parametrize(
    ("name", "revision", "command"),
    [
        ("someone/tiny", "main", r"run 'mechtag encoder get someone/tiny', which shows the size first$"),
        ("someone/tiny", "v1; rm x", r"run 'mechtag encoder get someone/tiny --revision 'v1; rm x'', which"),
        ("x; rm -rf /", "main", r"neither a folder on this machine nor a valid model id [^']*$"),
        ("../../somewhere", "main", r"neither a folder on this machine nor a valid model id [^']*$"),
    ],
    ids=["id", "revision", "no id", "path"],
)
def test_a_missing_encoder_is_not_downloaded(
    cache: Path, lookups: list[str], name: str, revision: str, command: str
) -> None:
    with pytest.raises(MechtagError, match=command):
        locate_encoder(name, revision=revision)
    assert lookups == []


def test_an_interrupted_download_is_not_an_encoder(tiny_model: Path, cache: Path) -> None:
    (put(cache, tiny_model) / "model.safetensors").unlink()
    with pytest.raises(MechtagError, match="run 'mechtag encoder get someone/tiny'"):
        locate_encoder("someone/tiny")


def test_a_model_folder_from_elsewhere_starts_no_download(
    fruit: Codebook, tmp_path: Path, cache: Path, lookups: list[str]
) -> None:
    settings = fruit_project(tmp_path, fruit)
    save_model(train(settings, fruit), tmp_path / "models/trained")
    folder = tmp_path / "models/trained"
    content = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    content["encoder"]["name"] = "someone/tiny"
    config = with_model_id(ModelConfig.model_validate(content), (folder / WEIGHTS).read_bytes())
    (folder / CONFIG).write_text(config.model_dump_json(), encoding="utf-8")
    with pytest.raises(MechtagError, match="mechtag downloads an encoder only when you ask for it"):
        load_model(folder)
    (tmp_path / "a.jsonl").write_text('{"title": "An apple", "abstract": "The pear."}\n', encoding="utf-8")
    (tmp_path / "params.yaml").write_text(json.dumps({"codebook": "codebook.yaml"}), encoding="utf-8")
    status, _, message = call("tag", tmp_path / "a.jsonl", "-o", tmp_path / "out", "--project", tmp_path)
    assert (status, "mechtag encoder get someone/tiny" in message) == (1, True)
    assert lookups == []


@pytest.mark.parametrize(
    ("file", "content"),
    [
        (
            "config.json",
            {
                "auto_map": {"AutoConfig": "someone/else--code.Config", "AutoModel": "someone/else--code.Model"},
                "model_type": "unknown",
            },
        ),
        ("config.json", {"model_type": "dpt", "backbone": "someone/else", "use_pretrained_backbone": True}),
        ("config.json", {"attn_implementation": "someone/kernel"}),
        ("adapter_config.json", {"base_model_name_or_path": "someone/else", "peft_type": "LORA"}),
    ],
    ids=["code", "backbone", "kernel", "adapter"],
)
def test_files_of_an_encoder_that_name_others_are_refused(
    tiny_model: Path,
    tmp_path: Path,
    cache: Path,
    lookups: list[str],
    monkeypatch: pytest.MonkeyPatch,
    file: str,
    content: dict[str, object],
) -> None:
    asked: list[str] = []

    def ask(question: str) -> str:
        asked.append(question)
        return "no"

    monkeypatch.setattr("builtins.input", ask)
    folder = Path(shutil.copytree(tiny_model, tmp_path / "model"))
    path = folder / file
    before = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    path.write_text(json.dumps(before | content), encoding="utf-8")
    reason = "contains an adapter" if file == "adapter_config.json" else "which mechtag does not load. Install"
    with pytest.raises(MechtagError, match=reason):
        TransformerEncoder(locate_encoder(str(folder)))
    assert (lookups, asked) == ([], [])


class Hub:
    """Replacement for ``snapshot_download`` that knows one model on the hub."""

    def __init__(self, cache: Path, files: Path) -> None:
        self.cache, self.files = cache, files
        self.calls: list[str] = []

    def __call__(
        self,
        name: str,
        *,
        revision: str,
        allow_patterns: list[str],
        local_files_only: bool = False,
        dry_run: bool = False,
    ) -> Any:
        from huggingface_hub.file_download import DryRunFileInfo

        place = self.cache / "models--someone--tiny/snapshots" / COMMIT
        if local_files_only:
            self.calls.append("cache")
            if not place.is_dir():
                raise FileNotFoundError(name)
            return str(place)
        given = [path for path in sorted(self.files.iterdir()) if path.name in allow_patterns]
        if dry_run:
            self.calls.append("plan")
            return [
                DryRunFileInfo(COMMIT, path.stat().st_size, path.name, str(path), is_cached=False, will_download=True)
                for path in given
            ]
        self.calls.append("download")
        place.mkdir(parents=True)
        for path in given:
            shutil.copy(path, place)
        return str(place)


def test_the_command_says_what_it_downloads_and_prints_the_settings(
    tiny_model: Path, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offered = Path(shutil.copytree(tiny_model, tmp_path / "offered"))
    for unsafe in ("pytorch_model.bin", "modeling.py", "optimizer.pt"):
        (offered / unsafe).write_bytes(b"code")
    hub = Hub(cache, offered)
    monkeypatch.setattr("huggingface_hub.snapshot_download", hub)
    status, settings, message = call("encoder", "get", "someone/tiny")
    assert status == 0, message
    assert f"someone/tiny: downloading 5 files (0.0 MB) from https://huggingface.co to {cache}" in message
    sha256 = locate_encoder(str(tiny_model)).sha256
    assert settings == f"encoder:\n  name: someone/tiny\n  revision: {COMMIT}\n  sha256: {sha256}\n"
    fetched = cache / "models--someone--tiny/snapshots" / COMMIT
    assert not {path.suffix for path in fetched.iterdir()} & {".bin", ".py", ".pt"}
    TransformerEncoder(locate_encoder("someone/tiny", revision=COMMIT, sha256=sha256)).encode(["leaders"])

    hub.calls.clear()
    status, again, message = call("encoder", "get", "someone/tiny")
    assert (status, again) == (0, settings)
    assert "downloading" not in message
    assert set(hub.calls) == {"cache"}


def test_a_model_without_safe_weights_is_not_downloaded(
    tiny_model: Path, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offered = Path(shutil.copytree(tiny_model, tmp_path / "offered"))
    (offered / "model.safetensors").rename(offered / "pytorch_model.bin")
    hub = Hub(cache, offered)
    monkeypatch.setattr("huggingface_hub.snapshot_download", hub)
    status, _, message = call("encoder", "get", "someone/tiny")
    assert (status, "contains no model.safetensors" in message) == (1, True)
    assert "download" not in hub.calls


def test_without_a_network_the_command_says_so(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    status, _, message = call("encoder", "get", "someone/tiny")
    assert (status, "cannot be downloaded from the Hugging Face hub" in message) == (1, True)
    assert "HF_HUB_OFFLINE" in message


def test_a_model_folder_omits_fields_of_the_codebook_that_models_do_not_use(fruit: Codebook) -> None:
    labels = tuple(label.model_copy(update={"absence": ("none",)}) for label in fruit.labels)
    model: Any = ModelConfig  # Only the codebook is needed.
    config = model.model_construct(codebook=fruit.model_copy(update={"labels": labels}))
    dumped = config.model_dump(mode="json", include={"codebook"}, warnings=False)["codebook"]
    assert "roles" not in dumped
    assert Codebook.model_validate(dumped) == fruit
    assert all("absence" not in label for label in dumped["labels"])
