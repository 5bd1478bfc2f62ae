"""Codings from the files that reviewers have: read, matched to records, checked, and put into the coding contract."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from models.codebook import Codebook
from pipeline.annotations import Basis
from pipeline.coding_import.conflicts import Conflict, Disagreement, Judgement, settle
from pipeline.coding_import.formats import find_format
from pipeline.coding_import.formats.base import Asked, Code, CodingFormat, Item, Unticked
from pipeline.coding_import.formats.content import Content, load
from pipeline.coding_import.labels import LabelMap, MapFile
from pipeline.coding_import.match import Finder, Found, shows_part
from pipeline.errors import MechtagError
from pipeline.exporters.table import excel_cell
from pipeline.readers.base import Source
from pipeline.readers.containers import refuse_nested, unpack
from pipeline.records import Coding, Record, Rejected
from pipeline.settings import DedupeSettings


class Unmatched(NamedTuple):
    """An entry whose paper is none of the records, or several."""

    place: str
    item: Item
    found: Found


@dataclass(frozen=True)
class Imported:
    """Codings, and all that did not become one.

    Attributes
    ----------
    codings
        In the order of the records, then of coders; labels in the order of the codebook.
    unmatched
        Entries that found no record, or several.
    conflicts
        Where a coder said a thing twice, or contradicted himself.
    disagreements
        Where coders differ; the codings hold what each of them said.
    rejected
        Entries that could not be read, with the reason.
    notes
        What was odd about files.
    entries, codes
        Counts, which add up: entries read = matched + without codes + unmatched + rejected; codes
        read + unticked = written + doubled + contradicting + unmatched + passed over.
    found_by
        How many entries were matched by what.
    files
        Name and format of each file.
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

    def summary(self) -> dict[str, Any]:
        """Count entries and codes, for ``codings.json``."""
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
    """Read what reviewers coded, in any known format, into rows of the coding contract.

    Parameters
    ----------
    paths
        Files, folders, or zip files of them.
    records
        The papers that may be coded, none twice.
    settings
        How titles are compared.
    coder, basis
        Who coded, and from what, where a file does not say.
    unticked
        What an empty cell of a matrix means, and a label that a coder did not tick. Without it, an
        empty cell is an error, and all else is not judged.
    mapped
        Names of labels, coders and papers, as the user says them.

    Raises
    ------
    MechtagError
        A file cannot be read, or is of no known format; a name is no label of the codebook; coder or
        basis is said nowhere.
    """
    mapped = mapped or MapFile()
    asked = Asked(LabelMap(codebook, mapped.labels), coder, basis, unticked)
    run = _Run(asked, Finder(records, settings, mapped.papers), mapped.coders)
    for path in map(Path, paths):
        for name, source in _sources(path, run.notes):
            run.read(name, source, spare=name != path.name)
    if not run.files:
        raise MechtagError(f"{paths[0]}: no file with codings in it; {'; '.join(run.notes)}")
    asked.labels.refuse_unknown(run.unknown)
    return run.finish(records)


def _sources(path: Path, notes: list[str]) -> Iterator[tuple[str, Source]]:
    """Files of a path, with names for messages; hidden files and folders in folders are left out."""
    if not path.exists():
        raise MechtagError(f"{path}: no such file or folder")
    files = sorted(one for one in path.iterdir() if not one.name.startswith(".")) if path.is_dir() else [path]
    for file in files:
        if not file.is_file():
            notes.append(f"{file.name}: not a file; not read")
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

    def read(self, name: str, source: Source, spare: bool) -> None:
        """Read a file; one among others, ``spare``, that holds no codings is noted."""
        for content, form in self._recognised(source, spare):
            self.files.append((name, form.name))
            for item in form.read(content, self.asked):
                self._take(name, item)
            self.notes += (f"{name}: {note}" for note in content.notes)
        self.notes += (f"{name}: {note}" for note in source.notes)

    def _recognised(self, source: Source, spare: bool) -> list[tuple[Content, CodingFormat]]:
        """Tables or objects of a file, with their formats; sheets of a workbook spare each other."""
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
        if item.fault:
            self.entries["rejected"] += 1
            self.rejected.append(
                Rejected(file=name, record=item.number, line=item.line, reason=item.fault, raw=_shown(item))
            )
            return
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
        filled = self._unticked(item, codes, place)
        self.codes["unticked"] += len(filled)
        for key, code in (*codes, *filled):
            self.judgements.append(self._judgement(key, code, found.record, item, place, part))

    def _codes(self, item: Item, place: str) -> Iterator[tuple[str, Code]]:
        """Codes whose label is known, with its key; the others are noted, or passed over on purpose."""
        for code in item.codes:
            meaning = self.asked.labels.find(code.label)
            if meaning is None:
                self.unknown[code.label or ""].append(place)
            elif meaning.key is not None:
                # That nobody ticked 'excluded' does not make a paper included.
                value = meaning.value if code.value == 1 else code.value if meaning.value == 1 else None
                yield meaning.key, code._replace(value=value)

    def _unticked(self, item: Item, codes: Sequence[tuple[str, Code]], place: str) -> list[tuple[str, Code]]:
        """Give what coders said by not ticking, if the user says that this means no."""
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
                continue  # Who excludes a paper, or is in doubt, need not have looked at the labels.
            said = {key for key, _ in own}
            date = next((code.date for _, code in own), "")
            filled += [(key, Code(key, 0, coder, date=date)) for key in book.keys if key in offered - said]
        return filled

    def _judgement(self, key: str, code: Code, record: Record, item: Item, place: str, part: bool | None) -> Judgement:
        coder = _clean(code.coder) or self.asked.coder
        if not coder:
            raise MechtagError(f"{place}: the file does not say who coded; say it with --coder NAME")
        basis = code.basis or self.asked.basis
        if basis is None:
            raise MechtagError(
                f"{place}: the file does not say what was read; say it with --basis abstract or --basis full-text"
            )
        value = None if part and code.value == 0 else code.value
        # A sentence that was coded by itself is the evidence.
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
        )

    def finish(self, records: Sequence[Record]) -> Imported:
        settled = settle(self.judgements, records, self.asked.labels.codebook)
        self.codes["written"] = len(settled.codings)
        self.codes["doubled"] = settled.doubled
        self.codes["contradicting"] = settled.contradicting
        self._tell_leftover_names()
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
        )

    def _tell_leftover_names(self) -> None:
        coders = {judgement.coder for judgement in self.judgements}
        for name, own in self.coders.items():
            if own not in coders:
                self.notes.append(f"map file: coder {name!r} coded nothing that was read")


ENTRIES = ("read", "matched", "without codes", "unmatched", "rejected")
CODES = ("read", "unticked", "written", "doubled", "contradicting", "unmatched", "passed over")


def _clean(text: str) -> str:
    return " ".join(text.split())[:200]


def _shown(item: Item) -> tuple[tuple[str, Any], ...]:
    paper = item.paper
    return tuple((name, value) for name, value in paper._asdict().items() if value and name != "text")
