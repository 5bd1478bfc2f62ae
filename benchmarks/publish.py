"""Publish the results of a benchmark as a JSON file and as a section of ``docs/benchmarks.md``."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from mechtag.core.files import write_json, write_text

ROOT = Path(__file__).parent.parent
_HEAD = (
    "# Benchmarks\n\nHow mechtag compares with other tools, and how it scales. Each section is written by the command "
    "it names, together with `docs/benchmarks/<name>.json`, which holds the same figures unrounded. "
    "Other tools ran in the same run, on the same machine. "
    "[How to repeat them](../benchmarks/README.md).\n"
)


def result(
    dataset: str,
    system: str,
    metric: str,
    value: float,
    interval: tuple[float | None, float | None] | None = None,
    runs: int = 1,
) -> dict[str, Any]:
    """Return one result as the dictionary that all benchmarks publish.

    ``interval`` contains the lower and upper confidence limits; ``runs`` is the number of runs behind ``value``.
    """
    low, high = interval or (None, None)
    return {
        **{"dataset": dataset, "system": system, "metric": metric, "value": value},
        **{"ci_low": low, "ci_high": high, "runs": runs},
    }


def merge(published: Mapping[str, Any], results: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the new results, and the published results that were not measured again.

    Published results that were measured at an earlier commit contain that commit as ``commit``.

    Parameters
    ----------
    published
        Content of the JSON file of the published results.
    """

    def key(found: Mapping[str, Any]) -> tuple[str, str, str]:
        return found["dataset"], found["system"], found["metric"]

    again = {key(found) for found in results}
    earlier = {} if published["commit"] == _commit() else {"commit": published["commit"]}
    kept = [{**earlier, **found} for found in published["results"] if key(found) not in again]
    places: dict[str, None] = dict.fromkeys(found["dataset"] for found in [*published["results"], *results])
    order = {dataset: place for place, dataset in enumerate(places)}
    return sorted([*kept, *results], key=lambda found: order[found["dataset"]])


def _git(*words: str) -> str:
    done = subprocess.run(("git", *words), cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def _commit() -> str:
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!docs")
    return _git("rev-parse", "--short", "HEAD") + ("+changes" if changed else "")


def _machine() -> str:
    """Return a description of processor, cores and memory that does not identify the machine."""
    try:
        model = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
        memory = f", {os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GB"
    except (OSError, ValueError):
        model, memory = None, ""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{model[1] if model else platform.machine()}, {cores} cores{memory}, {platform.system()}"


def _cell(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return ""
    value = found["value"]
    text = f"{value:,}" if isinstance(value, int) else f"{value:,.{1 if abs(value) >= 10 else 3}f}"
    if 0 < abs(value) < 0.0005:
        text = f"{value:.1g}"
    if found["ci_low"] is not None:
        text += f" ({found['ci_low']:.3f} to {found['ci_high']:.3f})"
    return text


def _tables(results: Sequence[Mapping[str, Any]]) -> str:
    """Return the results as Markdown tables; data sets that share a metric are in the same table."""
    told: dict[str, set[str]] = {}
    for found in results:
        told.setdefault(found["dataset"], set()).add(found["metric"])
    groups: list[list[str]] = []
    for dataset, metrics in told.items():
        alike = (group for group in groups if any(metrics & told[other] for other in group))
        group = next(alike, None)
        if group is None:
            groups.append(group := [])
        group.append(dataset)
    return "\n\n".join(_table([found for found in results if found["dataset"] in group]) for group in groups)


def _table(results: Sequence[Mapping[str, Any]]) -> str:
    """Return a Markdown table with one row per data set and system, and one column per metric."""
    metrics = list(dict.fromkeys(found["metric"] for found in results))
    rows: dict[tuple[str, str], dict[str, Mapping[str, Any]]] = {}
    for found in results:
        rows.setdefault((found["dataset"], found["system"]), {})[found["metric"]] = found
    lines = [f"| data | system | {' | '.join(metrics)} |", "|---|---|" + "---:|" * len(metrics)]
    lines += [
        f"| {dataset} | {system} | {' | '.join(_cell(row.get(metric)) for metric in metrics)} |"
        for (dataset, system), row in rows.items()
    ]
    return "\n".join(lines)


def provenance(command: str, versions: Iterable[str]) -> dict[str, Any]:
    """Return the origin of results: command, commit, machine and package versions; see `publish` for the parameters."""
    found = {}
    for package in versions:
        label, _, version = package.partition(" ")
        found[label] = version or metadata.version(label)
    return {
        "command": command,
        "commit": _commit(),
        "machine": _machine(),
        "versions": {"python": platform.python_version(), **found},
    }


def publish(
    name: str,
    command: str,
    results: Sequence[Mapping[str, Any]],
    text: str,
    *,
    versions: Iterable[str] = (),
    table: bool = True,
    docs: Path = ROOT / "docs",
) -> None:
    """Write ``docs/benchmarks/<name>.json``, and update the section of the same name in ``docs/benchmarks.md``.

    Parameters
    ----------
    name
        Name of the benchmark, which identifies its section.
    command
        Command that repeats the benchmark.
    results
        Results, as returned by `result`.
    text
        Markdown above the table: a heading of the second level, and an explanation of the results.
    versions
        Names of installed packages whose versions matter, or ``name version`` for packages in other environments.
    table
        Whether a table of all results follows the text; ``False`` if the text contains its own tables.
    """
    content = {**provenance(command, versions), "results": list(results)}
    write_json(docs / "benchmarks" / f"{name}.json", content)
    listed = ", ".join(f"{label} {version}" for label, version in content["versions"].items())
    foot = f"`{command}`, commit {content['commit']}; {content['machine']}; {listed}."
    body = f"{text.strip()}\n\n{_tables(results)}" if table else text.strip()
    section = f"<!-- {name} -->\n{body}\n\n{foot}\n<!-- /{name} -->\n"
    path = docs / "benchmarks.md"
    page = path.read_text(encoding="utf-8") if path.exists() else _HEAD
    start, end = page.find(f"<!-- {name} -->"), page.find(f"<!-- /{name} -->\n")
    if 0 <= start < end:
        page = page[:start] + section + page[end + len(f"<!-- /{name} -->\n") :]
    else:
        page = page.rstrip("\n") + "\n\n" + section
    write_text(path, page)
