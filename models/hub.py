"""Find encoders of the Hugging Face hub in the cache on this machine, and download encoders on request."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mechtag.core.errors import MechtagError

WEIGHTS = "model.safetensors"
_ID = re.compile(r"[\w.-]+(/[\w.-]+)?", re.ASCII)
# Neither pickle nor code: weights, configuration and tokenizer.
_FILES = (
    WEIGHTS,
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "sentencepiece.bpe.model",
    "spiece.model",
    "spm.model",
    "tokenizer.model",
)


@dataclass(frozen=True)
class Download:
    """A planned download of an encoder.

    Attributes
    ----------
    source
        Web address of the hub.
    target
        Cache folder on this machine.
    files
        Names of the files.
    size
        Number of bytes of the files that are not in the cache yet.
    """

    source: str
    target: Path
    files: tuple[str, ...]
    size: int


def find_cached(name: str, revision: str) -> Path | None:
    """Return the folder of an encoder in the local cache of the Hugging Face hub; the network is not used.

    If the encoder is not in the cache, the result is ``None``.
    """
    from huggingface_hub import snapshot_download

    try:
        folder = Path(snapshot_download(name, revision=revision, local_files_only=True, allow_patterns=list(_FILES)))
    except Exception:  # the hub client raises errors of many unrelated classes
        return None
    return folder if (folder / WEIGHTS).is_file() else None


def cached_folder(name: str, revision: str) -> Path:
    """Return the folder of an encoder in the local cache of the Hugging Face hub, without using the network.

    Raises
    ------
    MechtagError
        If the encoder is not in the cache.
    """
    if (folder := find_cached(name, revision)) is not None:
        return folder
    if not _ID.fullmatch(name):
        raise MechtagError(
            f"encoder {name}: this is neither a folder on this machine nor a valid model id of the Hugging Face hub; "
            "correct the name in params.yaml, or use a trained model that has a different encoder"
        )
    # Not downloaded here, because the name may come from a model folder that somebody else made.
    command = shlex.join(["mechtag", "encoder", "get", name, *(["--revision", revision] if revision != "main" else [])])
    raise MechtagError(
        f"encoder {name}: this is not a folder on this machine, and the cache of the Hugging Face hub does not contain "
        "it. mechtag downloads an encoder only when you ask for it. If you trust its authors, run "
        f"'{command}', which shows the size first"
    )


def plan_download(name: str, revision: str) -> Download:
    """Ask the hub which files an encoder consists of, and how many bytes have to be downloaded.

    Raises
    ------
    MechtagError
        If the hub cannot be reached, or has no such model in a safe format.
    """
    from huggingface_hub import constants, snapshot_download

    with _reported(name):
        found = snapshot_download(name, revision=revision, allow_patterns=list(_FILES), dry_run=True)
    files = tuple(file.filename for file in found)
    if WEIGHTS not in files:
        raise MechtagError(
            f"encoder {name}: the model on the Hugging Face hub contains no {WEIGHTS}. mechtag reads weights only from "
            "this file, because other formats can run code. Choose an encoder that includes this file"
        )
    size = sum(file.file_size or 0 for file in found if file.will_download)
    return Download(constants.ENDPOINT, Path(constants.HF_HUB_CACHE), files, size)


def download(name: str, revision: str) -> Path:
    """Download an encoder to the hub's cache, and return its folder.

    This function does not check whether the weights are in a safe format; `plan_download` does.

    Raises
    ------
    MechtagError
        If the download fails, for example because the hub cannot be reached or has no such model or revision.
    """
    from huggingface_hub import snapshot_download

    with _reported(name):
        return Path(snapshot_download(name, revision=revision, allow_patterns=list(_FILES)))


@contextmanager
def offline() -> Iterator[None]:
    """Refuse all requests to the Hugging Face hub inside a ``with`` block.

    Encoders are loaded in such a block, because their files may refer to other files on the hub.
    """
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


@contextmanager
def _reported(name: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # the hub client raises errors of many unrelated classes
        reason = str(error).strip().splitlines() or ["no reason given"]
        raise MechtagError(
            f"encoder {name}: this encoder cannot be downloaded from the Hugging Face hub ({type(error).__name__}: "
            f"{reason[0]}); check the name and the network, and whether HF_HUB_OFFLINE is set"
        ) from None
