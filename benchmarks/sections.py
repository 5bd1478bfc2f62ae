"""Count the sentences that are assigned to the right section, for each way in which exports join headings and text.

    python -m benchmarks.sections journal_style.jsonl

The file has one abstract per line, with ``sentences`` that have a ``text`` and the ``section`` that was printed above
them. Each abstract is reassembled in each of these ways. The printed table has one row per way and three columns: the
way, the count for abstracts with headings, and the count for abstracts without headings. The sentences of the latter
are right if no heading is found.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mechtag.pipeline.reading.text.headings import find_headings

# Text around a heading, and whether the heading is in capitals.
JOININGS = {
    "colon": (" {}: ", False),
    "dash": (" {} – ", False),
    "full stop": (" {}. ", False),
    "own line": ("\n{}\n", False),
    "nothing": (" {} ", False),
    "nothing, capitals": (" {} ", True),
    "glued to what follows": (" {}", False),
    "glued to both": ("{}", False),
}


def name_of(section: str) -> str:
    """Return a printed heading without its punctuation."""
    return section.strip().rstrip(".:–- ")


def join(sentences: Sequence[Mapping[str, Any]], joining: str) -> tuple[str, list[tuple[int, int, str]]]:
    """Join the sentences of an abstract and its headings in the way that ``joining`` names.

    Returns
    -------
    abstract : str
    sentences : list of (start, end, section)
        Position of each sentence in the abstract, and its section in lower case.
    """
    pattern, capitals = JOININGS[joining]
    text, above = "", ""
    places = []
    for sentence in sentences:
        section = name_of(sentence["section"])
        between = pattern.format(section.upper() if capitals else section) if section and section != above else " "
        text += between if text else between.lstrip()
        places.append((len(text), len(text) + len(sentence["text"]), section.lower()))
        text, above = text + sentence["text"], section
    return text, places


def count_right(sentences: Sequence[Mapping[str, Any]], joining: str) -> int:
    """Join the sentences of an abstract, find its headings, and count the sentences that get the right section.

    ``joining`` is the way in which headings and text are joined. A sentence in which a heading is found is wrong.
    """
    text, places = join(sentences, joining)
    headings = find_headings(text)
    right = 0
    for start, end, section in places:
        found = next((heading.name for heading in reversed(headings) if heading.end <= start), "")
        inside = any(heading.start < end and heading.end > start for heading in headings)
        right += found == section and not inside
    return right


def main(path: Path) -> None:
    """Print how many sentences get the right section, one line for each way of joining headings and text."""
    abstracts = [json.loads(line)["sentences"] for line in path.read_text(encoding="utf-8").splitlines()]
    groups: dict[bool, list[list[dict[str, Any]]]] = {True: [], False: []}
    for sentences in abstracts:
        groups[any(sentence["section"] for sentence in sentences)].append(sentences)
    for joining in JOININGS:
        cells = [
            f"{sum(count_right(one, joining) for one in group)} of {sum(map(len, group))}" for group in groups.values()
        ]
        sys.stdout.write(f"{joining:24}{cells[0]:>14}{cells[1]:>14}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
