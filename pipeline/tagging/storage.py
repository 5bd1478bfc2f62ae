"""Access files and folders on this machine and in object stores through one interface."""

from __future__ import annotations

import hashlib
import os
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
class StoragePath:
    """The path of a file or folder on this machine or in an object store.

    Attributes
    ----------
    files
        The file system that contains the path.
    path
        The path within that file system, in the form that `pyarrow.fs` expects.
    name
        The path as the user wrote it, for error messages.
    """

    files: fs.FileSystem
    path: str
    name: str

    def __str__(self) -> str:
        return self.name

    def __truediv__(self, child: str) -> StoragePath:
        return StoragePath(self.files, f"{self.path}/{child}", f"{self.name.rstrip('/')}/{child}")

    @property
    def local(self) -> Path | None:
        """Return the path as a local `Path`, or ``None`` if it is in an object store."""
        return Path(self.path) if isinstance(self.files, fs.LocalFileSystem) else None

    @property
    def _native(self) -> str | bytes:
        """Return the path as pyarrow needs it: ``bytes`` for a local file, ``str`` for an object store."""
        # pyarrow would encode text as UTF-8, but names of local files may have other encodings.
        return os.fsencode(self.path) if self.local else self.path

    def exists(self) -> bool:
        """Return whether the file or folder exists."""
        with self._naming_this_path():
            return bool(self.files.get_file_info(self._native).type != fs.FileType.NotFound)

    def names(self) -> set[str]:
        """Return the names of the files in this folder, or an empty set if the folder does not exist."""
        with self._naming_this_path():
            if self.local:
                return {path.name for path in self.local.glob("*") if path.is_file()}
            found = self.files.get_file_info(fs.FileSelector(self.path, allow_not_found=True))
        return {info.base_name for info in found if info.type == fs.FileType.File}

    def open(self) -> Any:
        """Open the file for random access by pyarrow."""
        with self._naming_this_path():
            return self.files.open_input_file(self._native)

    def delete(self) -> None:
        """Delete the file if it exists."""
        if self.exists():
            with self._naming_this_path():
                self.files.delete_file(self._native)

    def read(self) -> bytes:
        """Return the content of the file."""
        with self._naming_this_path(), self.files.open_input_stream(self._native, compression=None) as file:
            data: bytes = file.read()
        return data

    def write(self, data: bytes) -> None:
        """Write the file so that it appears only when it is complete."""
        if self.local:
            with replacing(self.local) as part:
                part.write_bytes(data)
            return
        with self._naming_this_path():
            self.files.create_dir(self.path.rpartition("/")[0], recursive=True)
            with self.files.open_output_stream(self.path, compression=None) as file:
                file.write(data)

    def sha256(self) -> str:
        """Return the SHA-256 of the file's content."""
        digest = hashlib.sha256()
        with self._naming_this_path(), self.files.open_input_stream(self._native, compression=None) as file:
            while block := file.read(_BLOCK):
                digest.update(block)
        return digest.hexdigest()

    def fingerprint(self) -> str:
        """Return the SHA-256 of the file; for a file in an object store, return its size and modification time."""
        if self.local:
            return self.sha256()
        with self._naming_this_path():
            info = self.files.get_file_info(self._native)
        return f"{info.size} bytes of {info.mtime}"

    @contextmanager
    def _naming_this_path(self) -> Iterator[None]:
        """Convert errors of object stores, and errors about missing files, to a `MechtagError` with this path."""
        try:
            yield
        except FileNotFoundError:
            raise MechtagError(f"{self}: no such file; check the path") from None
        except (pa.ArrowException, OSError) as error:
            if self.local:
                raise
            raise MechtagError(f"{self}: {error}") from None


def is_remote(text: str) -> bool:
    """Return whether a text is the URI of a file in an object store; paths and ``file://`` URIs are on this machine."""
    return "://" in text and not text.startswith("file://")


def locate(text: str | Path) -> StoragePath:
    """Return the storage path of a local path, or of a URI such as ``s3://bucket/folder`` or ``gs://bucket/folder``.

    Raises
    ------
    MechtagError
        If the URI is invalid, or pyarrow does not know its file system.
    """
    if isinstance(text, Path) or "://" not in text:
        return StoragePath(fs.LocalFileSystem(), Path(text).absolute().as_posix(), str(text))
    try:
        files, path = fs.FileSystem.from_uri(text)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise MechtagError(
            f"{text}: this path cannot be accessed: {error}; correct the path (URIs start with file://, s3:// or gs://)"
        ) from None
    # A URI may contain credentials, which must not appear in messages and files.
    return StoragePath(files, path.rstrip("/"), re.sub(r"//[^/@]*@", "//", text))
