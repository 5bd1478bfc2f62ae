"""Make the records, predictions and coded records of a toy gold standard."""

import numpy as np

from mechtag.core.records import Prediction, Record, Sentence
from mechtag.core.settings import EvaluateSettings
from mechtag.evaluation.coded_records import CodedSet
from mechtag.pipeline.annotations.coded_records import CodedRecord, Codes

LABELS = ("trust", "hard_money", "rare")
SETTINGS = EvaluateSettings(bootstrap=200, permutations=200, min_positives=2)
SET_SETTINGS = EvaluateSettings(bootstrap=200, permutations=100, min_positives=3)


def record(key, abstract="Text.", basis="synopsis", **raw):
    return Record(
        record_id=f"doi:10.1234/{key}",
        title=key,
        abstract=abstract,
        source_file="gold.jsonl",
        source_index=int(key[1:]) + 1,
        raw=(("key", key), ("text_basis", basis), *raw.items()),
    )


def predict(record_id, label, probability, evidence=()):
    decision = "refer" if abs(probability - 0.5) < 0.1 else "yes" if probability > 0.5 else "no"
    return Prediction(
        record_id=record_id,
        label=label,
        score=probability,
        probability=probability,
        threshold=0.5,
        decision=decision,
        evidence=evidence,
        model_id="toy",
    )


def system(gold, generator, labels=LABELS):
    return [predict(row.record_id, label, generator.random()) for row in gold.evaluated for label in labels]


def coded_record(number, labels, generator):
    record_id = f"doi:10.5678/{number}"
    return CodedRecord(
        key=f"c{number}",
        relevant=bool(labels),
        labels=labels,
        sentence_labels=((), labels),
        coder="c",
        basis="abstract",
        codebook="toy",
        set_name="toy",
        record=Record(record_id=record_id, title="T", abstract="A. B."),
        sentences=(
            Sentence(record_id=record_id, sentence=0, section="", start=0, end=2, text="A."),
            Sentence(record_id=record_id, sentence=1, section="", start=3, end=5, text="B."),
        ),
    )


def random_sets(sizes: dict[str, tuple[int, int, int, int]], seed: int = 5) -> CodedSet:
    """Make sets of papers with random predictions; a second coder coded every other paper.

    ``sizes`` maps the name of a set to its numbers of relevant, hard, easy and other irrelevant papers.
    """
    generator = np.random.default_rng(seed)
    records, second = [], []
    for name, counts in sizes.items():
        for kind, count in zip(("relevant", True, False, None), counts, strict=True):
            for _ in range(count):
                carried = tuple(label for label in LABELS if generator.random() < 0.5) if kind == "relevant" else ()
                made = coded_record(len(records), carried or LABELS[:1] if kind == "relevant" else (), generator)
                hard = False if kind == "relevant" else kind
                records.append(made.model_copy(update={"hard": hard, "set_name": name}))
    ids = [row.record.record_id for row in records]
    for row in records[::2]:
        again = tuple(label for label in row.labels if generator.random() < 0.7)
        codes = {**row.model_dump(include=set(Codes.model_fields)), "coder": "d"}
        second.append(Codes(**{**codes, "labels": again, "sentence_labels": (again, ())}))
    documents = [predict(name, label, generator.random()) for name in ids for label in ("relevant", *LABELS)]
    sentences = [
        predict(f"{name}#{number}", label, generator.random()) for name in ids for number in (0, 1) for label in LABELS
    ]
    about = {"a": ("First ones", "synopses"), "b": ("Made up", "invented")}
    return CodedSet(records, documents, sentences, second=second, about=about)
