"""Write coded papers in an export format that is selected by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mechtag.core.words import counted
from mechtag.pipeline.annotations.coding_table import write_codings
from mechtag.pipeline.export import eppi, label_studio, references, refi_qda, workbook
from mechtag.pipeline.export.coded_papers import CodedPapers, codings_of

_WRITERS: dict[str, Callable[[Path, CodedPapers], None]] = {
    "csv": lambda path, coded: write_codings(path, codings_of(coded)),
    "ris": references.write_ris,
    "bibtex": references.write_bibtex,
    "xlsx": workbook.write,
    "qdpx": refi_qda.write_project,
    "qdc": lambda path, coded: refi_qda.write_codebook(path, coded.codebook),
    "rayyan": references.write_rayyan,
    "asreview": references.write_asreview,
    "eppi": eppi.write,
}


def write_coded(to: str, path: Path, coded: CodedPapers) -> list[str]:
    """Write coded papers in a format, and return notes for the user, such as how many quotations were left out.

    Parameters
    ----------
    to
        Name of any format of ``mechtag export`` except ``matrix``, which needs further settings.
    """
    if to != "label-studio":
        _WRITERS[to](path, coded)
        return []
    config, lost = label_studio.write(path, coded)
    notes = [f"{config}: labelling configuration written"]
    if lost:
        notes.append(
            f"note: {counted(lost, 'quotation')} left out, because the text does not contain them, or because the "
            "label needs review"
        )
    return notes
