"""Write the accuracy report, an HTML page for reviewers that needs no other files."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict
from markupsafe import Markup

from mechtag.core.errors import MechtagError
from mechtag.core.files import read_json, write_text
from mechtag.evaluation.report.accuracy_table import describe_labels, describe_llms
from mechtag.evaluation.report.chart_data import PROTOCOL_NAMES, draw_charts, read_rows
from mechtag.evaluation.report.paper import refuse_another_model
from mechtag.evaluation.report.wording import (
    NONE,
    NONE_MEANS,
    coder_name,
    count,
    for_readers,
    label_names,
    naive_method,
    number,
    p_value,
    percent,
    percent_decimals,
    sentence_case,
    variation,
)
from mechtag.evaluation.results import (
    CONTAMINATION,
    KINDS,
    LLMS_COUNT,
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
from mechtag.pipeline.export.prisma.diagram import RESPONSIVE, draw_diagram
from mechtag.pipeline.export.prisma.flow import HEADER, read_flow, table_rows

_TEMPLATES = Path(__file__).parent / "templates"
#: Files of a model folder, with the names used in `models.model_folder`.
_MODEL_FILES = ("config.json", "model.safetensors", "encoder.safetensors")
_RUN_FILE = "mlflow_run.json"


class Numbers:
    """Formats numbers from the metrics file as HTML, and marks each number with its path in the file.

    A path consists of keys of the file from the outermost to the innermost, joined by ``/``. A missing number is
    written as a dash.
    """

    def __init__(self, results: Results) -> None:
        self._results = results

    def get(self, path: str) -> Any:
        """Return the value at a path in the metrics file; ``None`` if the path does not exist."""
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
        """Format the whole number at a path in the metrics file, or the sum of the numbers at several paths."""
        found = [self.get(path) for path in paths]
        return self._mark("+".join(paths), "count", None if None in found else count(sum(found)))

    def total(self, path: str) -> str:
        """Format the number of items in the list or mapping at a path in the metrics file."""
        return count(len(self.get(path) or ()))

    def number(self, path: str, decimals: int = 2) -> Markup:
        """Format the number at a path in the metrics file, by default with two decimal places."""
        found = self.get(path)
        kind = f"number {decimals}" if decimals != 2 else "number"
        return self._mark(path, kind, number(found, decimals))

    def percent(self, path: str, decimals: int = 0) -> Markup:
        """Format the proportion at a path in the metrics file as a percentage."""
        found = self.get(path)
        decimals = percent_decimals(found, decimals)
        kind = f"percent {decimals}" if decimals else "percent"
        return self._mark(path, kind, percent(found, decimals))

    def between(self, path: str) -> Markup:
        """Format the interval of a metric as percentages, such as ``(between 61% and 78%)``.

        The result is empty if the metric has no interval, or if both ends of the interval are equal.

        Parameters
        ----------
        path
            Path of the metric in the metrics file.
        """
        found = self.get(path)
        if found is None or found.ci_low is None or found.ci_low == found.ci_high:
            return Markup()
        decimals = interval_decimals(found, 0, 100)
        ends = (self.percent(f"{path}/{end}", decimals) for end in ("ci_low", "ci_high"))
        return Markup(" (between {} and {})").format(*ends)

    def figure(self, path: str) -> Markup:
        """Format the metric or number at a path in the metrics file.

        The interval and the p-value of a metric are added.
        """
        found = self.get(path)
        if not isinstance(found, Figure):
            return self.number(path)
        parts = [self.number(f"{path}/value")]
        if found.ci_low is not None and found.ci_low != found.ci_high:
            decimals = interval_decimals(found)
            low, high = self.number(f"{path}/ci_low", decimals), self.number(f"{path}/ci_high", decimals)
            parts.append(Markup('<span class="interval">{} to {}</span>').format(low, high))
        if found.p_value is not None:
            said = self._mark(f"{path}/p_value", "p", p_value(found.p_value))
            parts.append(Markup('<span class="interval">{}</span>').format(said))
        return Markup(" ").join(parts)

    def _mark(self, path: str, kind: str, text: str | None) -> Markup:
        said = NONE if text is None else text
        return Markup('<span data-metric="{}" data-as="{}">{}</span>').format(path, kind, said)


@dataclass(frozen=True)
class MatrixCell:
    """A cell of the matrix of papers and labels: the human code and the model's decision on a label of a paper."""

    label: str
    human: str
    decision: str
    probability: float | None
    threshold: float | None
    agreement: str
    evidence: Sequence[str]


@dataclass(frozen=True)
class MatrixPaper:
    """A row of the matrix of papers and labels.

    ``text`` is the kind of text that the model read, such as abstract.
    """

    key: str
    name: str
    text: str
    cells: list[MatrixCell] = field(default_factory=list)


def read_comparison(path: Path) -> list[MatrixPaper]:
    """Read the table of human codes and predictions that 'mechtag evaluate' wrote.

    Returns
    -------
    list of MatrixPaper
        The papers in the order of the table.

    Raises
    ------
    MechtagError
        If the file is missing or is not a table written by 'mechtag evaluate'.
    """
    papers: dict[str, MatrixPaper] = {}
    for line, row in enumerate(read_rows(path), start=2):
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
            fault = f"the column {error} is missing" if isinstance(error, KeyError) else str(error)
            raise MechtagError(f"{path}: line {line}: {fault}; run 'mechtag evaluate' again") from None
        paper.cells.append(cell)
    return list(papers.values())


