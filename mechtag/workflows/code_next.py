"""Choose which papers of a tagged search to code next."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

import numpy as np

from mechtag.core.errors import MechtagError
from mechtag.core.files import write_csv
from mechtag.core.outputs import check_outputs, require_csv
from mechtag.core.parquet import read_predictions, read_records
from mechtag.core.records import Prediction, Record, decisive
from mechtag.core.words import counted
from mechtag.pipeline.annotations.cited_papers import CitedPaper
from mechtag.pipeline.annotations.coding_table import read_annotations
from mechtag.pipeline.annotations.record_finder import Finder
from mechtag.pipeline.annotations.versions import latest_version
from mechtag.pipeline.export.review_rows import cells_of, header
from mechtag.pipeline.screening.coding_order import choose, explain, papers_of
from mechtag.project import Project
from mechtag.workflows.status import has_codes


def code_next(project: Project, tagged: Path, output: Path, count: int = 10) -> list[str]:
    """Choose which papers of a tagged search to code next, and write these papers to a table.

    The choice depends on the codes that the project already has. The paper to code first is in the first row of the
    table. The table has the columns of ``tagged.csv``, and a column ``why`` with the reason for choosing each paper.

    Parameters
    ----------
    tagged
        Folder that `tag.tag` wrote.
    output
        CSV file to which the chosen papers are written.
    count
        Maximum number of papers.

    Returns
    -------
    list of str
        Sentences that describe the existing codes and the chosen papers.

    Raises
    ------
    MechtagError
        If ``tagged`` contains no predictions; if predictions for a label of the codebook are missing; if the
        annotations cannot be read; if all papers are coded; or if the table would overwrite an input, or a table that
        contains a person's decisions.
    """
    codebook, settings = project.codebook, project.settings
    require_csv(output)
    predictions_file, records_file = tagged / "predictions.parquet", tagged / "records.parquet"
    check_outputs([output], (predictions_file, records_file))
    if tagged.exists() and not predictions_file.is_file():
        raise MechtagError(
            f"{tagged}: 'mechtag tag' did not write a search here, because predictions.parquet is missing; pass the "
            "folder that was the output of 'mechtag tag', such as data/tagged"
        )
    records = read_records(records_file)
    predictions: dict[str, dict[str, Prediction]] = defaultdict(dict)
    for prediction in decisive(read_predictions(predictions_file)):
        predictions[prediction.record_id][prediction.label] = prediction
    found = {record.record_id: predictions[record.record_id] for record in records}
    missing = [key for key in codebook.all_keys if any(key not in own for own in found.values())]
    if missing:
        raise MechtagError(
            f"{predictions_file}: predictions are missing for these labels: {', '.join(missing)}; tag the search again "
            "with the codebook of this project ('mechtag tag')"
        )
    # People need not code a paper again because the model of the last retraining was not promoted.
    version = latest_version(settings.train.added)
    coded = read_annotations(settings, codebook.keys, codebook.relevance.key, version) if has_codes(project) else []
    finder = Finder(records, settings.dedupe)
    known = {match.record_id for one in coded if (match := finder.find(_cited(one.record)).record)}
    examples = np.array([sum(one.code(key) == 1 for one in coded) for key in codebook.keys], dtype=np.float64)
    papers = papers_of(found, known, codebook.all_keys, settings.seed)
    chosen = choose(papers, examples, count)
    if not chosen:
        raise MechtagError(f"{tagged}: all {len(records)} papers of this search are coded; tag a different search")
    labels = [(entry.key, entry.name) for entry in codebook.entries]
    names = [entry.name for entry in codebook.labels]
    rank, *others = header(labels)
    rows = []
    for number, choice in enumerate(chosen, start=1):
        record = records[choice.row]
        why = explain(choice, papers, examples, names)
        rows.append([number, why, *cells_of(record, found[record.record_id], labels)])
    write_csv(output, [rank, "why", *others], rows, bom=True)
    reasons = Counter(choice.reason for choice in chosen)
    without = [name for name, number in zip(names, examples, strict=True) if not number]
    return [
        f"Coded so far: {counted(len(coded), 'paper')}, {len(known)} of them in this search of {len(records):,}",
        *([f"Labels without a coded paper: {', '.join(without)}"] if without else []),
        f"To code next: {counted(len(chosen), 'paper')} ({reasons['label']} for labels with few examples, "
        f"{reasons['random']} drawn at random)",
    ]


def _cited(record: Record) -> CitedPaper:
    return CitedPaper((record.record_id,), record.doi, record.pmid, record.title, record.authors, record.year)
