"""Test fine-tuning of the encoder: loss, trainer, top layers, seeds and checkpoints."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score

from mechtag.core.codebook import Codebook
from mechtag.core.errors import MechtagError
from mechtag.core.settings import TrainSettings, TuningSettings
from mechtag.models.encoder import TransformerEncoder, locate_encoder
from mechtag.models.features import definition_texts, embed_codebook
from mechtag.pipeline.annotations.coded_records import Exemplar
from mechtag.training.dataset import NO_DOCUMENT, CodedDocument, Corpus, build_corpus
from mechtag.training.finetuning import losses
from mechtag.training.finetuning.loop import EPOCH, FINISHED, rate_share, tune
from mechtag.training.finetuning.losses import cut_batches, draw_items, prepare_corpus
from mechtag.training.finetuning.top_layers import States, TopLayers
from mechtag.training.finetuning.trainers import Trainer, count_epochs, make_trainer
from mechtag.training.heads import fit_heads
from tests.support.toy import fruit_documents, tiny_bert

pytestmark = pytest.mark.usefixtures("one_thread")
QUICK = TuningSettings(epochs=3, learning_rate=1e-2, batch_tokens=256, rank=2)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory, fruit: Codebook) -> TransformerEncoder:
    texts = [unit for coded in fruit_documents(100) for unit in coded.document.units]
    words = sorted({word for text in [*texts, *definition_texts(fruit)[0]] for word in text.split()})
    return TransformerEncoder(locate_encoder(str(tiny_bert(tmp_path_factory.mktemp("tiny"), words, size=8))))


def make_corpus(encoder: TransformerEncoder, fruit: Codebook, documents: list[CodedDocument]) -> Corpus:
    exemplars = [Exemplar(id="e1", text="apple cider again", labels=("apple",))]
    return build_corpus(documents, exemplars, fruit.keys, encoder, embed_codebook(fruit, encoder))


@pytest.fixture(scope="module")
def corpus(encoder: TransformerEncoder, fruit: Codebook) -> Corpus:
    """Sixty papers: the first twenty are coded only as a whole, the others sentence by sentence."""
    documents = fruit_documents(60)
    documents[:20] = [replace(coded, sentence_labels=None) for coded in documents[:20]]
    return make_corpus(encoder, fruit, documents)


@pytest.fixture(scope="module")
def trainer(encoder: TransformerEncoder, fruit: Codebook) -> Callable[..., Trainer]:
    def make(tuning: TuningSettings = QUICK, **options: object) -> Trainer:
        settings = TrainSettings(trainer="contrastive", tuning=tuning)
        return make_trainer(encoder, fruit, embed_codebook(fruit, encoder), settings, **options)

    return make


def test_not_judged_is_never_a_negative() -> None:
    """A pair of texts has no gradient if it is unknown whether they share a label."""
    likenesses = torch.zeros(3, 3, requires_grad=True)
    pairs = torch.tensor([[1.0, 0.0], [1.0, torch.nan], [0.0, 1.0]])
    losses.pair_loss(likenesses, pairs).backward()
    assert likenesses.grad[0, 1] < 0 < likenesses.grad[0, 2]
    assert likenesses.grad[1, 2] == likenesses.grad[2, 1] == 0


def test_pair_loss_by_hand() -> None:
    likenesses = torch.tensor([[9.0, 2.0, 1.0, 3.0], [2.0, 9.0, 0.0, 0.5], [1.0, 0.0, 9.0, 0.0], [3.0, 0.5, 0.0, 9.0]])
    targets = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0], [0.0, 0.0]])
    # Positive pairs: 0-1 and 1-2. The negatives of 0 are 2 and 3, of 1 only 3, of 2 are 0 and 3.
    own = [
        np.log(1 + np.exp(1.0 - 2.0) + np.exp(3.0 - 2.0)),
        (np.log(1 + np.exp(0.5 - 2.0)) + np.log(1 + np.exp(0.5 - 0.0))) / 2,
        np.log(1 + np.exp(1.0 - 0.0) + np.exp(0.0 - 0.0)),
    ]
    assert losses.pair_loss(likenesses, targets).item() == pytest.approx(np.mean(own))


def test_pairs_without_any_shared_label_give_no_loss() -> None:
    likenesses = torch.randn(2, 2, requires_grad=True)
    loss = losses.pair_loss(likenesses, torch.tensor([[1.0, 0.0], [0.0, 0.0]]))
    loss.backward()
    assert loss.item() == 0
    assert not likenesses.grad.isnan().any()


def test_papers_teach_only_what_their_sentences_were_not_coded_for(corpus: Corpus) -> None:
    whole = corpus.whole_targets()
    np.testing.assert_array_equal(whole[:, 0], corpus.document_targets[:, 0])
    np.testing.assert_array_equal(whole[:20], corpus.document_targets[:20])
    assert np.isnan(whole[20:, 1:]).all()


def test_items_to_pair_carry_their_own_targets(corpus: Corpus, encoder: TransformerEncoder) -> None:
    data = prepare_corpus(corpus, States(encoder, 1))
    targets = data.targets_of(data.judged_items).numpy()
    assert not np.isnan(targets).any()
    for units, found in zip(data.judged_items, targets, strict=True):
        row = corpus.document[units[0]]
        by_paper = row != NO_DOCUMENT and row < 20
        expected = corpus.document_targets[row] if by_paper else corpus.unit_targets[units[0]]
        np.testing.assert_array_equal(found, expected[1:])
        assert by_paper == (len(units) > 1)


def test_batches_hold_every_item_once_within_the_budget() -> None:
    generator = np.random.default_rng(3)
    lengths = generator.integers(1, 20, 60).tolist()
    items = [np.arange(start, start + 3) for start in range(0, 60, 3)]
    batches = list(cut_batches(items, lengths, 60, generator))
    assert [units.tolist() for batch in batches for units in batch] == [units.tolist() for units in items]
    assert all(sum(lengths[unit] for units in batch for unit in units) <= 60 for batch in batches)
    assert len(batches) < len(items)


def test_a_paper_beyond_the_budget_is_represented_by_random_units() -> None:
    long = np.arange(50)
    drawn = [next(cut_batches([long], [5] * 50, 20, np.random.default_rng(seed)))[0] for seed in range(20)]
    assert {len(units) for units in drawn} == {4}
    assert len({unit for units in drawn for unit in units}) > 20
    assert next(cut_batches([long], [50] * 50, 20, np.random.default_rng(0)))[0].shape == (1,)


def test_learning_rate_rises_then_falls_to_nothing() -> None:
    shares = [rate_share(progress) for progress in (0.0, 0.05, 0.1, 0.55, 1.0)]
    assert shares == pytest.approx([0, 0.5, 1, 0.5, 0])


def test_items_without_a_label_are_at_most_as_many_as_those_with_one(
    corpus: Corpus, encoder: TransformerEncoder
) -> None:
    data = prepare_corpus(corpus, States(encoder, 1))
    carried = (data.targets_of(data.judged_items) == 1).any(dim=1)
    drawn = (data.targets_of(draw_items(data, np.random.default_rng(0))) == 1).any(dim=1)
    assert drawn.sum() == carried.sum() < (~carried).sum()
    assert (~drawn).sum() == carried.sum()


@pytest.mark.parametrize("layers", [1, 2, 9])
def test_top_layers_on_states_are_the_whole_encoder(layers: int, encoder: TransformerEncoder) -> None:
    texts = ["apple pear", "plum study", "apple", "the village garden of people with pear"]
    top = TopLayers(States(encoder, layers), rank=2)
    assert len(top.trained) == 2 * 6 * min(layers, 2)
    np.testing.assert_allclose(top.encode(texts), encoder.encode(texts), atol=2e-3)
    arrays = {
        name: np.random.default_rng(0).normal(0, 0.5, array.shape).astype(np.float16)
        for name, array in top.arrays().items()
    }
    top.load(arrays)
    changed = encoder.with_weights(arrays).encode(texts)
    assert np.abs(changed - encoder.encode(texts)).max() > 0.05
    np.testing.assert_allclose(top.encode(texts), changed, atol=5e-3)


def test_states_of_a_text_are_computed_once(encoder: TransformerEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    states, seen = States(encoder, 1), []
    compute = TransformerEncoder.hidden_states

    def counted(self: TransformerEncoder, texts: list[str], layers: int) -> list[torch.Tensor]:
        seen.extend(texts)
        return compute(self, texts, layers)

    monkeypatch.setattr(TransformerEncoder, "hidden_states", counted)
    first = states.of(["apple", "pear tree", "apple"])
    again = states.of(["plum", "apple"])
    assert seen == ["apple", "pear tree", "plum"]
    assert torch.equal(first[0], again[1])
    assert [len(state) for state in first] == [3, 4, 3]


def test_encoder_without_a_list_of_layers_is_refused(encoder: TransformerEncoder) -> None:
    other = encoder.with_weights({})
    other.model.config.num_hidden_layers = 5
    with pytest.raises(MechtagError, match=r"top layers of BertModel cannot be fine-tuned separately; use a different"):
        TopLayers(States(other, 1), rank=2)


def held_out_precision(corpus: Corpus, learnt: np.ndarray, fruit_truth: np.ndarray) -> float:
    """Return the mean average precision of apple and pear in papers not learned from, without word weights."""
    heads = fit_heads(corpus, learnt, TrainSettings())
    silent = replace(heads, word_weights=np.zeros_like(heads.word_weights))
    scores = silent.score_parts(corpus.vectors, corpus.features, heads.words.features(corpus.texts))
    rows = (corpus.document != NO_DOCUMENT) & ~learnt[corpus.document]
    return float(
        np.mean([average_precision_score(fruit_truth[rows, column], scores[rows, column]) for column in (1, 2)])
    )


def words_in(corpus: Corpus, fruit: Codebook) -> np.ndarray:
    """Return the labels that each text's words show, shape (n_texts, 1 + n_labels); relevance is NaN."""
    return np.array([[np.nan, *(float(key in text.split()) for key in fruit.keys)] for text in corpus.texts])


