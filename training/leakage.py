"""Find papers that are in both the training data and the data used to measure accuracy.

Before training, `retrain` looks for test papers among the added training records. After training, `evaluate` looks for
test papers among the training papers of a model. The model folder contains a list of its training papers.
"""

from __future__ import annotations

import json
import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save
from threadpoolctl import threadpool_limits

from mechtag.core.errors import MechtagError
from mechtag.core.records import Record
from mechtag.core.settings import Settings
from mechtag.models.encoder import Encoder, Vectors
from mechtag.models.model_folder import PAPERS
from mechtag.pipeline.dedupe.comparable import comparable_fields
from mechtag.pipeline.dedupe.rules import comparable_pairs, compare_records, equal_values
from mechtag.pipeline.reading.text.sentences import split

# A title with one or two sentences is too short to be distinguished from those of other papers.
_MIN_UNITS = 3
# Bibliographic fields that the rules for duplicates compare. Abstracts are not kept.
_KEPT = ("record_id", "title", "authors", "year", "journal", "volume", "issue", "pages", "doi", "pmid", "type")
# Number of papers that are compared with all known papers at a time.
_BLOCK = 256
# Largest number of sentences whose cosines are computed at a time: larger matrices do not fit into the cache.
_SENTENCES = 2048
# Likenesses of many texts that are computed at a time differ from `likeness` by rounding, but by less than this.
_ROUNDING = 1e-3
# Seed of the rotation after which only the signs of a sentence vector are kept: one bit per dimension. Measured on the
# coded records, the gold standard and the paraphrases of `likeness`: a likeness above 0.5 differs by at most 0.06, and
# the same papers and paraphrases are found.
_SEED = 2021


@dataclass(frozen=True)
class Leak:
    """An overlap of training data and test data: a record in one of them resembles a paper in the other.

    Attributes
    ----------
    title
        Title of the record.
    reason
        Why the record resembles the paper, with the title of the paper.
    certain
        Whether the record certainly describes the paper. If false, it may describe a different paper.
    """

    record_id: str
    title: str
    reason: str
    certain: bool


@dataclass(frozen=True)
class KnownPapers:
    """Papers, with the data that the leakage check needs to compare them with other papers.

    Attributes
    ----------
    records
        Bibliographic data of the papers.
    groups
        Study of each paper: its value in the field that the setting ``retrain.group_field`` names; ``""`` if unknown.
    vectors
        Vectors of the title and sentences of each paper.
    is_sketch
        Whether the vectors were read from a model folder. Such vectors are approximate: they were rotated, and only
        the sign of each component was stored.
    """

    records: list[Record]
    groups: list[str]
    vectors: list[Vectors]
    is_sketch: bool = False

    def pack(self, model_id: str) -> bytes:
        """Return a safetensors file, as bytes, that describes the papers on which a model was trained.

        The file does not contain their abstracts.
        """
        kept = [record.model_dump(mode="json", include=set(_KEPT), exclude_defaults=True) for record in self.records]
        size = self.vectors[0].shape[1] if self.vectors else 0
        text = json.dumps({"papers": kept, "groups": self.groups, "size": size}, ensure_ascii=False)
        whole = np.vstack([*self.vectors, np.zeros((0, size), np.float32)])
        arrays: dict[str, NDArray[Any]] = {
            "papers": np.frombuffer(zlib.compress(text.encode(), 9), np.uint8),
            "signs": np.packbits(whole @ _rotation(size) > 0, axis=1),
            "lengths": np.array([len(own) for own in self.vectors], np.int32),
        }
        packed: bytes = save(arrays, {"model_id": model_id})
        return packed


def describe_papers(records: Sequence[Record], encoder: Encoder, settings: Settings) -> KnownPapers:
    """Compute the data that the leakage check needs about papers, such as the vectors of their sentences.

    Parameters
    ----------
    records
        One record per paper. Several records may have the same id. The papers in the result have the same order.
    """
    units: list[str] = []
    lengths = []
    for record in records:
        own = [record.title, *(sentence.text for sentence in split([record], settings.sentences))]
        units += own
        lengths.append(len(own))
    vectors = list(np.split(encoder.encode(units), np.cumsum(lengths)[:-1])) if records else []
    groups = [_group(record, settings.retrain.group_field) for record in records]
    return KnownPapers(list(records), groups, vectors)