@dataclass(frozen=True)
class Sources:
    """Files that the report uses in addition to the metrics file. Missing files are skipped.

    Attributes
    ----------
    comparison
        Table of human codes and predictions.
    plots
        Folder of CSV files with the points of the plotted curves.
    methods
        Methods text for the authors' paper.
    model
        Model folder.
    summary
        ``summary.json`` of a tagged batch, for the PRISMA counts.
    mlflow_run
        ``mlflow_run.json``. The id in this file differs between runs, so reports that must be reproducible omit the
        file.
    """

    comparison: Path
    plots: Path
    methods: Path
    model: Path | None = None
    summary: Path | None = None
    mlflow_run: Path | None = None

    def files(self, metrics: Path) -> list[Path]:
        """Return the paths of the existing files from which the report is made; ``mlflow_run`` is left out."""
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
        Content of the codebook file. It must have the keys ``name``, ``title``, ``relevance`` and ``labels``. Each
        label must have ``key``, ``name`` and ``definition``.

    Raises
    ------
    MechtagError
        If a file is invalid; if the metrics file contains no accuracy metrics; or if the metrics or ``summary.json``
        belong to a model other than the one in the model folder.
    """
    names = label_names(codebook)
    results = for_readers(Results.read(metrics), names)
    measured = [*results.protocols.values(), *([results.coded_records.documents] if results.coded_records else [])]
    if not measured:
        raise MechtagError(
            f"{metrics}: the file contains no accuracy metrics; use the file written by 'mechtag evaluate'"
        )
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
            labels_by_full_text=describe_labels(results.by_full_text, labels) if results.by_full_text else "",
            names={**{name: words_of(name) for name in _coded_labels(results)}, **names},
            protocols=protocols,
            papers=read_comparison(comparison) if comparison else [],
            comparison=sources.comparison.name,
            figures=draw_charts(sources.plots, results, labels, protocols),
            flow=Markup(draw_diagram(flow).replace(RESPONSIVE, "")) if flow else None,
            flow_header=(*HEADER[:-1], "Number"),
            flow_rows=table_rows(flow) if flow else (),
            model=read_json(config) if config else None,
            mlflow=read_json(run) if run else None,
            is_logged=_existing(sources.model and sources.model / _RUN_FILE) is not None,
            methods=render_markdown(methods.read_text(encoding="utf-8")) if methods else None,
            files=_fingerprints(sources.files(metrics)),
        )
    )
    write_text(output, page)


def _existing(path: Path | None) -> Path | None:
    return path if path is not None and path.is_file() else None


def _coded_labels(results: Results) -> set[str]:
    """Return the keys of all labels on which coders were compared."""
    found = results.agreement
    if not found:
        return set()
    keys = {label for pair in found.pairs for label in pair.labels}
    return keys | {code.label for code in (*found.adjudicate, *found.gold)}


def _fingerprints(paths: Sequence[Path]) -> list[tuple[str, str, int]]:
    """Return the path, MD5 hash and size in bytes of each file."""
    # Absolute paths in a published report would reveal the author's folders. MD5 is the hash in dvc.lock.
    shared = os.path.commonpath([path.absolute().parent for path in paths])
    contents = [(path.absolute().relative_to(shared).as_posix(), path.read_bytes()) for path in paths]
    return [(name, hashlib.md5(content, usedforsecurity=False).hexdigest(), len(content)) for name, content in contents]


def render_markdown(text: str) -> Markup:
    """Convert a draft of a methods section from Markdown to HTML, so that the report can contain it.

    The title of the draft is omitted, and all headings are at level 3 or below. HTML in the draft is escaped, and
    images are not displayed. Each table is in a region that can be scrolled.
    """
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")
    tokens = markdown.parse(text)
    if tokens[:1] and tokens[0].tag == "h1":
        del tokens[:3]
    level, tables = 2, 0
    for token in tokens:
        if token.type == "heading_open":
            # No level is skipped, however a text was edited.
            level = min(max(int(token.tag[1]) + 1, 3), level + 1)
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{level}"
        if token.type == "th_open":
            token.attrSet("scope", "col")
        if token.type in ("td_open", "th_open"):
            token.attrs.pop("style", None)
        if token.type == "table_open":
            tables += 1
            token.meta["number"] = tables
    return Markup(_Renderer().render(tokens, markdown.options, {}))


class _Renderer(RendererHTML):
    """Renders Markdown as HTML, with each table in a labelled region that can be scrolled."""

    def table_open(self, tokens: Sequence[Token], place: int, options: OptionsDict, env: EnvType) -> str:
        label = f"Text for the paper, table {tokens[place].meta['number']}"
        return f'<div class="scroll" role="region" aria-label="{label}" tabindex="0">\n<table>\n'

    def table_close(self, tokens: Sequence[Token], place: int, options: OptionsDict, env: EnvType) -> str:
        return "</table>\n</div>\n"


def _environment() -> Environment:
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
    environment.globals["none_means"] = NONE_MEANS
    environment.globals["naive_method"] = naive_method
    environment.globals["words"] = {
        "pooled": Pooled.words(),
        "label": LabelFigures.words(),
        "relevance": SetRelevance.words(),
        "mechanisms": SetMechanisms.words(),
        "evidence": EvidenceFigures.words(),
        "pair": PairAgreement.words(),
        "group": CoderGroup.words(),
    }
    environment.globals["contamination"] = CONTAMINATION
    environment.globals["llms_count"] = LLMS_COUNT
    environment.filters["coder"] = coder_name
    environment.filters["llm_lines"] = describe_llms
    environment.filters["words"] = words_of
    environment.filters["sentence"] = sentence_case
    environment.filters["naive"] = lambda name: naive_method(name)[0]
    environment.filters["variation"] = variation
    environment.filters["svg"] = lambda drawing: Markup(drawing)
    environment.filters["two"] = number
    return environment