@pytest.mark.slow
def test_tuning_helps_on_papers_it_has_not_seen(
    corpus: Corpus, trainer: Callable[..., Trainer], fruit: Codebook
) -> None:
    learnt = np.arange(corpus.n_documents) % 3 > 0
    truth = words_in(corpus, fruit)
    before = held_out_precision(corpus, learnt, truth)
    longer = QUICK.model_copy(update={"epochs": 10, "batch_tokens": 128, "layers": 2, "rank": 8})
    after = held_out_precision(trainer(longer).encode(corpus, learnt, 1).corpus, learnt, truth)
    assert after > before + 0.02


def test_label_without_examples_is_near_its_definition(
    corpus: Corpus, trainer: Callable[..., Trainer], fruit: Codebook
) -> None:
    encoded = trainer().encode(corpus, np.ones(corpus.n_documents, bool), 1)
    vectors = encoded.encoder.encode(["plum damson", "stone study"])
    scores = encoded.definitions.features(vectors, np.zeros(2)) @ encoded.definitions.label_weights().T
    plum = fruit.keys.index("plum")
    assert scores[0, plum] > scores[1, plum]


@pytest.mark.slow
def test_same_seed_same_weights_and_no_other_random_state(
    corpus: Corpus, encoder: TransformerEncoder, fruit: Codebook
) -> None:
    settings = QUICK.model_copy(update={"epochs": 1})
    runs = []
    for seed in (1, 1, 2):
        torch.manual_seed(len(runs))
        state = torch.get_rng_state()
        runs.append(tune(States(encoder, 1), fruit, corpus, settings, seed).arrays)
        assert torch.equal(torch.get_rng_state(), state)
    first, again, other = runs
    assert first.keys() == again.keys() == other.keys()
    for key in first:
        np.testing.assert_array_equal(first[key], again[key])
    assert any((first[key] != other[key]).any() for key in first)


