"""Extract the log of a review from a zip file, whose content is not trusted."""

from __future__ import annotations

import re
import shutil
import stat
import zipfile
import zlib
from collections import Counter
from pathlib import Path

from mechtag.core.errors import MechtagError
from mechtag.review.workspace import FOLDER

#: Most files in a project zip, and their largest size together, in bytes.
MOST_FILES = 50_000
LARGEST = 5_000_000_000
# Text compresses to about a tenth of its size; a much higher ratio indicates a decompression bomb.
_HIGHEST_RATIO, _UNSUSPECTED = 200, 16 << 20
# Files of the log that are needed to make the database again. The folder before them is the project.
_LOG = re.compile(
    rf"((?:[^/]+/)?){re.escape(FOLDER.as_posix())}/log/((?:events-\d{{4}}-\d\d|(?:import|full-text)-\d{{1,9}})\.jsonl)"
)
_ENCRYPTED = 0x1
_FAULTS = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError)


def extract_log(path: Path, folder: Path) -> None:
    """Unpack the log of a review from a zip file of its project to a new folder.

    No other files of the zip are unpacked.

    Raises
    ------
    MechtagError
        If the file is not a zip; if it does not contain the log of exactly one review; if it is damaged or encrypted;
        or if it contains links, duplicate names, paths outside the project, or more data than a project can have.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            _check(members)
            found = [(info, match) for info in members if (match := _LOG.fullmatch(info.filename))]
            if not any(match[2].startswith("events-") for _, match in found):
                raise MechtagError(
                    "this zip contains no log of a review; choose a file that somebody made with 'The project' on the "
                    "Export page"
                )
            if len({match[1] for _, match in found}) > 1:
                raise MechtagError(
                    "this zip contains more than one review; ask the sender for a separate zip of each review, and "
                    "import these one by one"
                )
            folder.mkdir(parents=True)
            for info, match in found:
                with archive.open(info) as source, (folder / match[2]).open("wb") as target:
                    shutil.copyfileobj(source, target)
    except _FAULTS as error:
        raise MechtagError(f"this zip is damaged ({error}); ask the sender for a new zip") from None


def _check(members: list[zipfile.ZipInfo]) -> None:
    """Refuse a zip file that is too large, or that mechtag cannot have created."""
    if len(members) > MOST_FILES:
        raise MechtagError(
            f"this zip contains {len(members):,} files, but mechtag imports at most {MOST_FILES:,}; ask the "
            "sender for a zip with fewer files"
        )
    names = Counter(info.filename for info in members)
    total = 0
    for info in members:
        parts = info.filename.removesuffix("/").split("/")
        kind = stat.S_IFMT(info.external_attr >> 16)
        odd = "\\" in info.filename or ":" in parts[0] or not info.filename.isprintable()
        if odd or not {"", ".", ".."}.isdisjoint(parts) or names[info.filename] > 1:
            raise MechtagError(
                "this zip contains file names that mechtag does not create; ask the sender for a new zip"
            )
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise MechtagError(
                "this zip contains symbolic links or special files, which mechtag does not create; ask the sender for "
                "a new zip"
            )
        if info.flag_bits & _ENCRYPTED:
            raise MechtagError("this zip is encrypted; ask the sender for a zip without a password")
        total += info.file_size
        if total > LARGEST or (info.file_size > _UNSUSPECTED and info.file_size > _HIGHEST_RATIO * info.compress_size):
            raise MechtagError(
                f"this zip unpacks to more than {LARGEST // 1_000_000_000} GB, or a file in it unpacks to more than "
                f"{_HIGHEST_RATIO} times its compressed size; ask the sender for a new zip"
            )
