"""Files and folders, on this machine or in an object store, by one set of functions."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import fs

from mechtag.core.errors import MechtagError
from mechtag.core.files import replacing

_BLOCK = 1 << 20


@dataclass(frozen=True)
class Place:
    """A file or a folder.

    Attributes
    ----------
    files
        The file system that it lies in.
    path
        Its path there, in the form of `pyarrow.fs`.
    name
        As the user wrote it, for messages.
    """

    files: fs.FileSystem
    path: str
    name: str

    def __str__(self) -> str:
        return self.name

    def __truediv__(self, child: str) -> Place:
        return Place(self.files, f"{self.path}/{child}", f"{self.name.rstrip('/')}/{child}")

    @property
    def local(self) -> Path | None:
        """The path on this machine; ``None`` in an object store."""
        return Path(self.path) if isinstance(self.files, fs.LocalFileSystem) else None

    def exists(self) -> bool:
        """Whether a file or folder is there."""
        with self._told():
            return bool(self.files.get_file_info(self.path).type != fs.FileType.NotFound)

    def names(self) -> set[str]:
        """Names of the files in this folder; none where there is no folder."""
        with self._told():
            found = self.files.get_file_info(fs.FileSelector(self.path, allow_not_found=True))
        return {info.base_name for info in found if info.type == fs.FileType.File}

    def open(self) -> Any:
        """Open a file for pyarrow, to read any part of it."""
        with self._told():
            return self.files.open_input_file(self.path)

    def delete(self) -> None:
        """Delete a file, if it is there."""
        if self.exists():
            with self._told():
                self.files.delete_file(self.path)

    def read(self) -> bytes:
        """Read a file."""
        with self._told(), self.files.open_input_stream(self.path, compression=None) as file:
            data: bytes = file.read()
        return data

    def write(self, data: bytes) -> None:
        """Write a file whole or not at all; an object store shows none before it is whole."""
        if self.local:
            with replacing(self.local) as part:
                part.write_bytes(data)
            return
        with self._told():
            self.files.create_dir(self.path.rpartition("/")[0], recursive=True)
            with self.files.open_output_stream(self.path, compression=None) as file:
                file.write(data)

    def sha256(self) -> str:
        """Hash the content of a file."""
        digest = hashlib.sha256()
        with self._told(), self.files.open_input_stream(self.path, compression=None) as file:
            while block := file.read(_BLOCK):
                digest.update(block)
        return digest.hexdigest()

    def fingerprint(self) -> str:
        """Tell this content of a file from another: its hash, or in an object store its size and time of change."""
        if self.local:
            return self.sha256()
        with self._told():
            info = self.files.get_file_info(self.path)
        return f"{info.size} bytes of {info.mtime}"

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Name the place in errors of its file system."""
        try:
            yield
        except FileNotFoundError:
            raise MechtagError(f"{self}: no such file") from None
        except (pa.ArrowException, OSError) as error:
            if self.local:
                raise
            raise MechtagError(f"{self}: {error}") from None


def is_remote(text: str) -> bool:
    """Whether text is the URI of something that is not on this machine."""
    return "://" in text and not text.startswith("file://")


def locate(text: str | Path) -> Place:
    """Find the file system of a path, or of a URI such as ``s3://bucket/folder`` or ``gs://bucket/folder``.

    Raises
    ------
    MechtagError
        The URI is none, or of a file system that pyarrow does not know.
    """
    if isinstance(text, Path) or "://" not in text:
        return Place(fs.LocalFileSystem(), Path(text).absolute().as_posix(), str(text))
    try:
        files, path = fs.FileSystem.from_uri(text)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise MechtagError(f"{text}: cannot be reached: {error}; known are file://, s3:// and gs://") from None
    # A URI may hold a key, which is nothing for messages and files.
    return Place(files, path.rstrip("/"), re.sub(r"//[^/@]*@", "//", text))
