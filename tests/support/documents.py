"""Find the fenced blocks of the documentation, and the commands in them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.paths import ROOT

PAGES = sorted(
    str(path.relative_to(ROOT))
    for path in (
        *ROOT.glob("*.md"),
        *(ROOT / "docs").glob("*.md"),
        ROOT / "data/README.md",
        ROOT / "benchmarks/README.md",
    )
)
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
#: Commands that take hours, install something or need a network. Their names and options are checked instead.
ELSEWHERE = ("make", "pipx", "dvc", "mlflow", "curl", "python", ".venv/bin/pip", ".venv/bin/python", "export")
#: Begins the comment of a command that is not run; the rest of the comment says what it needs.
NEEDS = "# needs "


@dataclass(frozen=True)
class Block:
    """A fenced block of a documentation page, with the number of its first line in the page."""

    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def commands(self) -> list[str]:
        """The commands in the block, with their comments. In a ``console`` block, they follow a ``$``."""
        lines = self.text.replace("\\\n", " ").splitlines()
        if self.language == "console":
            return [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
        found = [""]
        for line in lines if self.language == "sh" else ():
            found[-1] += line
            if _complete(found[-1]):
                found.append("")
            else:
                found[-1] += "\n"
        return list(filter(None, found))

    @property
    def not_run(self) -> list[str]:
        """The commands that tests check without running them."""
        return [one for one in self.commands if NEEDS in one or one.split()[0] in ELSEWHERE]


def _complete(command: str) -> bool:
    """Return whether all quotation marks in a command are closed."""
    try:
        shlex.split(command, comments=True)
    except ValueError:
        return False
    return True


def blocks(page: str) -> list[Block]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return [Block(page, text[: match.start()].count("\n") + 1, match[1], match[2]) for match in _FENCE.finditer(text)]


def parts(command: str) -> Iterator[list[str]]:
    """Yield the words of each command on a line, without comments; ``&&`` separates commands."""
    words = shlex.split(command, comments=True)
    while "&&" in words:
        place = words.index("&&")
        yield words[:place]
        words = words[place + 1 :]
    yield words


def expanded(words: list[str]) -> list[str]:
    """Replace words with ``*`` by the matching files in the working directory, as a shell does."""
    found = []
    for word in words:
        files = sorted(map(str, Path().glob(word))) if "*" in word else []
        found += files or [word]
    return found
