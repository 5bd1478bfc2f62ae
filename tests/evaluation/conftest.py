"""Define fixtures for a toy gold standard, toy coded records, and the metrics of systems that tagged them."""

import numpy as np
import pytest

from mechtag.core.records import Prediction
from mechtag.evaluation.coded_records import CodedSet
from mechtag.evaluation.gold_benchmark import evaluate
from mechtag.pipeline.annotations.coded_records import Codes
from mechtag.pipeline.annotations.gold_table import GoldNotes, gold_standard, load_matrix
from tests.support.gold import LABELS, SETTINGS, coded_record, predict, record, system

NOTES = GoldNotes(
    source="A review",
    printed_counts={"trust": 5, "hard_money": 9},
    expected_empty={"other": "the text says none"},
    notes=("Two coders.",),
)
TABLE = """key,paper,trust,hard_money,rare,other
p0,Zero (2000),1,0,1,0
p1,One (2001),1,1,0,1
p2,Two (2002),0,1,0,0
p3,Three (2003),0,,0,0
p4,Four (2004),1,0,0,0
p5,Five (2005),0,1,0,0
p6,Six (2006),1,1,0,0
p7,Seven (2007),1,1,0,0
"""


@pytest.fixture
def gold(tmp_path):
    (tmp_path / "codes.csv").write_text(TABLE)
    records = [record(f"p{n}") for n in range(5)] + [
        record("p5", "", "title-only"),
        record("p6", "Fetched.", synopsis="S"),
    ]
    return gold_standard(load_matrix(tmp_path / "codes.csv"), records, NOTES)


@pytest.fixture
def coded():
    generator = np.random.default_rng(3)
    names = [("trust",), ("hard_money",), ("trust", "hard_money"), ("trust", "rare"), (), (), (), ("hard_money",)]
    records = [coded_record(number, labels, generator) for number, labels in enumerate(names)]
    ids = [one.record.record_id for one in records]
    second = [
        Codes(**{**one.model_dump(include=set(Codes.model_fields)), "coder": "d", "labels": one.labels[:1]})
        for one in records[:5]
    ]
    return CodedSet(
        records=records,
        documents=[predict(i, label, generator.random()) for i in ids for label in ("relevant", *LABELS)],
        sentences=[
            Prediction(record_id=f"{i}#{n}", label=label, score=generator.random(), decision="no", model_id="toy")
            for i in ids
            for n in (0, 1)
            for label in LABELS
        ],
        relevance_baselines={"tfidf_svm": [predict(i, "relevant", generator.random()) for i in ids]},
        second=second,
    )


@pytest.fixture
def systems(gold):
    generator = np.random.default_rng(1)
    return {
        "transfer": system(gold, generator, ("relevant", *LABELS)),
        "leave_one_out": system(gold, generator),
        "all_positive": [
            Prediction(record_id=row.record_id, label=label, score=1.0, decision="yes", model_id="all")
            for row in gold.evaluated
            for label in LABELS
        ],
    }


@pytest.fixture
def metrics(gold, systems, coded):
    return evaluate(LABELS, gold, systems, SETTINGS, np.random.default_rng(2), coded=coded).content()
