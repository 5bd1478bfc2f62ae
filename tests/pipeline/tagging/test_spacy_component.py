"""Test the spaCy component: it needs no import, gives the answers of ``mechtag tag``, and works in any pipeline."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import spacy
from spacy import displacy
from spacy.language import Language
from spacy.tokens import Doc, DocBin

from mechtag.core.errors import MechtagError
from mechtag.core.settings import SentenceSettings, Settings
from mechtag.models.model_folder import load_model
from mechtag.models.tagger import Document, Tagger
from mechtag.pipeline.reading.ingest import ingest
from mechtag.pipeline.reading.text.sentences import split
from mechtag.pipeline.tagging.predict import predict
from tests.support.entry_points import declare_plugins
from tests.support.paths import ROOT, UPDATE

pytestmark = pytest.mark.slow

TEXT = "Managers of both services agreed on one aim. They met each month and decided together.The nurses led."


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a model folder. The model is trained on a few of the shipped records."""
    import json

    from mechtag.core.codebook import load_codebook
    from mechtag.training.train import save_model, train

    folder = tmp_path_factory.mktemp("model")
    data = ROOT / "data/annotated"
    rows = [json.loads(line) for line in (data / "coded/coded_records.jsonl").read_text(encoding="utf-8").splitlines()]
    kept = [row for row in rows if row["relevant"]][:12] + [row for row in rows if not row["relevant"]][:12]
    (folder / "coded.jsonl").write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")
    settings = Settings.model_validate({"train": {"records": str(folder / "coded.jsonl"), "exemplars": "", "folds": 2}})
    save_model(train(settings, load_codebook(data / "codebook.yaml")), folder / "trained")
    return folder / "trained"


@pytest.fixture(scope="module")
def nlp(model: Path) -> Language:
    nlp = spacy.blank("en")
    nlp.add_pipe("mechtag", config={"model": str(model)})
    return nlp


@pytest.fixture(scope="module")
def tagger(model: Path) -> Tagger:
    return load_model(model).tagger


