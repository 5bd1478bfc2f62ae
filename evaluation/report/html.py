"""Write the accuracy report: a self-contained HTML page for reviewers, with technical details at the end."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from mechtag.core.errors import MechtagError
from mechtag.core.files import read_json, write_text
from mechtag.evaluation.report.chart_data import PROTOCOL_NAMES, draw_charts, read_rows
from mechtag.evaluation.report.paper import refuse_another_model
from mechtag.evaluation.results import (
    KINDS,
    Block,
    CoderGroup,
    EvidenceFigures,
    Figure,
    LabelFigures,
    PairAgreement,
    Pooled,
    Results,
    SetMechanisms,
    SetRelevance,
    interval_decimals,
    words_of,
)
from mechtag.pipeline.prisma.diagram import RESPONSIVE, draw_diagram
from mechtag.pipeline.prisma.flow import HEADER, read_flow, table_rows

_TEMPLATES = Path(__file__).parent / "templates"
_NONE = "–"
#: Files of a model folder, with the names used in `models.model_folder`.
_MODEL_FILES = ("config.json", "model.safetensors", "encoder.safetensors")


class Numbers:
    """Formats numbers from the metrics file as HTML, and marks each with its path in the file.

    A path consists of the keys from the top of the file, joined by ``/``. A missing number is
    written as a dash.
    """

    def __init__(self, results: Results) -> None:
        self._results = results

    def get(self, path: str) -> Any:
        """Return the value at a path; ``None`` if the path does not exist."""
        found: Any = self._results
        for key in path.split("/"):
            if isinstance(found, tuple) and key.isdecimal() and int(key) < len(found):
                found = found[int(key)]
            elif isinstance(found, Block):
                found = getattr(found, key, None)
            elif isinstance(found, Mapping):
                found = found.get(key)
            else:
                return None
        return found

    def count(self, *paths: str) -> Markup:
        """Format the whole number at a path, or the sum of the numbers at several paths."""
        found = [self.get(path) for path in paths]
        return self._mark("+".join(paths), "count", None if None in found else f"{sum(found):,}")

    def number(self, path: str, decimals: int = 2) -> Markup:
        """Format the number at a path, by default with two decimal places."""
        found = self.get(path)
        kind = f"number {decimals}" if decimals != 2 else "number"
        # Adding 0 removes the sign of a negative zero.
        return self._mark(path, kind, None if found is None else f"{round(found, decimals) + 0:.{decimals}f}")

    def percent(self, path: str, decimals: int = 0) -> Markup:
        """Format the proportion at a path as a percentage."""
        found = self.get(path)
        kind = f"percent {decimals}" if decimals else "percent"
        return self._mark(path, kind, None if found is None else f"{found:.{decimals}%}")

    def between(self, path: str) -> Markup:
        """Format the interval of a metric in words, as percentages; return ``""`` if it has none."""
        found = self.get(path)
        if found is None or found.ci_low is None or found.ci_low == found.ci_high:
            return Markup()
        decimals = interval_decimals(found, 0, 100)
        ends = (self.percent(f"{path}/{end}", decimals) for end in ("ci_low", "ci_high"))
        return Markup(" (between {} and {})").format(*ends)

    def figure(self, path: str) -> Markup:
        """Format a metric with its interval and p-value below it; format a plain number without them."""
        found = self.get(path)
        if not isinstance(found, Figure):
            return self.number(path)
        parts = [self.number(f"{path}/value")]
        if found.ci_low is not None and found.ci_low != found.ci_high:
            decimals = interval_decimals(found)
            low, high = self.number(f"{path}/ci_low", decimals), self.number(f"{path}/ci_high", decimals)
            parts.append(Markup('<span class="interval">{} to {}</span>').format(low, high))
        if found.p_value is not None:
            said = "p < 0.001" if found.p_value < 0.001 else f"p = {found.p_value:.3f}"
            parts.append(Markup('<span class="interval">{}</span>').format(self._mark(f"{path}/p_value", "p", said)))
        return Markup(" ").join(parts)

    def _mark(self, path: str, kind: str, text: str | None) -> Markup:
        said = _NONE if text is None else text
        return Markup('<span data-metric="{}" data-as="{}">{}</span>').format(path, kind, said)


def two_decimals(value: float) -> str:
    """Format a number with two decimal places; write zero without a sign."""
    return f"{round(value, 2) + 0:.2f}"


@dataclass(frozen=True)
class MatrixCell:
    """Human code and decision of the model for one label of one paper."""

    label: str
    human: str
    decision: str
    probability: float | None
    threshold: float | None
    agreement: str
    evidence: Sequence[str]


@dataclass(frozen=True)
class MatrixPaper:
    """A row of the matrix of papers and labels; ``text`` is the kind of text that mechtag read for the paper."""

    key: str
    name: str
    text: str
    cells: list[MatrixCell] = field(default_factory=list)


def read_comparison(path: Path) -> list[MatrixPaper]:
    """Read ``predictions_vs_<gold>.csv`` and return its papers in file order.

    Raises
    ------
    MechtagError
        If the file is missing or is not a table written by 'mechtag evaluate'.
    """
    papers: dict[str, MatrixPaper] = {}
    for number, row in enumerate(read_rows(path), start=2):
        try:
            paper = papers.setdefault(row["key"], MatrixPaper(row["key"], row["paper"], row["text"]))
            cell = MatrixCell(
                label=row["label"],
                human={"1": "yes", "0": "no"}.get(row["human"], ""),
                decision=row["decision"],
                probability=float(row["probability"]) if row["probability"] else None,
                threshold=float(row["threshold"]) if row["threshold"] else None,
                agreement=row["agreement"],
                evidence=[text for text in row["evidence"].split(" | ") if text],
            )
        except (KeyError, ValueError) as error:
            raise MechtagError(f"{path}: line {number}: {error}; run 'mechtag evaluate' again") from None
        paper.cells.append(cell)
    return list(papers.values())


@dataclass(frozen=True)
class Sources:
    """Files that the report uses in addition to the metrics file; paths that are ``None`` or missing are skipped.

    Attributes
    ----------
    comparison, plots, methods
        Files next to the metrics: the table of all predictions, the folder of plot points,
        and paragraphs for the paper.
    model
        Model folder.
    summary
        ``summary.json`` of a tagged batch, for the PRISMA counts.
    mlflow_run
        ``mlflow_run.json``. Its id differs between runs, so reports that must be reproducible omit this file.
    """

    comparison: Path
    plots: Path
    methods: Path
    model: Path | None = None
    summary: Path | None = None
    mlflow_run: Path | None = None

    def files(self, metrics: Path) -> list[Path]:
        """List the files that exist."""
        beside = [metrics, self.comparison, *sorted(self.plots.glob("*.csv")), self.methods]
        model = [self.model / name for name in _MODEL_FILES] if self.model else []
        return [path for path in (*beside, *model, self.summary) if path is not None and path.is_file()]


def write_report(output: Path, metrics: Path, sources: Sources, *, codebook: Mapping[str, Any]) -> None:
    """Write the accuracy report as an HTML page.

    Parameters
    ----------
    metrics
        Metrics file written by `evaluate.evaluate_files`.
    codebook
        Content of the codebook file: ``name``, ``title``, ``relevance``, and ``labels`` with ``key``, ``name`` and
        ``definition``.

    Raises
    ------
    MechtagError
        If a file is invalid, there are no accuracy metrics, or the metrics or the batch belong to a different model.
    """
    results = Results.read(metrics)
    measured = [*results.protocols.values(), *([results.coded_records.documents] if results.coded_records else [])]
    if not measured:
        raise MechtagError(
            f"{metrics}: the file contains no accuracy metrics; use the file written by 'mechtag evaluate'"
        )
    names = {label["key"]: label["name"] for label in codebook["labels"]}
    labels = {key: names.get(key, words_of(key)) for key in measured[0].labels}
    protocols = {name: PROTOCOL_NAMES[name] for name in results.protocols}
    summary, run = _existing(sources.summary), _existing(sources.mlflow_run)
    comparison, methods = _existing(sources.comparison), _existing(sources.methods)
    config = _existing(sources.model and sources.model / _MODEL_FILES[0])
    flow = read_flow(summary, None) if summary else None
    if config:
        # The counts for the flow diagram may be present without a model.
        tagged = read_json(summary) if summary else {}
        refuse_another_model(results, read_json(config), tagged if "model_id" in tagged else None)
    page = (
        _environment()
        .get_template("report.html")
        .render(
            metrics=results,
            n=Numbers(results),
            codebook=codebook,
            definitions={label["key"]: label["definition"] for label in codebook["labels"]},
            labels=labels,
            protocols=protocols,
            papers=read_comparison(comparison) if comparison else [],
            comparison=sources.comparison.name,
            figures=draw_charts(sources.plots, results, labels, protocols),
            flow=Markup(draw_diagram(flow).replace(RESPONSIVE, "")) if flow else None,
            flow_header=HEADER,
            flow_rows=table_rows(flow) if flow else (),
            model=read_json(config) if config else None,
            mlflow=read_json(run) if run else None,
            methods=blocks(methods.read_text(encoding="utf-8")) if methods else [],
            files=[(path.as_posix(), *_fingerprint(path)) for path in sources.files(metrics)],
        )
    )
    write_text(output, page)


def _existing(path: Path | None) -> Path | None:
    return path if path is not None and path.is_file() else None


def _fingerprint(path: Path) -> tuple[str, int]:
    """Return the MD5 hash, as in ``dvc.lock``, and the size of a file."""
    content = path.read_bytes()
    return hashlib.md5(content, usedforsecurity=False).hexdigest(), len(content)


def blocks(markdown: str) -> list[tuple[str, list[str]]]:
    """Split plain Markdown into headings, lists and paragraphs; return the kind and lines of each block."""
    found: list[tuple[str, list[str]]] = []
    for block in markdown.replace("\r\n", "\n").split("\n\n"):
        lines = [line.strip() for line in block.splitlines() if line.strip()]
        if lines and lines[0].startswith("#"):
            found.append(("heading", [lines.pop(0).lstrip("# ")]))
        if lines and all(line.startswith("- ") for line in lines):
            found.append(("list", [line.removeprefix("- ") for line in lines]))
        elif lines:
            found.append(("paragraph", [" ".join(lines)]))
    return found


def _environment() -> Environment:
    """Return the Jinja environment, which escapes data and treats unknown names as errors."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
    )
    for kind, name in (("style", "report.css"), ("script", "report.js")):
        text = (_TEMPLATES / name).read_text(encoding="utf-8")
        # The script is part of the package, and the content security policy allows it only by its hash.
        environment.globals[kind] = Markup(text)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        environment.globals[f"{kind}_hash"] = f"'sha256-{digest}'"
    environment.globals["kinds"] = KINDS
    environment.globals["words"] = {
        "pooled": Pooled.words(),
        "label": LabelFigures.words(),
        "relevance": SetRelevance.words(),
        "mechanisms": SetMechanisms.words(),
        "evidence": EvidenceFigures.words(),
        "pair": PairAgreement.words(),
        "group": CoderGroup.words(),
    }
    environment.filters["words"] = words_of
    environment.filters["svg"] = lambda drawing: Markup(drawing)
    environment.filters["two"] = two_decimals
    return environment
