"""Import codings from reviewers' files: read the codings, match them to records, resolve conflicts, and report."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from mechtag.core.codebook import Codebook
from mechtag.core.errors import MechtagError
from mechtag.core.files import write_csv, write_json, write_jsonl
from mechtag.core.records import Coding, Record, Rejected, is_llm, passages_of
from mechtag.core.settings import DedupeSettings
from mechtag.core.source import Source
from mechtag.core.words import counted
from mechtag.pipeline.annotations.cited_papers import CitedPaper
from mechtag.pipeline.annotations.coded_records import Basis
from mechtag.pipeline.annotations.coding_table import read_codings, write_codings
from mechtag.pipeline.annotations.imports.conflicts import Conflict, Disagreement, Judgement, settle
from mechtag.pipeline.annotations.imports.formats import find_format
from mechtag.pipeline.annotations.imports.formats.base import Asked, Code, CodingFormat, Content, Item, Unticked, load
from mechtag.pipeline.annotations.imports.label_names import LabelMap, MapFile
from mechtag.pipeline.annotations.record_finder import Finder, Found, shows_part
from mechtag.pipeline.export.review_rows import excel_cell
from mechtag.pipeline.reading.archives import refuse_nested, unpack


class CoderNote(NamedTuple):
    """A coder's notes on a paper, and the place of the notes in the file.

    ``record`` is ``None`` if the paper does not match a record.
    """

    record: Record | None
    title: str
    coder: str
    text: str
    place: str


class Unmatched(NamedTuple):
    """An entry in a file of codings whose paper does not match exactly one record."""

    place: str
    item: Item
    found: Found


@dataclass(frozen=True)
class Imported:
    """Imported codings, and everything that did not become a coding.

    Attributes
    ----------
    codings
        Codings, ordered by record, coder, basis and label (in codebook order).
    unmatched
        Entries whose paper does not match exactly one record.
    conflicts
        Codes by one coder for one record that contradict each other.
    disagreements
        Labels on which coders disagree. ``codings`` contains the code of every coder.
    rejected
        Entries that could not be read, with the reason.
    notes
        Irregularities in the files.
    coder_notes
        Notes that coders took on papers.
    never_no
        Labels with at least one "yes" but no "no". A model cannot learn when to answer "no" for these labels.
    entries
        Number of entries for each outcome: ``matched``, ``without codes``, ``unmatched`` and ``rejected``. ``read`` is
        the sum of these numbers.
    codes
        Number of codes for each outcome. ``read`` and ``unticked`` together are as many as all other outcomes together:
        ``written``, ``doubled``, ``contradicting``, ``unmatched`` and ``passed over``.

        - ``unticked``: labels that a coder did not tick and that count as "no".
        - ``doubled``: codes that repeat another code.
        - ``passed over``: codes whose label name is unknown or ignored.
    found_by
        Number of matched entries, keyed by the kind of identifier.
    files
        Name and format of each imported file.
    """

    codings: tuple[Coding, ...]
    unmatched: tuple[Unmatched, ...]
    conflicts: tuple[Conflict, ...]
    disagreements: tuple[Disagreement, ...]
    rejected: tuple[Rejected, ...]
    notes: tuple[str, ...]
    entries: Mapping[str, int]
    codes: Mapping[str, int]
    found_by: Mapping[str, int]
    files: tuple[tuple[str, str], ...]
    coder_notes: tuple[CoderNote, ...] = ()
    never_no: tuple[str, ...] = ()

    def summary(self) -> dict[str, Any]:
        """Return the content of ``codings.json``: counts of entries and codes, the files, the coders and the notes."""
        return {
            "files": [{"file": file, "format": form} for file, form in self.files],
            "entries": dict(self.entries),
            "matched_by": dict(self.found_by),
            "codes": dict(self.codes),
            "records": len({coding.record_id for coding in self.codings}),
            "coders": sorted({coding.coder for coding in self.codings}),
            "conflicts": len(self.conflicts),
            "disagreements": len(self.disagreements),
            "notes": list(self.notes),
        }


def read_codings_from(
    paths: Sequence[str | Path],
    records: Sequence[Record],
    codebook: Codebook,
    settings: DedupeSettings,
    *,
    coder: str = "",
    basis: Basis | None = None,
    unticked: Unticked | None = None,
    mapped: MapFile | None = None,
) -> Imported:
    """Read reviewers' codings in any known format, and match them to records and labels.

    Parameters
    ----------
    paths
        Files, folders, or zip archives that contain files of codings.
    records
        Records of the papers that may be coded, without duplicates.
    settings
        Thresholds for comparing titles.
    coder
        Name of the coder, for files that do not record the coder.
    basis
        Text that the coder read (abstract or full text), for files that do not record the basis.
    unticked
        Meaning of a label that a coder did not tick, and of an empty cell in a matrix. By default, an unticked label
        counts as not judged, and an empty cell is an error.
    mapped
        The user's mapping of the names of labels, coders and papers in the files.

    Raises
    ------
    MechtagError
        If a file cannot be read or has an unknown format; if a name is not a label of the codebook; or if neither the
        file nor the user states the coder or the basis.
    """
    mapped = mapped or MapFile()
    asked = Asked(LabelMap(codebook, mapped.labels), coder, basis, unticked)
    run = _Run(asked, Finder(records, settings, mapped.papers), mapped.coders)
    for path in map(Path, paths):
        for name, source in _sources(path, run.notes):
            run.read(name, source, spare=name != path.name)
    if not run.files:
        reasons = f" ({'; '.join(run.notes)})" if run.notes else ""
        raise MechtagError(f"{', '.join(map(str, paths))}: no file contains codings{reasons}; check the path")
    asked.labels.refuse_unknown(run.unknown)
    return run.finish(records)


def _sources(path: Path, notes: list[str]) -> Iterator[tuple[str, Source]]:
    """Yield the name and content of each file in ``path``, which is a file, a folder or an archive.

    In a folder, hidden files are skipped. Subfolders are not read; a message about each of them is added to ``notes``.
    """
    if not path.exists():
        raise MechtagError(f"{path}: no such file or folder; check the path")
    files = sorted(one for one in path.iterdir() if not one.name.startswith(".")) if path.is_dir() else [path]
    for file in files:
        if not file.is_file():
            notes.append(f"{file.name}: this was not read, because it is not a regular file")
            continue
        for member, source in unpack(Source(file)):
            if member:
                refuse_nested(source)
            yield "/".join(filter(None, (file.name, member))), source


@dataclass
class _Run:
    asked: Asked
    finder: Finder
    coders: Mapping[str, str]
    notes: list[str] = field(default_factory=list)
    files: list[tuple[str, str]] = field(default_factory=list)
    unknown: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    rejected: list[Rejected] = field(default_factory=list)
    unmatched: list[Unmatched] = field(default_factory=list)
    entries: Counter[str] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    found_by: Counter[str] = field(default_factory=Counter)
    judgements: list[Judgement] = field(default_factory=list)
    unticked: list[Judgement] = field(default_factory=list)
    coder_notes: list[CoderNote] = field(default_factory=list)
    nobody: Counter[str] = field(default_factory=Counter)
    moved: Counter[str] = field(default_factory=Counter)
    refused: Counter[tuple[str, str]] = field(default_factory=Counter)

    def read(self, name: str, source: Source, spare: bool) -> None:
        """Read the codings in a file.

        Parameters
        ----------
        spare
            Whether a file without codings is allowed, as in a folder or an archive. If it is allowed, a note about such
            a file is added; otherwise, such a file raises an error.
        """
        found = self._recognised(source, spare)
        for content, form in found:
            # Coders often have one sheet each.
            part = f"{name}, sheet {content.sheet!r}" if len(found) > 1 else name
            self.files.append((part, form.name))
            for item in form.read(content, self.asked):
                self._take(part, item)
            self.notes += (f"{part}: {note}" for note in content.notes)
        self.notes += (f"{name}: {note}" for note in source.notes)

    def _recognised(self, source: Source, spare: bool) -> list[tuple[Content, CodingFormat]]:
        """Return the tables or sheets of a file that contain codings, each with its format.

        If no table contains codings, an error is raised, unless ``spare`` is true.
        """
        found, faults = [], []
        try:
            for content in load(source):
                try:
                    found.append((content, find_format(content)))
                except MechtagError as error:
                    faults.append(error)
        except MechtagError as error:
            faults.append(error)
        if faults and not found and not spare:
            raise faults[0]
        self.notes += (f"not read: {fault}" for fault in faults)
        return found

    def _take(self, name: str, item: Item) -> None:
        place = f"{name}: entry {item.number}"
        self.entries["read"] += 1
        by_people = self._by_people(item)
        fault = item.fault
        if not fault and by_people != item and not by_people.codes:
            fault = f"this is a coding by a language model ({self._llm(item)}), which no person confirmed"
        if fault:
            self.entries["rejected"] += 1
            self.rejected.append(
                Rejected(file=name, record=item.number, line=item.line, reason=fault, raw=_shown(item))
            )
            return
        if refused := len(item.codes) - len(by_people.codes):
            self.refused[name, self._llm(item)] += refused
            self.codes["read"] += refused
            self.codes["passed over"] += refused
        item = by_people
        if item.notes:
            record = self.finder.find(item.paper).record
            self.coder_notes.append(CoderNote(record, item.paper.title, self.asked.coder, item.notes, place))
        codes = list(self._codes(item, place))
        if not codes and not item.codes and not item.finished:
            self.entries["without codes"] += 1
            return
        found = self.finder.find(item.paper)
        self.codes["read"] += len(item.codes)
        self.codes["passed over"] += len(item.codes) - len(codes)
        if found.record is None:
            self.entries["unmatched"] += 1
            self.codes["unmatched"] += len(codes)
            self.unmatched.append(Unmatched(place, item, found))
            return
        self.entries["matched"] += 1
        self.found_by[found.by] += 1
        part = shows_part(item.paper.text, found.record)
        for key, code in codes:
            self.judgements.append(self._judgement(key, code, found.record, item, place, part))
        for key, code in self._unticked(item, codes):
            self.unticked.append(self._judgement(key, code, found.record, item, place, part))

    def _llm(self, item: Item) -> str:
        """Return the name of a language model that coded an entry; ``""`` if there is none."""
        names = (*(code.coder for code in item.codes), *item.finished)
        return next((self._named(name) for name in names if is_llm(self._named(name))), "")

    def _by_people(self, item: Item) -> Item:
        """Return an entry without the codes of language models."""
        return item._replace(
            codes=tuple(code for code in item.codes if not is_llm(self._named(code.coder))),
            finished=tuple(coder for coder in item.finished if not is_llm(self._named(coder))),
        )

    def _named(self, coder: str) -> str:
        """Return the name under which a coder's codes are recorded, or the name in the file if it is a model's name."""
        own = coder or self.asked.coder
        return own if is_llm(own) else self.coders.get(own, own)

    def _codes(self, item: Item, place: str) -> Iterator[tuple[str, Code]]:
        """For each code of an entry, yield its label key and the code itself; codes with unknown labels are skipped."""
        for code in item.codes:
            meaning = self.asked.labels.find(code.label)
            if meaning is None:
                # These names are collected for an error message.
                self.unknown[code.label or ""].append(place)
            elif meaning.key is not None:
                # If nobody ticked 'excluded', it does not follow that the paper is included.
                value = meaning.value if code.value == 1 else code.value if meaning.value == 1 else None
                if meaning.role and value != 1:
                    continue  # No passage has this role; this says nothing about the label.
                details = code.details if value == code.value else {}
                yield meaning.key, code._replace(value=value, details=details, role=meaning.role)

    def _unticked(self, item: Item, codes: Sequence[tuple[str, Code]]) -> list[tuple[str, Code]]:
        """If the user specified that unticked means no, return a ``no`` for each label that a coder left unticked."""
        if self.asked.unticked != "no":
            return []
        book = self.asked.labels.codebook
        offered = set(book.keys)
        if item.offered is not None:
            offered &= {
                meaning.key for name in item.offered if (meaning := self.asked.labels.find(name)) and meaning.key
            }
        filled = []
        for coder in item.finished:
            own = [(key, code) for key, code in codes if code.coder == coder]
            if any(key == book.relevance.key and code.value != 1 for key, code in own):
                continue  # Coders who exclude a paper, or are in doubt, may not have looked at the labels.
            said = {key for key, _ in own}
            date = next((code.date for _, code in own), "")
            filled += [(key, Code(key, 0, coder, date=date)) for key in book.keys if key in offered - said]
        return filled

    def _judgement(self, key: str, code: Code, record: Record, item: Item, place: str, part: bool | None) -> Judgement:
        coder = _clean(code.coder) or self.asked.coder
        if not code.coder:
            self.nobody[place.rpartition(": entry ")[0]] += 1
        if not coder:
            raise MechtagError(
                f"{place}: the file does not record the coder; specify the coder", options="--coder NAME"
            )
        basis = code.basis or self.asked.basis
        if basis is None:
            raise MechtagError(
                f"{place}: the file does not record whether the coder read the abstract or the full text; specify "
                "which text was read",
                options="--basis abstract or --basis full-text",
            )
        value = None if part and code.value == 0 else code.value
        # A sentence that was coded individually is its own evidence.
        evidence = code.evidence or (item.paper.text if part and value == 1 else "")
        return Judgement(
            record=record,
            coder=self.coders.get(coder, coder),
            label=key,
            value=value,
            basis=basis,
            evidence=excel_cell(evidence),
            date=_clean(code.date),
            codebook_version=_clean(code.codebook_version),
            place=place,
            text="" if part is False else item.paper.text,
            details=self._details(code, record, item.paper, place) if value == code.value else {},
            role=code.role,
        )

    def _details(self, code: Code, record: Record, paper: CitedPaper, place: str) -> Mapping[str, Any]:
        """Return the details of a code; omit sentence numbers if they may refer to another version of the abstract."""
        if "sentences" not in code.details or record.record_id in paper.names:
            return code.details
        self.moved[place.rpartition(": entry ")[0]] += 1
        lost = {"sentences", "sentences_complete"}
        if len(passages_of(code.evidence)) != len(code.details.get("signs", ())):
            lost.add("signs")
        return {name: value for name, value in code.details.items() if name not in lost}

    def _add_unticked(self) -> None:
        """Add the labels that count as no because they were left unticked.

        A paper may have several entries. What a coder said in one of them takes precedence over what the coder left
        unticked in another.
        """
        said = {(*_reading(row), row.label) for row in self.judgements}
        relevance = self.asked.labels.codebook.relevance.key
        doubted = {_reading(row) for row in self.judgements if row.label == relevance and row.value != 1}
        added = [
            row for row in self.unticked if _reading(row) not in doubted and (*_reading(row), row.label) not in said
        ]
        self.codes["unticked"] = len(added)
        self.judgements += added

    def finish(self, records: Sequence[Record]) -> Imported:
        self._add_unticked()
        settled = settle(self.judgements, records, self.asked.labels.codebook)
        self.codes["written"] = len(settled.codings)
        self.codes["doubled"] = settled.doubled
        self.codes["contradicting"] = settled.contradicting
        self._note_unused_names()
        self._note_coders()
        self.notes += (
            f"{name}: the numbers of marked sentences were left out of {counted(count, 'code')}, because these rows do "
            "not have the record_id of the record, so its abstract may be a different one"
            for name, count in self.moved.items()
        )
        self.notes += (
            f"{name}: left out {counted(count, 'code')} by a language model ({llm}), which no person confirmed"
            for (name, llm), count in self.refused.items()
        )
        return Imported(
            codings=settled.codings,
            unmatched=tuple(self.unmatched),
            conflicts=settled.conflicts,
            disagreements=settled.disagreements,
            rejected=tuple(self.rejected),
            notes=tuple(self.notes),
            entries={name: self.entries[name] for name in ENTRIES},
            codes={name: self.codes[name] for name in CODES},
            found_by=dict(self.found_by),
            files=tuple(self.files),
            coder_notes=tuple(self.coder_notes),
            never_no=self._never_no(settled.codings),
        )

    def _note_unused_names(self) -> None:
        coders = {judgement.coder for judgement in self.judgements}
        for name, own in self.coders.items():
            if own not in coders:
                self.notes.append(f"map file: found no codes by coder {name!r}; check how the files spell this name")

    def _note_coders(self) -> None:
        """Add a note if the coder that the user specified was not needed, or was used for several files."""
        if not self.asked.coder:
            return
        if len(self.nobody) > 1:
            files = ", ".join(f"{name} ({count})" for name, count in self.nobody.items())
            self.notes.append(
                f"the codes of {len(self.nobody)} files or sheets without a coder are recorded as codes of one coder, "
                f"{self.asked.coder!r}: {files}. If different people coded them, import each one separately, "
                "and specify its coder"
            )
        if not self.nobody and all(judgement.coder != self.asked.coder for judgement in self.judgements):
            coders = ", ".join(dict.fromkeys(judgement.coder for judgement in self.judgements)) or "none"
            self.notes.append(
                f"the specified coder, {self.asked.coder!r}, is not used, because the files name the coders: {coders}"
            )

    def _never_no(self, codings: Sequence[Coding]) -> tuple[str, ...]:
        values = defaultdict(set)
        for coding in codings:
            values[coding.label].add(coding.value)
        return tuple(key for key in self.asked.labels.codebook.keys if 1 in values[key] and 0 not in values[key])


ENTRIES = ("read", "matched", "without codes", "unmatched", "rejected")
CODES = ("read", "unticked", "written", "doubled", "contradicting", "unmatched", "passed over")


def _reading(row: Judgement) -> tuple[str, str, Basis]:
    """Return what identifies all codes that a coder gave to a record after reading the same text."""
    return row.record.record_id, row.coder, row.basis


def _clean(text: str) -> str:
    return " ".join(text.split())[:200]


def _shown(item: Item) -> tuple[tuple[str, Any], ...]:
    paper = item.paper
    return tuple((name, value) for name, value in paper._asdict().items() if value and name != "text")


_NEXT_TO_IT = ("unmatched.csv", "conflicts.csv", "disagreements.csv", "rejected.jsonl", "codings.json", "notes.csv")
_UNMATCHED = (
    *("entry", "name", "title", "authors", "year", "doi", "pmid", "codes", "tried"),
    *("candidate_1", "candidate_2", "candidate_3"),
)
_CONFLICTS = ("kind", "record_id", "title", "coder", "basis", "labels", "values", "entries", "kept")
_NOTES = ("record_id", "title", "coder", "notes", "entry")
_DISAGREEMENTS = ("record_id", "title", "label", "basis", "yes", "no")


def imported_files(path: Path) -> tuple[Path, ...]:
    """Return the paths of all files that `write_imported` writes if the path of the table of codings is ``path``."""
    return (path, *map(path.with_name, _NEXT_TO_IT))


def records_left_out(path: Path, imported: Imported, codebook: Codebook) -> int:
    """Return the number of records that have codings in the earlier table at ``path``, but not among the imported ones.

    The result is 0 if there is no earlier table, or if it is not a table of codings for the codebook.
    """
    try:
        earlier = read_codings(path, codebook.all_keys)
    except MechtagError:
        return 0
    return len({row.record_id or row.key for row in earlier} - {row.record_id for row in imported.codings})


def write_imported(path: Path, imported: Imported) -> None:
    """Write the codings to ``path``, and everything that did not become a coding to files in the same folder.

    The file at ``path`` is a table that `coding_table.read_codings` can read. The other files are ``unmatched.csv``,
    ``conflicts.csv``, ``disagreements.csv``, ``rejected.jsonl``, ``codings.json`` and ``notes.csv``. They are written
    even if they are empty, so that no file from an earlier run remains.
    """
    _, unmatched, conflicts, disagreements, rejected, summary, notes = imported_files(path)
    write_csv(unmatched, _UNMATCHED, map(_unmatched, imported.unmatched), bom=True)
    write_csv(conflicts, _CONFLICTS, map(_conflict, imported.conflicts), bom=True)
    write_csv(disagreements, _DISAGREEMENTS, map(_disagreement, imported.disagreements), bom=True)
    write_jsonl(rejected, imported.rejected)
    write_json(summary, imported.summary())
    write_csv(notes, _NOTES, map(_coder_note, imported.coder_notes), bom=True)
    write_codings(path, imported.codings)


def _unmatched(row: Unmatched) -> Sequence[object]:
    paper, found = row.item.paper, row.found
    near = [_cited(record) for record in found.candidates]
    codes = (f"{code.label or 'decision'}: {_value(code.value)}" for code in row.item.codes)
    cells = (
        *(row.place, "; ".join(paper.names), paper.title, "; ".join(paper.authors), paper.year),
        *(paper.doi, paper.pmid, "; ".join(codes), "; ".join(found.tried), *near),
    )
    return [excel_cell(str(cell)) if cell is not None else None for cell in (*cells, *[""] * (3 - len(near)))]


def _cited(record: Record) -> str:
    author = record.authors[0].split(",")[0] if record.authors else "no author"
    return f"{record.record_id} | {author} ({record.year or 'no year'}) | {record.title}"


def _value(value: int | None) -> str:
    return "not judged" if value is None else str(value)


def _conflict(row: Conflict) -> Sequence[object]:
    first = row.rows[0]
    return [
        excel_cell(cell)
        for cell in (
            row.kind,
            first.record.record_id,
            first.record.title,
            first.coder,
            first.basis,
            "; ".join(dict.fromkeys(one.label for one in row.rows)),
            "; ".join(_value(one.value) for one in row.rows),
            "; ".join(one.place for one in row.rows),
            "none",
        )
    ]


def _disagreement(row: Disagreement) -> Sequence[object]:
    cells = row.record.record_id, row.record.title, row.label, row.basis, "; ".join(row.yes), "; ".join(row.no)
    return [excel_cell(cell) for cell in cells]


def _coder_note(row: CoderNote) -> Sequence[object]:
    title = row.record.title if row.record else row.title
    cells = row.record.record_id if row.record else "", title, row.coder, row.text, row.place
    return [excel_cell(cell) for cell in cells]


def describe_import(imported: Imported) -> Iterator[str]:
    """Yield the lines of a report on an import, such as how many entries and codes were read, matched or left out."""
    for file, form in imported.files:
        yield f"{file}: {form}"
    counts = imported.entries
    ways = ", ".join(f"{count} by {way}" for way, count in imported.found_by.items())
    yield (
        f"Entries: {counts['read']} read = {counts['matched']} matched{f' ({ways})' if ways else ''} + "
        f"{counts['without codes']} without codes + {counts['unmatched']} unmatched + {counts['rejected']} rejected"
    )
    codes = imported.codes
    unticked = f" + {codes['unticked']} unticked, counted as no" if codes["unticked"] else ""
    yield (
        f"Codes: {codes['read']} read{unticked} = {codes['written']} written + {codes['doubled']} repeated or joined + "
        f"{codes['contradicting']} contradicting + {codes['unmatched']} in unmatched entries + "
        f"{codes['passed over']} ignored"
    )
    values = [coding.value for coding in imported.codings]
    yield f"Written: {values.count(1)} yes + {values.count(0)} no + {values.count(None)} not judged"
    records = len({coding.record_id for coding in imported.codings})
    coders = sorted({coding.coder for coding in imported.codings})
    yield f"Records coded: {records}; coders: {', '.join(coders) or 'none'}"
    if imported.never_no:
        yield (
            f"Labels coded yes, but never no: {', '.join(imported.never_no)}. 'mechtag train' may refuse these "
            "labels, because a model needs both yes and no codes to learn a label. If the coders went through "
            "all labels, import the codes again with 'mechtag codings ... --unticked no'"
        )
    if imported.disagreements:
        cases = counted(len(imported.disagreements), "case")
        yield f"Coders disagree in {cases}; all codes are kept (see disagreements.csv)"
