"""Read training annotations: either coded records with their texts, or a table of codings and a table of records."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mechtag.core.codebook import Codebook, describe_validation
from mechtag.core.errors import MechtagError
from mechtag.core.files import StrPath, write_csv
from mechtag.core.parquet import read_records
from mechtag.core.records import (
    BETWEEN_QUOTES,
    LATER_FIELDS,
    Coding,
    Record,
    Sign,
    is_llm,
    is_person,
    passages_of,
)
from mechtag.core.settings import SentenceSettings, Settings
from mechtag.core.tables import CONFIRMED, TableRow, is_table, read_table
from mechtag.pipeline.annotations.cited_papers import CitedPaper
from mechtag.pipeline.annotations.coded_records import ADDED, CodedRecord, files_of, read_coded, settled
from mechtag.pipeline.annotations.record_finder import (
    IDENTIFIERS,
    Finder,
    cited_in,
    describing,
    name_of,
)
from mechtag.pipeline.annotations.versions import Additions, read_additions, version_files
from mechtag.pipeline.reading.text.cleaning import clean_record
from mechtag.pipeline.reading.text.sentences import split_each

# Excel omits empty cells at the end of a row; every row must nevertheless extend to the last of these columns.
_NEEDED = ("record_id", "key", "coder", "label", "value", "basis")


def read_annotations(
    settings: Settings, label_keys: Sequence[str], relevance_key: str, version: str | None = None
) -> list[CodedRecord]:
    """Read the coded records in ``train.records``, and apply the codings that were added later.

    Parameters
    ----------
    version
        Version of the added codings in the folder ``train.added``. By default, the version in use.

    Raises
    ------
    MechtagError
        For the same reasons as in `read_base`, `versions.read_additions` and `add_codings`.
    """
    base = read_base(settings, label_keys, relevance_key)
    return add_codings(base, read_additions(settings.train.added, version), label_keys, relevance_key, settings)


def read_base(settings: Settings, label_keys: Sequence[str], relevance_key: str) -> list[CodedRecord]:
    """Read the coded records in ``train.records``, without the codings that were added later.

    ``train.records`` is a JSON Lines file, a folder of JSON Lines files, or a table of codings. A table of codings does
    not contain the texts of the records, so they are read from ``train.texts``.

    Raises
    ------
    MechtagError
        For the same reasons as in `read_coded`, `read_codings` and `coded_from`; if a language model coded a record in
        a JSON Lines file; or if ``train.texts`` is needed but is not set or does not exist.
    """
    path = Path(settings.train.records)
    if not is_table(path):
        coded = read_coded(path, label_keys)
        if by_llm := next((one for one in coded if any(map(is_llm, one.coder.split(", ")))), None):
            raise MechtagError(
                f"{path}: record {by_llm.key} was coded by a language model ({by_llm.coder}), so no model may learn "
                "from it; remove the record. If a person checked the codes, enter this person's name as the coder "
                "instead"
            )
        return coded
    if not settings.train.texts:
        raise MechtagError(
            f"{path}: a table of codings does not contain the texts of its records; set train.texts in params.yaml to "
            "the Parquet table of these records, as written by 'mechtag ingest', 'mechtag dedupe' or 'mechtag tag'"
        )
    if not Path(settings.train.texts).exists():
        raise MechtagError(
            f"{settings.train.texts}: train.texts in params.yaml names this table of records, but it does not exist; "
            "create it with 'mechtag ingest EXPORTS -o data/records.parquet', then 'mechtag dedupe "
            f"data/records.parquet -o {settings.train.texts}'"
        )
    records = list(map(clean_record, read_records(settings.train.texts)))
    codings = read_codings(path, (relevance_key, *label_keys), Finder(records, settings.dedupe), to_train=True)
    coded = coded_from(codings, records, label_keys, relevance_key, settings.sentences, str(path))
    return [record.model_copy(update={"set_name": path.stem}) for record in coded]


def read_codings(path: StrPath, all_keys: Sequence[str], *finders: Finder, to_train: bool = False) -> list[Coding]:
    """Read a table of codings (CSV or XLSX), which has one row per record, coder and label.

    At least one column must identify the record: ``record_id``, ``key``, ``id``, ``doi``, ``pmid`` or ``title``. The
    columns ``coder``, ``label``, ``value`` and ``basis`` are required. ``value`` is 1, 0, or empty for not judged; see
    `tables.read_tick`. The other fields of `mechtag.core.records.Coding` are optional.

    A repeated row is ignored. A row with a role of evidence is combined with the coder's other rows about the same
    record, label and basis. The combined coding has all their passages, but no role. `read_role_codings` keeps the
    roles.

    Parameters
    ----------
    all_keys
        Keys of relevance and of the labels in the codebook.
    finders
        Finders that look up the record of a coding, in the order in which they are tried. The coding gets the id of the
        found record. If no record is found, and the row has neither record id nor key, the first identifier in the row,
        such as the DOI, becomes the key.
    to_train
        Whether a model will learn from the codings. If so, a coding by a language model becomes a coding of the person
        who confirmed it (column ``confirmed_by``). If nobody confirmed it, a yes or no is an error, and a coding
        without a value is left out.

    Raises
    ------
    MechtagError
        If the file is missing or is not a table of codings; if a label is not in the codebook; if a cell has an invalid
        value; if a coder coded one label of a record differently in two rows with the same basis; or if ``to_train`` is
        true and nobody confirmed a yes or no by a language model.
    """
    found = dict[tuple[str | None, ...], Coding]()
    places, with_role = dict[tuple[str | None, ...], str](), set[tuple[str | None, ...]]()
    for place, coding in _read_rows(Path(path), all_keys, finders, to_train):
        # One coder may code the abstract and the full text differently.
        name = (coding.record_id or coding.key, coding.coder, coding.label, coding.basis)
        if coding.role:
            with_role.add(name)
        if name not in found:
            found[name] = coding.model_copy(update={"role": None})
            places[name] = place
        elif found[name].value != coding.value:
            raise MechtagError(
                f"{place}: coder {coding.coder} coded label '{coding.label}' of this record differently at "
                f"{places[name]}; correct or remove one of the two rows"
            )
        elif name in with_role:
            found[name] = _combined(found[name], coding)
    return list(found.values())


def without_roles(codings: Iterable[Coding]) -> list[Coding]:
    """Combine the codings of one coder for a label of a record, and return the combined codings without roles.

    Codings from abstracts and from full texts are not combined. Each combined coding has the passages of all roles.
    """
    found = dict[tuple[str | None, ...], Coding]()
    for coding in codings:
        name = (coding.record_id or coding.key, coding.coder, coding.label, coding.basis)
        known = found.get(name)
        found[name] = _combined(known, coding) if known else coding.model_copy(update={"role": None})
    return list(found.values())


def _combined(first: Coding, second: Coding) -> Coding:
    """Return a copy of the first coding to which the passages of the second coding are added."""
    rows = (first, second)
    texts = dict.fromkeys(text for row in rows for text in passages_of(row.evidence))
    sentences = sorted({number for row in rows for number in row.sentences or ()})
    unmarked = first.sentences is None and second.sentences is None
    signs: dict[int | str, Sign | None] = {}
    for row in rows:
        passages: Sequence[int | str] = passages_of(row.evidence) if row.sentences is None else row.sentences
        given = zip(passages, row.signs or [None] * len(passages), strict=True)
        signs |= {passage: sign for passage, sign in given if sign or passage not in signs}
    own = [signs.get(passage) for passage in (texts if unmarked else sentences)]
    return first.model_copy(
        update={
            "sentences": None if unmarked else tuple(sentences),
            "sentences_complete": first.sentences_complete or second.sentences_complete,
            "signs": tuple(own) if any(own) else (),
            "evidence": BETWEEN_QUOTES.join(texts) or None,
        }
    )


def read_role_codings(path: StrPath, codebook: Codebook, *finders: Finder) -> list[Coding]:
    """Return the codings in a table that have a role of evidence; all other rows are left out.

    The table is read as in `read_codings`.

    Raises
    ------
    MechtagError
        For the same reasons as in `read_codings`, and if a role is not in the codebook.
    """
    rows = [row for row in _read_rows(Path(path), codebook.all_keys, finders, to_train=False) if row[1].role]
    for place, coding in rows:
        if coding.role not in codebook.role_names:
            raise MechtagError(
                f"{place}: the codebook has no role {coding.role!r}; use one of its roles: "
                f"{', '.join(codebook.role_names)}"
            )
    return [coding for _, coding in rows]


def _read_rows(
    path: Path, all_keys: Sequence[str], finders: Sequence[Finder], to_train: bool
) -> Iterator[tuple[str, Coding]]:
    """Yield the place (file and row) and the coding of each row of a table of codings."""
    table = read_table(path, "a table of codings, one row per record, coder and label", _NEEDED)
    if not table.rows:
        raise MechtagError(
            f"{path}: the table contains no codings; add one row per record, coder and label below the header"
        )
    if "value" not in table.names:
        raise MechtagError(f"{path}: the column 'value' is missing; add it (columns found: {', '.join(table.names)})")
    described = describing(table.names) - Coding.model_fields.keys()
    for row in table.rows:
        place = row.place
        cells = {name: cell or None for name, cell in row.cells.items() if name not in described}
        try:
            coding = Coding.model_validate({**cells, "value": row.tick("value")})
        except ValidationError as error:
            raise MechtagError(describe_validation(place, error)) from None
        if coding.label not in all_keys:
            raise MechtagError(
                f"{place}: the codebook has no label {coding.label!r}; use one of its label keys: {', '.join(all_keys)}"
            )
        if not name_of(row):
            raise MechtagError(
                f"{place}: nothing identifies the record; fill in one of the columns {', '.join(IDENTIFIERS)}"
            )
        if to_train and is_llm(coding.coder):
            if coding.value is None and not coding.confirmed_by:
                continue
            coding = _of_person(coding, place)
        yield place, _with_record(coding, row, finders)


def _of_person(coding: Coding, place: str) -> Coding:
    """Convert a coding by a language model to a coding by the person who confirmed it.

    If no person confirmed it, an error is raised.
    """
    person = (coding.confirmed_by or "").strip()
    if not is_person(person):
        raise MechtagError(
            f"{place}: this is a coding by a language model ({coding.coder}) that no person confirmed, so no model may "
            f"learn from it. Check the code against the paper, and enter your name in the column '{CONFIRMED}'; or "
            "remove the row"
        )
    return coding.model_copy(update={"coder": person, "assisted": True, "confirmed_by": None})


def _with_record(coding: Coding, row: TableRow, finders: Sequence[Finder]) -> Coding:
    paper = cited_in(row) if finders else CitedPaper()
    for finder in finders:
        if record := finder.find(paper).record:
            return coding.model_copy(update={"record_id": record.record_id})
    return coding if coding.record_id or coding.key else coding.model_copy(update={"key": name_of(row)})


def coded_from(
    codings: Sequence[Coding],
    records: Sequence[Record],
    label_keys: Sequence[str],
    relevance_key: str,
    settings: SentenceSettings,
    place: str,
) -> list[CodedRecord]:
    """Combine codings and records into coded records.

    If the codes for a label contradict each other, the label counts as not judged. The codes may be from different
    coders, or from one coder who read the abstract and the full text. Final codes of the review page replace the codes
    of people; see `settled`.

    A record counts as relevant if at least one coder coded it as relevant, or if no coder judged its relevance. A coder
    who coded a label as yes, but did not judge relevance, counts as having coded the record as relevant.

    The sentences of the abstract get codes for a label if a coder read all of them for this label. The coder's code for
    the label must also be the code of the record.

    Parameters
    ----------
    records
        Records to which the codings may belong. Records without a coding are ignored.
    place
        Source of the codings, for error messages.

    Raises
    ------
    MechtagError
        If the identifier in a coding belongs to no record or to several records; if an irrelevant record has a label;
        or if a coding marks a sentence that the abstract does not have.
    """
    finder = Finder(records)
    codes: dict[str, list[Coding]] = defaultdict(list)
    for coding in codings:
        found = finder.find(CitedPaper(names=(coding.record_id or coding.key or "",)))
        if found.record is None:
            name = coding.record_id or coding.key
            if found.several:
                raise MechtagError(
                    f"{place}: the identifier '{name}' belongs to more than one of the {len(records)} records in "
                    "train.texts; in the codings, identify each record by its record_id"
                )
            raise MechtagError(
                f"{place}: the identifier '{name}' belongs to none of the {len(records)} records in train.texts; add "
                "the record to train.texts, or remove its codings"
            )
        codes[found.record.record_id].append(coding)
    # A table that was read without deduplication may list a record twice.
    coded = list({record.record_id: record for record in records if record.record_id in codes}.values())
    sentences = split_each(coded, settings)
    papers = []
    for record in coded:
        own = codes[record.record_id]
        counted = settled(own, relevance_key)
        values = {label: _agreed(counted, label) for label in label_keys}
        relevant = _relevant(counted, relevance_key)
        labels = tuple(label for label, value in values.items() if value == 1)
        if labels and not relevant:
            raise MechtagError(
                f"{place}: record {record.record_id} is coded as not {relevance_key}, but also as "
                f"{', '.join(labels)}; correct one of these codes"
            )
        marked = _sentence_labels(counted, values, len(sentences[record.record_id]), place)
        papers.append(
            CodedRecord(
                key=own[0].key or record.record_id,
                relevant=relevant,
                labels=labels,
                not_judged=tuple(label for label, value in values.items() if value is None),
                sentence_labels=marked[0],
                sentences_not_judged=marked[1],
                coder=", ".join(sorted({coding.coder for coding in own})),
                basis=own[0].basis,
                codebook=own[0].codebook_version or "",
                record=record,
                sentences=tuple(sentences[record.record_id]),
                by_coder=tuple(coding.model_copy(update={"record_id": record.record_id}) for coding in own),
            )
        )
    return papers


def _sentence_labels(
    codings: Sequence[Coding], values: Mapping[str, int | None], count: int, place: str
) -> tuple[tuple[tuple[str, ...], ...] | None, tuple[str, ...]]:
    """Return the labels of each sentence, and the labels for which no sentence has a code.

    If the sentences have no codes for any label, the result is ``(None, ())``.
    """
    marks: dict[str, set[int]] = {}
    for row in codings:
        numbers = row.sentences or ()
        if row.basis == "abstract" and max(numbers, default=-1) >= count:
            raise MechtagError(
                f"{place}: coder {row.coder} marked sentence {max(numbers)} of record {row.record_id} for label "
                f"'{row.label}', but the abstract has {count} sentences, numbered from 0; code the record again"
            )
        # Sentences count as coded if the coder read all of them, and if the coder's code is that of the record.
        if row.basis == "abstract" and row.sentences_complete and row.value is not None:
            if values.get(row.label) == row.value:
                marks.setdefault(row.label, set()).update(numbers)
    if not marks:
        return None, ()
    labels = tuple(tuple(key for key in values if number in marks.get(key, ())) for number in range(count))
    return labels, tuple(key for key in values if key not in marks)


def write_codings(path: Path, codings: Sequence[Coding], columns: Collection[str] = ()) -> None:
    """Write a table of codings that `read_codings` can read.

    The columns are the fields that `used_fields` returns.
    """
    used = used_fields(codings, columns)
    write_csv(path, used, [[cell_of(row, name) for name in used] for row in codings], bom=True)


def used_fields(codings: Sequence[Coding], columns: Collection[str] = ()) -> list[str]:
    """Return the fields that `write_codings` writes to a table of codings.

    A field that earlier versions of mechtag did not have is left out if it is empty in all codings, unless ``columns``
    contains it.
    """
    return [
        name
        for name, field in Coding.model_fields.items()
        if name not in LATER_FIELDS or name in columns or any(getattr(row, name) != field.default for row in codings)
    ]


def cell_of(coding: Coding, field: str) -> str | int | None:
    """Return the value that `write_codings` writes for a field of a coding."""
    value: Any = getattr(coding, field)
    if isinstance(value, tuple):
        return ";".join("" if each is None else str(each) for each in value)
    found: str | int | None = int(value) if isinstance(value, bool) else value
    return found


def add_codings(
    base: Sequence[CodedRecord],
    additions: Additions,
    label_keys: Sequence[str],
    relevance_key: str,
    settings: Settings,
) -> list[CodedRecord]:
    """Apply later codings to the coded records in ``base``.

    The result contains the records in ``base``, followed by the new records in ``additions``. A later code replaces an
    earlier code by the same coder for the same label and basis. A label on which coders disagree counts as not judged.

    Raises
    ------
    MechtagError
        For the same reasons as in `coded_from`.
    """
    known = {record.record.record_id for record in base}
    later: dict[str, list[Coding]] = defaultdict(list)
    for coding in additions.codings:
        later[coding.record_id or ""].append(coding)
    recoded = [
        _recode(record, later[record.record.record_id], label_keys, relevance_key)
        if record.record.record_id in later
        else record
        for record in base
    ]
    others = [coding for coding in additions.codings if coding.record_id not in known]
    added = coded_from(
        others, additions.records, label_keys, relevance_key, settings.sentences, str(settings.train.added)
    )
    return [*recoded, *(record.model_copy(update={"added": True, "set_name": ADDED}) for record in added)]


def _recode(record: CodedRecord, later: Sequence[Coding], label_keys: Sequence[str], relevance_key: str) -> CodedRecord:
    rows = {(row.coder, row.label, row.basis): row for row in (*record.codings(label_keys, relevance_key), *later)}
    counted = settled(list(rows.values()), relevance_key)
    values = {label: _agreed(counted, label) for label in label_keys}
    return record.model_copy(
        update={
            "relevant": _relevant(counted, relevance_key),
            "labels": tuple(label for label, value in values.items() if value == 1),
            "not_judged": tuple(label for label, value in values.items() if value is None),
            "sentences_not_judged": tuple(
                label
                for label, value in values.items()
                if value != record.code(label) or label in record.sentences_not_judged
            ),
            "coder": ", ".join(dict.fromkeys(coder for coder, *_ in rows)),
            "by_coder": tuple(rows.values()),
        }
    )


def _relevant(codings: Sequence[Coding], relevance_key: str) -> bool:
    """Return ``True`` if at least one coder coded a record as relevant, or if nobody judged its relevance."""
    decisions: dict[tuple[str, str], int] = {}
    for coding in codings:
        who = coding.coder, coding.basis
        if coding.label == relevance_key and coding.value is not None:
            decisions[who] = coding.value
        elif coding.value == 1:
            # Coders who coded a label as yes without judging relevance consider the record relevant.
            decisions.setdefault(who, 1)
    return not decisions or any(decisions.values())


def _agreed(codings: Sequence[Coding], label: str) -> int | None:
    values = {coding.value for coding in codings if coding.label == label and coding.value is not None}
    return values.pop() if len(values) == 1 else None


def data_hashes(settings: Settings, version: str | None = None) -> dict[str, str]:
    """Return the SHA-256 of each file of annotations that training reads, keyed by file name.

    Parameters
    ----------
    version
        Version of the added codings. By default, the version in use.
    """
    chosen = settings.train
    texts = chosen.texts if is_table(chosen.records) else ""
    examples = chosen.examples if Path(chosen.examples).is_file() else ""
    files = {Path(name).name: Path(name) for name in (chosen.exemplars, examples, texts) if name}
    records = Path(chosen.records)
    for path in files_of(records, "coded records"):
        files[f"{records.name}/{path.name}" if records.is_dir() else path.name] = path
    files |= version_files(chosen.added, version)
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()}