def test_tuning_does_not_change_the_original_encoder(
    corpus: Corpus, encoder: TransformerEncoder, trainer: Callable[..., Trainer]
) -> None:
    before = encoder.encode(["apple pear"])
    encoded = trainer(QUICK.model_copy(update={"epochs": 1})).encode(corpus, np.ones(corpus.n_documents, bool), 1)
    np.testing.assert_array_equal(encoder.encode(["apple pear"]), before)
    assert not np.allclose(encoded.encoder.encode(["apple pear"]), before)
    np.testing.assert_allclose(np.linalg.norm(encoded.corpus.vectors, axis=1), 1, atol=1e-5)
    assert {key.split(".lora")[0] for key in encoded.tuned} == {
        f"encoder.layer.1.{part}.weight"
        for part in (
            *(f"attention.self.{name}" for name in ("query", "key", "value")),
            *("attention.output.dense", "intermediate.dense", "output.dense"),
        )
    }
    assert {array.dtype for array in encoded.tuned.values()} == {np.dtype(np.float16)}


@pytest.mark.slow
def test_papers_that_may_not_be_learnt_from_have_no_influence(
    encoder: TransformerEncoder, fruit: Codebook, trainer: Callable[..., Trainer]
) -> None:
    documents = fruit_documents(40)
    documents[:12] = [replace(coded, sentence_labels=None) for coded in documents[:12]]
    others = list(documents)
    learnt = np.arange(40) % 2 == 0
    for row in np.flatnonzero(~learnt):
        blank = tuple(("apple",) for _ in documents[row].document.sentences)
        labels = blank if documents[row].sentence_labels is not None else None
        codes = {"apple": 1, "pear": None, "plum": 1}
        others[row] = replace(documents[row], relevant=True, codes=codes, sentence_labels=labels)
    found = []
    for rows in (documents, others):
        encoded = trainer().encode(make_corpus(encoder, fruit, rows), learnt, 1)
        found.append((encoded.tuned, encoded.losses))
    assert found[0][1] == found[1][1]
    for key, array in found[0][0].items():
        np.testing.assert_array_equal(array, found[1][0][key])