@pytest.mark.slow
def test_add_pipe_needs_no_import(model: Path, tmp_path: Path) -> None:
    declare_plugins(tmp_path)
    code = (
        "import spacy; nlp = spacy.blank('en');"
        f"nlp.add_pipe('mechtag', config={{'model': {str(model)!r}}}); print(sorted(nlp({TEXT!r}).cats)[-1])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "working_with_power"


@pytest.mark.slow
def test_answers_are_those_of_mechtag_tag(model: Path, nlp: Language) -> None:
    records = ingest([UPDATE]).records
    sentences = list(split(records, SentenceSettings()))
    loaded = load_model(model)
    expected = iter(predict(loaded.tagger, "", records, sentences, evidence_sentences=2))
    texts = ((record.abstract, {"title": record.title, "id": record.record_id}) for record in records)
    for doc, context in nlp.pipe(texts, as_tuples=True, batch_size=10):
        assert list(doc._.mechtag) == list(doc.cats)
        wanted = []
        for label, found in doc._.mechtag.items():
            row = next(expected)
            assert (row.record_id, row.label, row.decision) == (context["id"], label, found["decision"])
            assert doc.cats[label] == found["probability"] == pytest.approx(row.probability, abs=1e-5)
            assert (found["score"], found["threshold"]) == pytest.approx((row.score, row.threshold), abs=1e-5)
            assert [{**sentence, "score": 0} for sentence in found["evidence"]] == [
                {**sentence.model_dump(exclude={"basis", "page", "section"}), "score": 0} for sentence in row.evidence
            ]
            wanted += [(label, sentence.text) for sentence in row.evidence if row.decision != "no"]
        # Tokens of the English pipeline need not end where sentences do.
        assert [label for label, _ in wanted] == [span.label_ for span in doc.spans["mechtag"]]
        assert all(text in span.text for (_, text), span in zip(wanted, doc.spans["mechtag"], strict=True))
    assert next(expected, None) is None


def test_every_sentence_has_its_scores(nlp: Language, tagger: Tagger) -> None:
    doc = nlp.make_doc(TEXT)
    doc._.title = "Joint care"
    doc = nlp(doc)
    spans = list(doc.spans["mechtag_sentences"])
    sentences = [span.text for span in spans]
    assert sentences == [
        "Managers of both services agreed on one aim.",
        "They met each month and decided together.",
        "The nurses led.",
    ]
    (scored,) = tagger.tag([Document("Joint care", tuple(sentences))])
    for span, row in zip(spans, scored.unit_scores[1:], strict=True):
        assert list(span._.mechtag_scores) == list(tagger.codebook.all_keys)
        assert list(span._.mechtag_scores.values()) == pytest.approx(row, abs=1e-5)
    assert list(doc.cats.values()) == pytest.approx(scored.probabilities, abs=1e-5)


def test_methods_are_neither_evidence_nor_scored(nlp: Language) -> None:
    before, after = "Managers of both services agreed on one aim.", "The nurses led."
    methods = (
        "Semi-structured interviews were conducted with 24 participants and transcripts were analysed thematically."
    )
    with_methods, without = nlp.make_doc(f"{before} {methods} {after}"), nlp.make_doc(f"{before} {after}")
    for doc in (with_methods, without):
        doc._.title = "Joint care"
        nlp(doc)
        assert [span.text for span in doc.spans["mechtag_sentences"]] == [before, after]
        for found in doc._.mechtag.values():
            assert {sentence["text"] for sentence in found["evidence"]} == {before, after}
    assert with_methods.cats == pytest.approx(without.cats, abs=1e-5)


def test_a_document_without_title_is_scored_by_its_sentences(nlp: Language, tagger: Tagger) -> None:
    doc = nlp(TEXT)
    first, *others = (span.text for span in doc.spans["mechtag_sentences"])
    (scored,) = tagger.tag([Document("", (first, *others))])
    assert list(doc.cats.values()) == pytest.approx(scored.probabilities, abs=1e-5)
    assert {len(found["evidence"]) for found in doc._.mechtag.values()} == {2}
    spans = list(doc.spans["mechtag_sentences"])
    assert spans[0]._.mechtag_scores["relevant"] == pytest.approx(scored.unit_scores[1, 0], abs=1e-5)
    with_title = nlp.make_doc(TEXT)
    with_title._.title = "Growth of beans in shade"
    assert nlp(with_title).cats["relevant"] < doc.cats["relevant"]


def test_sentences_of_the_pipeline_are_taken_as_they_are(model: Path) -> None:
    nlp = spacy.blank("en")
    nlp.add_pipe("sentencizer", config={"punct_chars": [";"]})
    nlp.add_pipe("mechtag", config={"model": str(model), "evidence_sentences": 1})
    doc = nlp("  Managers agreed. They met;\n\n nurses led; ")
    spans = list(doc.spans["mechtag_sentences"])
    assert [span.text for span in spans] == ["Managers agreed. They met;", "nurses led;"]
    for span in spans:
        assert span.sent._.mechtag_scores == span._.mechtag_scores
    for found in doc._.mechtag.values():
        (evidence,) = found["evidence"]
        assert doc.text[evidence["start"] : evidence["end"]] == evidence["text"] == evidence["text"].strip()


@pytest.mark.parametrize("own", [False, True])
def test_keywords_and_notices_at_the_ends_are_not_scored(model: Path, own: bool) -> None:
    nlp = spacy.blank("en")
    if own:
        nlp.add_pipe("sentencizer")
    nlp.add_pipe("mechtag", config={"model": str(model)})
    plain = TEXT.replace("together.The", "together. The")
    bare, doc = nlp(plain), nlp(f"{plain} Keywords: power; trust; shared aims © 2019 Invented Press Ltd.")
    spans = [[span.text for span in one.spans["mechtag_sentences"]] for one in (bare, doc)]
    assert spans[0] == spans[1]
    assert doc.cats == pytest.approx(bare.cats, abs=1e-5)
    for found in doc._.mechtag.values():
        assert all(doc.text[one["start"] : one["end"]] == one["text"] for one in found["evidence"])


def test_other_categories_and_spans_stay(nlp: Language) -> None:
    doc = nlp.make_doc(TEXT)
    doc.cats["design: interview"] = 0.5
    doc.spans["mine"] = [doc[0:2]]
    doc = nlp(doc)
    assert doc.cats["design: interview"] == 0.5
    assert [span.text for span in doc.spans["mine"]] == ["Managers of"]


@pytest.mark.parametrize("text", ["", " \n ", "Managers"])
def test_very_short_texts(nlp: Language, text: str) -> None:
    doc = nlp(text)
    assert len(doc.cats) == 8
    assert [span.text for span in doc.spans["mechtag_sentences"]] == [text] * bool(text.strip())


def test_documents_are_scored_together(nlp: Language, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    tag = Tagger.tag

    def counted(self: Tagger, documents: list[Document]) -> object:
        sizes.append(len(documents))
        return tag(self, documents)

    monkeypatch.setattr(Tagger, "tag", counted)
    docs = list(nlp.pipe([TEXT] * 7, batch_size=5))
    assert sizes == [5, 2]
    assert docs[6].cats == pytest.approx(nlp(TEXT).cats, abs=1e-5)


def test_displacy_shows_evidence_and_escapes_text(nlp: Language) -> None:
    doc = nlp(f"{TEXT} <script>alert(1)</script> Partners shared power.")
    spans = list(doc.spans["mechtag"])
    assert spans
    html = displacy.render(doc, style="span", options={"spans_key": "mechtag"}, page=True)
    assert all(f"{span.label_}\n" in html for span in spans)
    assert "<script" not in html
    # Each token of evidence is in an element of its own.
    shown = " ".join(re.sub(r"<[^>]*>", " ", html).split())
    assert "&lt; script &gt; alert(1)&lt;/script &gt;" in shown


def test_disk_keeps_the_settings_and_documents_keep_what_was_set(nlp: Language, tmp_path: Path) -> None:
    doc = nlp(TEXT)
    nlp.to_disk(tmp_path / "nlp")
    assert not (tmp_path / "nlp/mechtag").exists()
    again = spacy.load(tmp_path / "nlp")
    assert again(TEXT).cats == doc.cats
    assert nlp.from_disk(tmp_path / "nlp")(TEXT).cats == doc.cats

    (stored,) = DocBin(docs=[doc], store_user_data=True).get_docs(nlp.vocab)
    assert stored._.mechtag == doc._.mechtag
    assert [span._.mechtag_scores for span in stored.spans["mechtag_sentences"]] == [
        span._.mechtag_scores for span in doc.spans["mechtag_sentences"]
    ]


def test_existing_extensions_are_kept(model: Path) -> None:
    before = Doc.get_extension("title")
    spacy.blank("en").add_pipe("mechtag", config={"model": str(model)})
    assert Doc.get_extension("title") is before


def test_wrong_settings_say_what_to_do(tmp_path: Path) -> None:
    nlp = spacy.blank("en")
    with pytest.raises(MechtagError, match="run 'mechtag train' first"):
        nlp.add_pipe("mechtag", config={"model": str(tmp_path)})
    with pytest.raises(ValueError, match="evidence_sentences"):
        nlp.add_pipe("mechtag", config={"evidence_sentences": 0})
