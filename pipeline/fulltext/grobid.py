"""Read PDFs with a GROBID server that the user runs."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from urllib.parse import urlsplit

import httpx

from mechtag.core.errors import MechtagError
from mechtag.core.hosts import is_this_machine
from mechtag.core.records import Rejected
from mechtag.core.temporary import temporary_folder
from mechtag.pipeline.fulltext.attaching import FileFound
from mechtag.pipeline.fulltext.isolated import IsolatedReader
from mechtag.pipeline.fulltext.reading import LARGEST, ReadFile

# Number of files that the server reads at the same time.
_AT_ONCE = 2
# Time limits of one request in seconds, and waits before a request is repeated because the server is busy.
_SECONDS, _ALIVE_SECONDS = 300.0, 10.0
_WAITS = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0)
# Parameters of the request. With consolidation, the server would contact other services.
_FIELDS = {"consolidateHeader": "0", "consolidateCitations": "0", "teiCoordinates": ["p", "head"]}


def check_address(url: str, *, may_send: bool) -> str:
    """Check the address of a GROBID server, and return it without a final slash.

    Parameters
    ----------
    may_send
        Whether files may be sent to a different machine.

    Raises
    ------
    MechtagError
        If ``url`` is not the address of a web server; or if the server is on a different machine, and ``may_send`` is
        false.
    """
    try:
        parts = urlsplit(url)
        # The port is checked when it is read.
        host = (parts.hostname or "") if parts.scheme in ("http", "https") and parts.port != 0 else ""
    except ValueError:
        host = ""
    if not host:
        raise MechtagError(
            f"{url}: this is not the address of a GROBID server; write it like http://localhost:8070",
            options="--grobid",
        )
    if not (may_send or is_this_machine(host)):
        raise MechtagError(
            f"{url}: your files would be sent to {host}, which is not this machine. If the licences of the files "
            "permit this, allow sending them; otherwise, run GROBID on this machine",
            options="to allow sending, add --send-files-to-grobid",
        )
    return url.rstrip("/")


class GrobidReader:
    """Reads PDFs with a GROBID server, and all other files in a separate process; use it as a context manager.

    If the server cannot read a PDF, the separate process reads the PDF, and a warning is added to the full text.

    Parameters
    ----------
    url
        Address of the server; see `check_address`.
    files
        Files in the order in which they will be read. The next PDF is sent to the server while the current one is read.
    reader
        Reader that uses a separate process.
    wait
        Function that waits for a number of seconds. It is called before a request to a busy server is sent again.
    """

    def __init__(
        self,
        url: str,
        files: Sequence[FileFound],
        reader: IsolatedReader,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        self._url, self._reader, self._wait = url, reader, wait
        self._left = [file.path for file in files if file.path.suffix.lower() == ".pdf"]
        self._sent: dict[Path, Future[bytes]] = {}
        self._pool = ThreadPoolExecutor(_AT_ONCE)
        # Files go to the machine that the user names, and nowhere else: neither to a proxy nor by a redirection.
        self._client = httpx.Client(timeout=_SECONDS, trust_env=False, follow_redirects=False)

    def __enter__(self) -> GrobidReader:
        try:
            self._client.get(f"{self._url}/api/isalive", timeout=_ALIVE_SECONDS).raise_for_status()
            return self
        except httpx.HTTPError as error:
            self._client.close()
            raise MechtagError(
                f"{self._url}: GROBID does not answer ({_reason(error)}); start it, correct the address, or read the "
                "files without GROBID",
                options="omit --grobid",
            ) from None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)
        self._client.close()

    def read(self, path: Path, name: str) -> ReadFile | Rejected:
        """Read a file and return its content; if it cannot be read, return a `Rejected` with the reason.

        See `IsolatedReader.read`.
        """
        if path not in self._sent and path not in self._left:
            return self._reader.read(path, name)
        while self._left and len(self._sent) < _AT_ONCE:
            following = self._left.pop(0)
            self._sent[following] = self._pool.submit(self._ask, following)
        try:
            tei = self._sent.pop(path).result()
        except (OSError, httpx.HTTPError) as error:
            return self._without(path, name, _reason(error))
        # The answer is read like any other untrusted file.
        with temporary_folder(None) as folder:
            answer = folder / "answer.tei.xml"
            answer.write_bytes(tei)
            found = self._reader.read(answer, name)
        if isinstance(found, Rejected):
            return self._without(path, name, found.reason)
        text = found.full_text
        own = {
            "format": "pdf",
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "reader": f"GROBID, {text.reader}",
        }
        return found.model_copy(update={"full_text": text.model_copy(update=own)})

    def _without(self, path: Path, name: str, reason: str) -> ReadFile | Rejected:
        found = self._reader.read(path, name)
        if isinstance(found, Rejected):
            return found
        warning = f"GROBID could not read this file ({reason}), so it was read without GROBID."
        text = found.full_text
        return found.model_copy(update={"full_text": text.model_copy(update={"warnings": (*text.warnings, warning)})})

    def _ask(self, path: Path) -> bytes:
        """Send a PDF to the GROBID server and return its answer; raise `OSError` or `httpx.HTTPError` if this fails."""
        if path.stat().st_size > LARGEST:
            raise OSError(f"the PDF was not sent to the server, because it is larger than {LARGEST // 1_000_000} MB")
        content = path.read_bytes()
        for wait in (*_WAITS, None):
            answer = self._client.post(
                f"{self._url}/api/processFulltextDocument",
                data=_FIELDS,
                files={"input": ("paper.pdf", content, "application/pdf")},
                headers={"Accept": "application/xml"},
            )
            if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE or wait is None:
                break
            self._wait(wait)
        if answer.status_code != httpx.codes.OK:
            raise OSError(f"status {answer.status_code}")
        return answer.content


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__
