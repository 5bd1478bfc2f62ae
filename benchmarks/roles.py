"""Train the model of sentence roles (background, methods, results) on words, and measure its accuracy.

    python -m benchmarks.roles

The training data are structured abstracts of the screening benchmark, whose headings imply the roles. The model that
ships with mechtag (``models/roles.safetensors``, which contains only words and weights) is trained on all these
abstracts. Accuracy is measured on each review, with a model that was trained on the other reviews. The accuracy of the
shipped model is measured on invented abstracts in journal style, on which it was not trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from benchmarks.publish import ROOT, publish, result
from benchmarks.sets import BENCH, read_table
from mechtag.core.codebook import load_codebook
from mechtag.core.files import replacing
from mechtag.core.records import ROLES, Record
from mechtag.core.settings import SentenceSettings
from mechtag.models.features import COUNTING, Words
from mechtag.models.sentence_roles import FILE, METHODS_SURE, RoleModel
from mechtag.pipeline.annotations.coded_records import read_coded
from mechtag.pipeline.reading.text.cleaning import clean_abstract
from mechtag.pipeline.reading.text.sections import role_of
from mechtag.pipeline.reading.text.sentences import split

REVIEWS = ("ace", "jeyaraman_2020", "menon_2022", "nagtegaal_2019", "nudging", "oud_2018", "virus", "wilson")
JOURNAL = ROOT / "data/annotated/coded/journal_style.jsonl"
# A word must be in this many sentences, and in no more than this share of them.
_MIN_SENTENCES, _MAX_SHARE = 30, 0.5
METHODS = ROLES.index("methods")
TEXT = """## What a sentence does in its abstract

Sentences on methods express no mechanism, and must not hide the sentences that do. The words of a sentence, not
printed headings, decide whether it is background, methods or results. The role model was trained on the structured
abstracts of eight public reviews; the figures of each row were measured on texts that were not used for training.
*Called methods* is the share of sentences that the model classifies as methods, among sentences under a methods
heading and among sentences under a results or conclusions heading.
"""

Texts = list[str]
Roles = NDArray[np.str_]


def review_sentences(name: str) -> tuple[Texts, Roles]:
    """Return the sentences of a review's structured abstracts, and the roles implied by the headings above them."""
    rows = read_table(BENCH / "screening" / f"{name}.csv.gz")
    records = [
        Record(record_id=str(number), title="", abstract=clean_abstract(row["abstract"])[0])
        for number, row in enumerate(rows)
    ]
    return _with_role([(s.text, role_of(s.section)) for s in split(records, SentenceSettings())])


def journal_sentences(path: Path = JOURNAL) -> tuple[Texts, Roles]:
    """Return the sentences of the invented abstracts, and the roles implied by the headings above them."""
    keys = load_codebook(ROOT / "data/annotated/codebook.yaml").keys
    coded = read_coded(path, keys)
    return _with_role([(s.text, role_of(s.section)) for record in coded for s in record.sentences])


def _with_role(pairs: Sequence[tuple[str, str]]) -> tuple[Texts, Roles]:
    kept = [(text, role) for text, role in pairs if role in ROLES]
    return [text for text, _ in kept], np.array([role for _, role in kept])


def fit_roles(texts: Texts, roles: Roles) -> RoleModel:
    """Train a logistic regression that predicts the role of a sentence from its words and word pairs."""
    vectorizer = TfidfVectorizer(min_df=_MIN_SENTENCES, max_df=_MAX_SHARE, **COUNTING)
    features = vectorizer.fit_transform(texts)
    model = LogisticRegression(max_iter=3000).fit(features, roles)
    order = [list(model.classes_).index(role) for role in ROLES]
    words = Words(tuple(vectorizer.get_feature_names_out().tolist()), vectorizer.idf_.astype(np.float64))
    return RoleModel(words, model.coef_[order], model.intercept_[order])


def figures(dataset: str, model: RoleModel, texts: Texts, roles: Roles) -> list[dict[str, Any]]:
    """Return the accuracy of a role model on sentences on which it was not trained."""
    odds = model.log_odds(texts)
    called = odds[:, METHODS] > METHODS_SURE
    values = {
        "sentences": len(texts),
        "accuracy": float((np.array(ROLES)[odds.argmax(axis=1)] == roles).mean()),
        "AUC of methods": float(roc_auc_score(roles == "methods", odds[:, METHODS])),
        "methods called methods": float(called[roles == "methods"].mean()),
        "results called methods": float(called[roles == "results"].mean()),
    }
    return [result(dataset, "words", metric, value) for metric, value in values.items()]


def main() -> None:
    """Train and measure the models, write the model that ships with mechtag, and publish the results."""
    parts = {name: review_sentences(name) for name in REVIEWS}
    found = []
    for name, (texts, roles) in parts.items():
        others = [parts[other] for other in REVIEWS if other != name]
        model = fit_roles([text for own, _ in others for text in own], np.concatenate([own for _, own in others]))
        found += figures(name, model, texts, roles)
    shipped = fit_roles(
        [text for own, _ in parts.values() for text in own], np.concatenate([r for _, r in parts.values()])
    )
    found += figures("invented abstracts", shipped, *journal_sentences())
    with replacing(FILE) as part:
        part.write_bytes(shipped.pack())
    publish("roles", "python -m benchmarks.roles", found, TEXT, versions=("scikit-learn", "numpy"))


if __name__ == "__main__":
    main()