def read_training_papers(folder: Path, model_id: str) -> KnownPapers | None:
    """Read the list of papers that a model was trained on, which is a file in the model folder.

    If the folder contains no such file, the result is ``None``.

    Raises
    ------
    MechtagError
        If the file is damaged or belongs to a different model.
    """
    path = folder / PAPERS
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="numpy") as file:
            owner = (file.metadata() or {}).get("model_id")
            arrays = {name: file.get_tensor(name) for name in ("papers", "signs", "lengths")}
        content = json.loads(zlib.decompress(arrays["papers"].tobytes()))
        records = [Record.model_validate(row) for row in content["papers"]]
        groups = [str(group) for group in content["groups"]]
        ends = np.cumsum(arrays["lengths"])
        if not len(records) == len(groups) == len(ends) or ends[-1:].sum() != len(arrays["signs"]):
            raise ValueError("the vectors of the sentences do not match the list of papers")
        signs = np.unpackbits(arrays["signs"], axis=1, count=int(content["size"])).astype(np.float32) * 2 - 1
    except (OSError, SafetensorError, ValidationError, KeyError, TypeError, ValueError, zlib.error) as error:
        raise MechtagError(
            f"{path}: the file is not readable as a list of training papers: {str(error).splitlines()[0]}; train again"
        ) from None
    if owner != model_id:
        raise MechtagError(
            f"{path}: this list of training papers belongs to a different model ({owner} instead of {model_id}); "
            "train again"
        )
    # After a random rotation, the product of a unit vector and these signs is on average the cosine times this factor.
    factor = np.float32(np.sqrt(np.pi / 2 / max(1, signs.shape[1])))
    vectors = np.split(signs * factor, ends[:-1]) if records else []
    return KnownPapers(records, groups, vectors, is_sketch=True)


def find_leaks(papers: KnownPapers, against: KnownPapers, kind: str, settings: Settings) -> list[Leak]:
    """Return the papers in ``papers`` that may also be in ``against``.

    A paper is returned if it has one of these in common with a paper in ``against``:

    - the record id, DOI or PubMed id
    - enough bibliographic data to be a certain or uncertain duplicate
    - the study; see `KnownPapers`
    - nearly the same text; see `likeness`

    Parameters
    ----------
    kind
        Name for a paper in ``against`` in the reasons, such as ``test paper``.

    Returns
    -------
    list of Leak
        At most one leak per paper, in the order of ``papers``. A certain leak is preferred; if none is certain, the
        first leak is returned.
    """
    if against.is_sketch and papers.vectors:
        papers = replace(papers, vectors=[own @ _rotation(own.shape[1]) for own in papers.vectors])
    right = [comparable_fields(record) for record in against.records]
    packs = list(_packs(against.vectors))
    leaks = []
    for start in range(0, len(papers.records), _BLOCK):
        block = slice(start, start + _BLOCK)
        records, groups, vectors = papers.records[block], papers.groups[block], papers.vectors[block]
        left = [comparable_fields(record) for record in records]
        near = np.zeros((len(left), len(right)), dtype=bool)
        # One thread, because the matrices are small and threads that wait for a busy core take many times as long.
        with threadpool_limits(limits=1):
            for rows, first in _packs(vectors):
                for columns, second in packs:
                    near[np.ix_(rows, columns)] = _likenesses(first, second) >= settings.paraphrase - _ROUNDING
        # In each of the other pairs, all four comparisons find nothing.
        # Uncertain duplicates count, because a false alarm costs one paper, whereas a miss invalidates the test.
        pairs = near | comparable_pairs(left, right, settings.dedupe)
        pairs |= equal_values(*([record.record_id for record in each] for each in (records, against.records)))
        pairs |= equal_values(*([group or None for group in each] for each in (groups, against.groups)))
        for row, record in enumerate(records):
            found: list[Leak] = []
            for column in map(int, np.flatnonzero(pairs[row])):
                paper = against.records[column]
                comparison = compare_records(left[row], right[column], settings.dedupe)
                reasons = _same_identifiers(record, paper)
                certain = bool(reasons) or comparison.same is True
                if groups[row] and groups[row] == against.groups[column]:
                    reasons.append(f"same {settings.retrain.group_field} ({groups[row]})")
                if comparison.same or (comparison.same is None and comparison.reason):
                    reasons.append(comparison.reason)
                if near[row, column] and not reasons:
                    alike = likeness(vectors[row], against.vectors[column])
                    if alike >= settings.paraphrase:
                        reasons.append(f"nearly the same text (similarity {alike:.2f})")
                if reasons:
                    reason = f"{reasons[0]} as {kind}: {paper.title}"
                    found.append(Leak(record.record_id, record.title, reason, certain))
                if certain:
                    break
            leaks += sorted(found, key=lambda leak: not leak.certain)[:1]
    return leaks


