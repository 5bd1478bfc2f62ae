"""Use the tagger as a spaCy component: ``nlp.add_pipe("mechtag", config={"model": "models/trained"})``.

spaCy finds the component through the entry point in ``pyproject.toml``, so users do not have to import anything. spaCy
loads this module for every pipeline. Therefore, heavy libraries are imported only when the component is created.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING

from spacy.language import Language
from spacy.tokens import Doc, Span

from mechtag.core.records import Prediction, Record, Sentence
from mechtag.core.settings import SentenceSettings, TagSettings
from mechtag.pipeline.reading.text.sections import find_content
from mechtag.pipeline.reading.text.sentences import section_of, split

if TYPE_CHECKING:
    from mechtag.models.model_folder import Model

SPANS = "mechtag"
SENTENCE_SPANS = "mechtag_sentences"


@Language.factory(
    "mechtag",
    assigns=["doc.cats", "doc.spans", "doc._.mechtag", "span._.mechtag_scores"],
    default_config={"model": "models/trained", "evidence_sentences": TagSettings().evidence_sentences},
)
def make_tagger(nlp: Language, name: str, model: str, evidence_sentences: int) -> MechtagComponent:
    """Create the spaCy component from its settings.

    When a pipeline is saved, spaCy saves these settings but not the model.

    Parameters
    ----------
    model
        Path of the model folder, absolute or relative to the working directory.
    evidence_sentences
        Maximum number of evidence sentences per label.

    Raises
    ------
    MechtagError
        For the same reasons as in `model_folder.load_model`.
    """
    from mechtag.models.model_folder import load_model

    checked = TagSettings(evidence_sentences=evidence_sentences)
    return MechtagComponent(load_model(Path(model)), checked.evidence_sentences)


class MechtagComponent:
    """A spaCy component that tags documents in batches.

    The text of a document is an abstract. The title is ``doc._.title``, or ``title`` in the context passed to
    ``nlp.pipe(..., as_tuples=True)``. If the pipeline found sentences, the component uses them. Otherwise, it splits
    the text as 'mechtag tag' does. The text is not cleaned, because offsets refer to it. Keywords and notices (such as
    copyright lines) at the beginning and end of the text are not scored.

    The component sets:

    - ``doc.cats``: the probability of relevance and of each label.
    - ``doc._.mechtag``: for each label, ``score``, ``probability``, ``threshold``, ``decision`` and ``evidence``.
      The evidence has exact offsets into ``doc.text``.
    - ``doc.spans["mechtag"]``: the evidence for each label whose decision is not ``no``, the strongest evidence first.
      Each span is labelled with the key of the label. If a sentence starts or ends within a token, its span is
      expanded to whole tokens.
    - ``doc.spans["mechtag_sentences"]``: all scored sentences, with the score of each label in
      ``span._.mechtag_scores``. If the pipeline found the sentences, these scores are also in
      ``sent._.mechtag_scores``.
    """

    def __init__(self, model: Model, evidence_sentences: int) -> None:
        self._model = model
        self._limit = evidence_sentences
        for kind, extension, default in ((Doc, "title", ""), (Doc, "mechtag", None), (Span, "mechtag_scores", None)):
            if not kind.has_extension(extension):
                kind.set_extension(extension, default=default)

    def __call__(self, doc: Doc) -> Doc:
        """Tag a document and return it."""
        self._tag([doc])
        return doc

    def pipe(self, stream: Iterable[Doc], *, batch_size: int = 256) -> Iterator[Doc]:
        """Tag documents in batches of ``batch_size``, and yield them in the order of ``stream``."""
        stream = iter(stream)
        while docs := list(islice(stream, batch_size)):
            self._tag(docs)
            yield from docs

    def _tag(self, docs: Sequence[Doc]) -> None:
        from mechtag.pipeline.tagging.predict import predict

        # Use numbers as record ids, because the users' own ids may be repeated.
        records = [
            Record(record_id=str(number), title=_title(doc), abstract=doc.text) for number, doc in enumerate(docs)
        ]
        sentences = [
            sentence for record, doc in zip(records, docs, strict=True) for sentence in _content_sentences(record, doc)
        ]
        # Request all sentences as evidence, because their scores are needed.
        longest = max((sentence.sentence + 1 for sentence in sentences), default=1)
        model_id = self._model.config.model_id
        made = predict(self._model.tagger, model_id, records, sentences, evidence_sentences=longest)
        for doc, (_, rows) in zip(docs, groupby(made, key=lambda row: row.record_id), strict=True):
            self._set(doc, list(rows))

    def _set(self, doc: Doc, predictions: Sequence[Prediction]) -> None:
        # Keep categories set by other components.
        doc.cats.update({row.label: row.probability for row in predictions if row.probability is not None})
        doc._.mechtag = {
            row.label: {
                "score": row.score,
                "probability": row.probability,
                "threshold": row.threshold,
                "decision": row.decision,
                "evidence": tuple(
                    sentence.model_dump(exclude_defaults=True) for sentence in row.evidence[: self._limit]
                ),
            }
            for row in predictions
        }
        doc.spans[SPANS] = [
            _span(doc, sentence.start, sentence.end, row.label)
            for row in predictions
            if row.decision != "no"
            for sentence in row.evidence[: self._limit]
        ]
        scores: dict[tuple[int, int], dict[str, float]] = {}
        for row in predictions:
            for sentence in sorted(row.evidence, key=lambda found: found.sentence):
                scores.setdefault((sentence.start, sentence.end), {})[row.label] = sentence.score
        scored = {place: _span(doc, *place) for place in scores}
        doc.spans[SENTENCE_SPANS] = list(scored.values())
        for place, span in scored.items():
            span._.mechtag_scores = scores[place]
            if doc.has_annotation("SENT_START"):
                span.sent._.mechtag_scores = scores[place]


def _title(doc: Doc) -> str:
    # spaCy keeps the context of as_tuples here while the components run.
    context = doc._context
    given = context.get("title") if isinstance(context, Mapping) else None
    return str(doc._.title or given or "")


def _content_sentences(record: Record, doc: Doc) -> Iterator[Sentence]:
    """Yield the sentences of a document, without the keywords and notices at the beginning and end of its text."""
    content = find_content(doc.text)
    # If the spaCy pipeline found no sentences, `split` finds them.
    found = _own(record, doc) if doc.has_annotation("SENT_START") else split([record], SentenceSettings())
    number = 0
    for sentence in found:
        # The pipeline may have included the label of the keywords in the last sentence.
        start, end = max(sentence.start, content.start), min(sentence.end, content.end)
        if not doc.text[start:end].strip():
            continue
        if (start, end) != (sentence.start, sentence.end):
            sentence = sentence.model_copy(update={"start": start, "end": end, "text": doc.text[start:end]})
        yield sentence.model_copy(update={"sentence": number})
        number += 1


def _own(record: Record, doc: Doc) -> Iterator[Sentence]:
    """Yield the sentences that the spaCy pipeline found, without spaces around them."""
    found = ((sent.start_char, sent.text) for sent in doc.sents if not sent.text.isspace())
    for number, (offset, text) in enumerate(found):
        start = offset + len(text) - len(text.lstrip())
        text = text.strip()
        yield Sentence(
            record_id=record.record_id,
            sentence=number,
            section=section_of(text),
            start=start,
            end=start + len(text),
            text=text,
        )


def _span(doc: Doc, start: int, end: int, label: str = "") -> Span:
    span = doc.char_span(start, end, label=label, alignment_mode="expand")
    assert span is not None, "offsets refer to this text"
    return span
