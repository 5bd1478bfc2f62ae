"""Read passages with roles of evidence from tables and texts, and write tables of these passages."""

from __future__ import annotations

from pathlib import Path

from mechtag.core.errors import MechtagError
from mechtag.core.files import write_jsonl
from mechtag.core.outputs import check_outputs, require_csv
from mechtag.core.tables import read_table
from mechtag.core.words import counted
from mechtag.project import Project
from mechtag.workflows.reporter import SILENT, Reporter

#: File next to the output that lists what could not be read.
REJECTED = "rejected.jsonl"


def roles_from_text(
    project: Project,
    source: Path,
    output: Path,
    *,
    label: str = "",
    coder: str = "",
    record: str = "",
    reporter: Reporter = SILENT,
) -> str:
    """Write a table of the configurations in a text, and return a sentence that states what was written.

    A configuration consists of passages that together explain a label. In the text, a marker such as ``(C)`` follows
    each passage and names its role of evidence. Each paragraph with markers is one configuration.

    Parameters
    ----------
    label
        Key of the label for all configurations whose label is not named by a heading in the text.
    coder
        Name of the person who marked the passages.
    record
        Identifier of the record that the text is about.

    Raises
    ------
    MechtagError
        If the text cannot be read or contains no marker; if the label is not in the codebook; or if the name of the
        output file does not end in ``.csv``.
    """
    from mechtag.pipeline.export.evidence_roles.configurations import write_configurations
    from mechtag.pipeline.export.evidence_roles.marked_text import read_marked_text

    rejected = output.with_name(REJECTED)
    check_outputs([output, rejected], [source, project.settings.codebook])
    require_csv(output)
    if label and label not in project.codebook.keys:
        raise MechtagError(
            f"the codebook has no label {label!r}; use one of: {', '.join(project.codebook.keys)}", options="--label"
        )
    try:
        text = source.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise MechtagError(f"{source}: no such file; check the path") from None
    except UnicodeDecodeError:
        raise MechtagError(f"{source}: the file is not text in UTF-8; save it as plain text (UTF-8)") from None
    given = {"file": source.name, "label": label, "coder": coder, "record_id": record}
    found = read_marked_text(text, project.codebook, **given)
    if not found.passages and not found.rejected:
        raise MechtagError(
            f"{source}: the file contains no markers; after each passage, write its role in parentheses, such as (C), "
            "(M+, Resource), (M-, Reasoning) or (O)"
        )
    write_configurations(output, found.passages)
    write_jsonl(rejected, found.rejected)
    for row in found.rejected:
        reporter.note(f"{source}: line {row.line}: {row.reason}")
    return (
        f"{output}: {counted(len({one.config_id for one in found.passages}), 'configuration')} with "
        f"{counted(len(found.passages), 'passage')} written, {counted(len(found.rejected), 'part')} rejected"
    )


def role_table(
    project: Project,
    source: Path,
    output: Path,
    *,
    records: Path | None = None,
    note: str = "",
    reporter: Reporter = SILENT,
) -> str:
    """Write a table of context, mechanism and outcome, and return a sentence that states what was written.

    Parameters
    ----------
    source
        Table of configurations (groups of passages that together explain a label), or table of codings with the column
        ``role``.
    records
        Table of records, or search export, from which the citations of the papers are taken.
    note
        Sentence below the table.

    Raises
    ------
    MechtagError
        If a file cannot be read, contains no passages with a role, or would be overwritten.
    """
    from mechtag.pipeline.export.evidence_roles.configurations import passages_from, read_configurations
    from mechtag.pipeline.export.evidence_roles.role_table import arrange_roles, describe, write_role_table
    from mechtag.pipeline.export.matrix import citable
    from mechtag.pipeline.reading.ingest import read_unique

    rejected = output.with_name(REJECTED)
    check_outputs([output, rejected], [source, records, project.settings.codebook])
    papers = read_unique(records, reporter.note) if records else []
    names = read_table(source, "a table of configurations, or of codings with the column 'role'", needed=()).names
    if "config_id" in names:
        passages, faults = read_configurations(source, project.codebook)
        write_jsonl(rejected, faults)
        for row in faults:
            reporter.note(f"{source}: row {row.line} was rejected: {row.reason}")
    elif "role" not in names:
        raise MechtagError(
            f"{source}: the table has neither the column 'config_id' (for configurations) nor the column 'role' (for "
            f"codings). Columns found: {', '.join(names)}. Name a different table"
        )
    else:
        from mechtag.pipeline.annotations.coding_table import read_role_codings
        from mechtag.pipeline.annotations.record_finder import Finder

        finders = [Finder(papers, project.settings.dedupe)] if papers else []
        passages = tuple(passages_from(read_role_codings(source, project.codebook, *finders)))
    table = arrange_roles(passages, project.codebook, map(citable, papers))
    write_role_table(output, table, note)
    return f"{output}: {describe(table)} written"


def suggest_for_codings(
    project: Project, source: Path, output: Path, *, records: Path | None = None, reporter: Reporter = SILENT
) -> str:
    """Write suggested roles for the passages in a table of codings.

    Parameters
    ----------
    source
        Table of codings. Roles are suggested for the passages in its column ``evidence``.
    records
        Table of records, or search export, in which record ids are looked up.

    Returns
    -------
    str
        Sentence that states how many roles were suggested, and how reliable the suggestions are.

    Raises
    ------
    MechtagError
        If suggestions are switched off; if the codebook defines roles of its own; if the codings contain no passages;
        or if a file cannot be read or would be overwritten.
    """
    from mechtag.core.records import passages_of
    from mechtag.pipeline.annotations.coding_table import read_codings
    from mechtag.pipeline.annotations.record_finder import Finder
    from mechtag.pipeline.export.evidence_roles import suggest
    from mechtag.pipeline.export.evidence_roles.configurations import RolePassage, write_configurations
    from mechtag.pipeline.reading.ingest import read_unique
    from mechtag.training.train import load_encoder

    check_outputs([output], [source, records, project.settings.codebook])
    require_csv(output)
    if not project.settings.roles.suggest:
        raise MechtagError(
            "suggestions of roles are switched off, because they agree too little with coders "
            f"(kappa {suggest.KAPPA:.2f} on {suggest.SENTENCES} sentences); to see them nevertheless, set "
            "'suggest: true' below 'roles:' in params.yaml"
        )
    book = project.codebook
    finders = [Finder(read_unique(records, reporter.note), project.settings.dedupe)] if records else []
    passages = [
        RolePassage(
            record_id=row.record_id or row.key or "",
            coder=suggest.SUGGESTED,
            label=row.label,
            role=book.roles[0].key,
            text=text,
            basis=row.basis,
        )
        for row in read_codings(source, book.all_keys, *finders)
        if row.value == 1 and row.label in book.keys
        for text in passages_of(row.evidence)
    ]
    passages = list(dict.fromkeys(passages))
    if not passages:
        raise MechtagError(
            f"{source}: no label that is coded yes has a passage in the column 'evidence'; enter the passages that "
            "support these codes"
        )
    encoder = load_encoder(project.settings)
    texts = [one.text for one in passages]
    roles = suggest.suggest_roles(texts, book, lambda given: encoder.encode(given).astype(float))
    found = [one.model_copy(update={"role": role}) for one, role in zip(passages, roles, strict=True) if role]
    write_configurations(output, found)
    return (
        f"{output}: suggested roles for {len(found):,} of {counted(len(passages), 'passage')} "
        f"({suggest.describe_suggestions()}); the others have no clear role"
    )