@pytest.mark.slow
def test_tuning_that_was_interrupted_goes_on_to_the_same_end(
    corpus: Corpus, trainer: Callable[..., Trainer], tmp_path: Path
) -> None:
    everything = np.ones(corpus.n_documents, bool)
    whole = trainer().encode(corpus, everything, 1)
    for interrupted_after in (1, 2):
        with pytest.raises(KeyboardInterrupt, match=f"epoch {interrupted_after}"):
            trainer(work=tmp_path, on_progress=interrupting(interrupted_after)).encode(corpus, everything, 1)
        assert [path.name for path in tmp_path.rglob("*.safetensors")] == [EPOCH]
    seen: list[int] = []
    resumed = trainer(work=tmp_path, on_progress=seen.append).encode(corpus, everything, 1)
    assert seen[0] == 2
    assert sum(seen) == QUICK.epochs
    assert resumed.losses == whole.losses
    for key, array in whole.tuned.items():
        np.testing.assert_array_equal(resumed.tuned[key], array)
    assert [path.name for path in tmp_path.rglob("*.safetensors")] == [FINISHED]

    seen.clear()
    read = trainer(work=tmp_path, on_progress=seen.append).encode(corpus, everything, 1)
    assert seen == [QUICK.epochs]
    np.testing.assert_array_equal(read.corpus.vectors, whole.corpus.vectors)


def interrupting(epochs: int) -> Callable[[int], None]:
    """Return a progress callback that interrupts training, like Ctrl-C, after a number of epochs in total."""
    over = 0

    def on_progress(done: int) -> None:
        nonlocal over
        over += done
        if over >= epochs:
            raise KeyboardInterrupt(f"epoch {over}")

    return on_progress


def test_checkpoints_of_other_data_or_settings_are_not_taken(
    corpus: Corpus, trainer: Callable[..., Trainer], tmp_path: Path
) -> None:
    everything = np.ones(corpus.n_documents, bool)
    one = QUICK.model_copy(update={"epochs": 1})
    few = everything.copy()
    few[0] = False
    for documents, tuning, seed in ((everything, one, 1), (few, one, 1), (everything, one, 2)):
        trainer(tuning, work=tmp_path).encode(corpus, documents, seed)
    slower = one.model_copy(update={"learning_rate": 1e-4})
    trainer(slower, work=tmp_path).encode(corpus, everything, 1)
    assert len(list(tmp_path.iterdir())) == 4


def test_damaged_checkpoint_is_refused(corpus: Corpus, trainer: Callable[..., Trainer], tmp_path: Path) -> None:
    everything = np.ones(corpus.n_documents, bool)
    one = QUICK.model_copy(update={"epochs": 1})
    trainer(one, work=tmp_path).encode(corpus, everything, 1)
    (path,) = tmp_path.rglob("*.safetensors")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(MechtagError, match=r"finished\.safetensors: the checkpoint cannot be read.*delete this file"):
        trainer(one, work=tmp_path).encode(corpus, everything, 1)


def test_corpus_without_codes_leaves_the_encoder_as_it_is(
    corpus: Corpus, encoder: TransformerEncoder, fruit: Codebook
) -> None:
    nothing = np.full(corpus.unit_targets.shape, np.nan)
    silent = replace(corpus, unit_targets=nothing, document_targets=np.full(corpus.document_targets.shape, np.nan))
    found = tune(States(encoder, 1), fruit, silent, QUICK, 1)
    assert found.losses == (0.0,) * QUICK.epochs
    texts = ["apple pear"]
    np.testing.assert_array_equal(encoder.with_weights(found.arrays).encode(texts), encoder.encode(texts))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"no.such": np.zeros(3)}, "has no parameter 'no.such'"),
        ({"{weight}": np.zeros((8, 8))}, r"have shape \(0, 0\), expected \(8, 8\)"),
        ({"{weight}.lora_A": np.zeros((2, 8))}, "expected"),
        ({"{weight}.lora_B": np.zeros((8, 2))}, "expected"),
        ({"{weight}.lora_A": np.zeros((2, 8)), "{weight}.lora_B": np.zeros((8, 3))}, "expected"),
        ({"{weight}.lora_A": np.zeros((2, 9)), "{weight}.lora_B": np.zeros((8, 2))}, r"shape \(8, 9\), expected"),
    ],
)
def test_weights_of_another_encoder_are_refused(
    arrays: dict[str, np.ndarray], message: str, encoder: TransformerEncoder
) -> None:
    weight = "encoder.layer.0.attention.self.query.weight"
    named = {name.format(weight=weight): array.astype(np.float16) for name, array in arrays.items()}
    with pytest.raises(MechtagError, match=message):
        encoder.with_weights(named)


def test_epochs_of_all_folds_and_the_final_model_are_counted() -> None:
    assert count_epochs(TrainSettings(folds=4, trainer="contrastive", tuning=QUICK)) == 5 * QUICK.epochs
    assert count_epochs(TrainSettings()) == 0