def _packs(texts: Sequence[Vectors]) -> Iterator[tuple[list[int], Vectors]]:
    """Yield groups of texts with equal numbers of sentences, as (positions in ``texts``, vectors).

    Texts that are too short to be compared are left out.
    """
    by_length: dict[int, list[int]] = defaultdict(list)
    for position, own in enumerate(texts):
        by_length[len(own)].append(position)
    for length, positions in by_length.items():
        if length >= _MIN_UNITS:
            most = max(1, _SENTENCES // length)
            for start in range(0, len(positions), most):
                some = positions[start : start + most]
                yield some, np.stack([texts[position] for position in some], axis=1)


def _likenesses(first: Vectors, second: Vectors) -> Vectors:
    """Return the likeness of each text in ``first`` to each text in ``second``; see `likeness`.

    Both arrays have shape (n_sentences, n_texts, size). The result has one row per text in ``first`` and one column per
    text in ``second``.
    """
    cosines = np.tensordot(first, second, axes=(2, 2))
    forth, back = cosines.max(axis=2).mean(axis=0), cosines.max(axis=0).mean(axis=1)
    higher: Vectors = np.maximum(forth, back)
    return higher


def likeness(first: Vectors, second: Vectors) -> float:
    """Return how similar the sentences of two texts are, from 0 to 1, to detect paraphrases.

    For each sentence of the first text, the cosine to the nearest sentence of the second text is computed, and the
    cosines are averaged. Then the texts are exchanged. The likeness is the higher of the two averages. The title counts
    as a sentence. If a text has fewer than three sentences, the likeness is 0.

    Parameters
    ----------
    first, second : ndarray, shape (n_sentences, size)
        Vectors of the title and the sentences of each text, normalised to unit length.
    """
    # Measured on 15,438 pairs of different papers: one paper of each pair is in the gold standard, the other in the
    # gold standard, the coded records or the search update. With all-MiniLM-L6-v2, the likeness is below 0.38 for half
    # of the pairs, below 0.57 for 99.9%, and above 0.63 for two pairs; four paraphrased synopses have a likeness of
    # 0.64 to 0.73 to their originals. With all-mpnet-base-v2, the likeness is below 0.43 for half of the pairs, below
    # 0.65 for 99.9%, above 0.63 for 36 pairs and above 0.67 for three; the paraphrased synopses have likenesses of
    # 0.61, 0.73, 0.76 and 0.77 to their originals.
    if min(len(first), len(second)) < _MIN_UNITS:
        return 0.0
    cosines = first @ second.T
    return float(max(cosines.max(axis=1).mean(), cosines.max(axis=0).mean()))


@cache
def _rotation(size: int) -> Vectors:
    rotation, _ = np.linalg.qr(np.random.default_rng(_SEED).standard_normal((size, size)))
    return np.asarray(rotation, dtype=np.float32)


def _same_identifiers(record: Record, paper: Record) -> list[str]:
    """Return a description of each identifier that two records have in common, such as ``same DOI``."""
    pairs = {
        "record id": (record.record_id, paper.record_id),
        "DOI": (record.doi, paper.doi),
        "PubMed id": (record.pmid, paper.pmid),
    }
    return [f"same {name}" for name, (one, other) in pairs.items() if one and one == other]


def _group(record: Record, field: str) -> str:
    return str(dict(record.raw).get(field) or "").strip().casefold() if field else ""
