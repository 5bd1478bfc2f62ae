"""The same record told a little differently, in ways that must not matter to a tagger.

Each function takes a record, its sentences and a source of random numbers, and gives the record with another
text, or the very record where it has nothing to change. All else of the text stays as it is, byte for byte.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import groupby

import numpy as np

from models.spelling import to_american, to_british
from pipeline.records import Record, Sentence
from pipeline.variations import passages, sections

#: Name that the text as it is has beside those of ``VARIATIONS``.
AS_IT_IS = "as_it_is"

Variation = Callable[[Record, Sequence[Sentence], np.random.Generator], Record]


def _respelt(
    respell: Callable[[str], str], record: Record, sentences: Sequence[Sentence], generator: np.random.Generator
) -> Record:
    texts = {"title": respell(record.title), "abstract": respell(record.abstract)}
    changed = texts != {"title": record.title, "abstract": record.abstract}
    return record.model_copy(update=texts) if changed else record


VARIATIONS: Mapping[str, Variation] = {
    "methods_added": passages.methods_added,
    "methods_removed": passages.methods_removed,
    "headings_capitals": partial(sections.headed, sections.CAPITALS),
    "headings_full_stop": partial(sections.headed, sections.FULL_STOP),
    "headings_glued": partial(sections.headed, sections.GLUED),
    "headings_removed": sections.headings_removed,
    "keywords_added": passages.keywords_added,
    "notices_added": passages.notices_added,
    "sentences_joined": passages.sentences_joined,
    "sentences_split": passages.sentences_split,
    "spelling_american": partial(_respelt, to_american),
    "spelling_british": partial(_respelt, to_british),
}


def vary(name: str, records: Iterable[Record], sentences: Iterable[Sentence], seed: int) -> list[Record]:
    """Vary records in one way, and give those that it changes; their ids stay the same.

    Parameters
    ----------
    name
        One of ``VARIATIONS``.
    sentences
        Those of a record stand together.
    seed
        A record's variation depends on it, the name and the record's id, and on no other record.
    """
    own = {record_id: tuple(group) for record_id, group in groupby(sentences, lambda sentence: sentence.record_id)}
    varied = []
    for record in records:
        generator = np.random.default_rng([seed, zlib.crc32(f"{name} {record.record_id}".encode())])
        found = VARIATIONS[name](record, own.get(record.record_id, ()), generator)
        if found is not record:
            varied.append(found)
    return varied
