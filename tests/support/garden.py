"""A codebook about gardens, and invented papers to code with it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

CODEBOOK = {
    "name": "kitchen garden",
    "relevance": {"key": "about_gardens", "definition": "The text is about growing food at home."},
    "labels": [
        {"key": "watering", "name": "Watering", "definition": "Plants are given water by cans, hoses or drip lines."},
        {"key": "pests", "name": "Pests", "definition": "Slugs, aphids or beetles eat the plants, or are kept away."},
        {"key": "shade", "name": "Shade", "definition": "Trees, walls or nets keep the sun off the beds."},
    ],
}
SAID = {
    "watering": ("The beds were watered from a {} can.", "A {} hose kept the soil wet.", "Drip lines gave {} water."),
    "pests": ("Slugs ate the {} leaves at night.", "Aphids were kept off with a {} net.", "Beetles ruined {} rows."),
    "shade": ("A {} wall kept the sun off.", "Trees cast {} shade over the beds.", "The {} nets shaded seedlings."),
}
PLAIN = ("We visited {} plots in spring.", "Growers answered {} questions.", "The {} season was short.")
WORDS = "large small old new green narrow common simple".split()
LABELS = tuple(SAID)

Sentences = list[tuple[str, list[str]]]


def papers(count: int, seed: int) -> list[Sentences]:
    """Return invented papers about gardens, each as a list of sentences with their labels."""
    generator = np.random.default_rng(seed)
    found = []
    for number in range(count):
        carried = [label for place, label in enumerate(LABELS) if number >> place & 1]
        sentences: Sentences = [(str(generator.choice(PLAIN)), []) for _ in range(3)]
        sentences += [(str(generator.choice(SAID[label])), [label]) for label in carried]
        filled = [(text.format(generator.choice(WORDS)), labels) for text, labels in sentences]
        found.append([filled[place] for place in generator.permutation(len(filled))])
    return found


def carried(sentences: Sentences) -> list[str]:
    return [label for label in LABELS if any(label in own for _, own in sentences)]


def title(number: int) -> str:
    return f"Garden notes, part {number}"


def by_sentence(folder: Path, found: list[Sentences]) -> dict[str, str]:
    """Write papers as JSON lines in which each sentence is coded; return the path as the setting ``records``."""
    return json_lines(folder, found, lambda sentences: [{"text": text, "labels": labels} for text, labels in sentences])


def json_lines(
    folder: Path, found: list[Sentences], write: Callable[[Sentences], list[dict[str, object]]]
) -> dict[str, str]:
    rows = [
        {
            "key": f"p{number}",
            "title": title(number),
            "relevant": True,
            "labels": carried(sentences),
            "sentences": write(sentences),
            "coder": "one",
            "basis": "abstract",
            "codebook": "kitchen garden",
        }
        for number, sentences in enumerate(found)
    ]
    path = folder / "coded.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return {"records": str(path)}


def export(path: Path, found: list[Sentences], start: int) -> None:
    rows = [
        {"key": f"p{number}", "title": title(number), "abstract": " ".join(text for text, _ in sentences)}
        for number, sentences in enumerate(found, start=start)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
