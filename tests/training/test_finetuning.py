"""Tuning of the encoder: losses, trainers, seeds, checkpoints, and what the model folder keeps of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, log_loss

from mechtag.core.codebook import Codebook
from mechtag.core.errors import MechtagError
from mechtag.core.settings import TrainSettings, TuningSettings
from mechtag.models.encoder import TransformerEncoder, locate_encoder
from mechtag.models.features import definition_texts, embed_codebook
from mechtag.models.scoring import mean, pool_scores
from mechtag.pipeline.annotations.coded_records import Exemplar
from mechtag.training.dataset import NO_DOCUMENT, CodedDocument, Corpus, build_corpus
from mechtag.training.finetuning import losses
from mechtag.training.finetuning.loop import EPOCH, FINISHED, METHODS, hold_out, rate_share, tune
from mechtag.training.finetuning.losses import cut_batches, prepare_corpus
from mechtag.training.finetuning.trainers import Trainer, count_epochs, make_trainer
from mechtag.training.heads import fit_heads
from mechtag.training.multiple_instance import SHARPNESS
from tests.support.toy import fruit_documents, tiny_bert

TUNERS = sorted(METHODS)
pytestmark = pytest.mark.usefixtures("one_thread")
QUICK = TuningSettings(epochs=3, learning_rate=1e-3, batch_tokens=256, lora_rank=2)


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
    """Fifty papers, half of them coded sentence by sentence."""
    documents = fruit_documents(60)
    documents[:20] = [replace(coded, sentence_labels=None) for coded in documents[:20]]
    return make_corpus(encoder, fruit, documents)


@pytest.fixture(scope="module")
def trainer(encoder: TransformerEncoder, fruit: Codebook) -> Callable[..., Trainer]:
    def make(name: str, tuning: TuningSettings = QUICK, **options: object) -> Trainer:
        settings = TrainSettings(trainer=name, tuning=tuning)
        return make_trainer(encoder, fruit, embed_codebook(fruit, encoder), settings, **options)

    return make


def test_pooling_in_torch_is_pooling_in_numpy() -> None:
    scores = np.random.default_rng(1).normal(size=(9, 3))
    lengths = [4, 1, 3, 1]

    def pooled(values: np.ndarray) -> np.ndarray:
        """Relevance by the mean, labels by the softened maximum."""
        return np.hstack([mean(values[:, :1], lengths), pool_scores(values[:, 1:], lengths, SHARPNESS)])

    tensor = torch.tensor(scores, requires_grad=True)
    np.testing.assert_allclose(losses.pool_tensor(tensor, lengths).detach(), pooled(scores))
    losses.pool_tensor(tensor, lengths).sum().backward()
    step = 1e-6
    for place in np.ndindex(scores.shape):
        moved = [scores.copy(), scores.copy()]
        moved[0][place] += step
        moved[1][place] -= step
        up, down = (pooled(values).sum() for values in moved)
        assert tensor.grad[place].item() == pytest.approx((up - down) / (2 * step), abs=1e-6)


def test_loss_of_judged_cells_is_weighted_log_loss() -> None:
    generator = np.random.default_rng(2)
    scores, targets = generator.normal(size=(30, 1)), generator.integers(0, 2, (30, 1)).astype(float)
    targets[:10] = np.nan
    found = losses.judged_loss(torch.tensor(scores), torch.tensor(targets), torch.tensor([4.0]))
    known = targets[10:, 0]
    weight = np.where(known == 1, 4.0, 1.0)
    mean = log_loss(known, 1 / (1 + np.exp(-scores[10:, 0])), sample_weight=weight)
    assert found.item() == pytest.approx(mean * weight.sum() / len(known))


def test_not_judged_is_never_a_negative() -> None:
    targets = torch.tensor([[1.0, torch.nan], [torch.nan, 0.0], [1.0, 1.0]])
    scores = torch.zeros(3, 2, requires_grad=True)
    losses.judged_loss(scores, targets, torch.ones(2)).backward()
    assert ((scores.grad != 0) == ~targets.isnan()).all()

    # A pair that may or may not share a label moves neither way.
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


def test_rare_labels_weigh_more_up_to_a_limit() -> None:
    targets = torch.tensor([[1.0, 1, 0, torch.nan]] + [[0.0, 1, 0, torch.nan]] * 3 + [[torch.nan] * 4] * 9)
    assert losses.positive_weights(targets).tolist() == [3.0, 1.0, 4.0, 1.0]
    many = torch.cat([torch.ones(1, 1), torch.zeros(500, 1)])
    assert losses.positive_weights(many).item() == losses.MAX_POSITIVE_WEIGHT


def test_papers_teach_only_what_their_sentences_were_not_coded_for(corpus: Corpus) -> None:
    whole = corpus.whole_targets()
    np.testing.assert_array_equal(whole[:, 0], corpus.document_targets[:, 0])
    np.testing.assert_array_equal(whole[:20], corpus.document_targets[:20])
    assert np.isnan(whole[20:, 1:]).all()


def test_items_to_pair_carry_their_own_targets(corpus: Corpus, encoder: TransformerEncoder) -> None:
    data = prepare_corpus(corpus, encoder)
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


def test_of_a_paper_beyond_the_budget_units_are_drawn() -> None:
    long = np.arange(50)
    drawn = [next(cut_batches([long], [5] * 50, 20, np.random.default_rng(seed)))[0] for seed in range(20)]
    assert {len(units) for units in drawn} == {4}
    assert len({unit for units in drawn for unit in units}) > 20
    assert next(cut_batches([long], [50] * 50, 20, np.random.default_rng(0)))[0].shape == (1,)


def test_learning_rate_rises_then_falls_to_nothing() -> None:
    shares = [rate_share(progress) for progress in (0.0, 0.05, 0.1, 0.55, 1.0)]
    assert shares == pytest.approx([0, 0.5, 1, 0.5, 0])


def test_papers_held_out_are_of_both_kinds(corpus: Corpus) -> None:
    held_out = hold_out(corpus, 0.2, np.random.default_rng(0))
    relevant = corpus.document_targets[:, 0] == 1
    assert (held_out & relevant).sum() == 9
    assert (held_out & ~relevant).sum() == 3
    assert not hold_out(corpus, 0.0, np.random.default_rng(0)).any()


def held_out_precision(corpus: Corpus, learnt: np.ndarray, fruit_truth: np.ndarray) -> float:
    """Mean average precision of apple and pear over the sentences of papers not learnt from, by vectors alone."""
    heads = fit_heads(corpus, learnt, TrainSettings())
    silent = replace(heads, word_weights=np.zeros_like(heads.word_weights))
    scores = silent.score_parts(corpus.definitions, corpus.vectors, corpus.reports, corpus.texts)
    rows = (corpus.document != NO_DOCUMENT) & ~learnt[corpus.document]
    return float(
        np.mean([average_precision_score(fruit_truth[rows, column], scores[rows, column]) for column in (1, 2)])
    )


def words_in(corpus: Corpus, fruit: Codebook) -> np.ndarray:
    """What each unit truly carries: the codes follow from the words."""
    return np.array([[np.nan, *(float(key in text.split()) for key in fruit.keys)] for text in corpus.texts])


@pytest.mark.slow
@pytest.mark.parametrize("name", TUNERS)
def test_tuning_helps_on_papers_it_has_not_seen(
    name: str, corpus: Corpus, trainer: Callable[..., Trainer], fruit: Codebook
) -> None:
    learnt = np.arange(corpus.n_documents) % 3 > 0
    truth = words_in(corpus, fruit)
    before = held_out_precision(corpus, learnt, truth)
    rate = 1e-3 if name == "lora" else 1e-2
    longer = QUICK.model_copy(update={"epochs": 10, "batch_tokens": 64, "learning_rate": rate, "validation": 0.0})
    after = held_out_precision(trainer(name, longer).encode(corpus, learnt, 1).corpus, learnt, truth)
    assert after > before + 0.02


@pytest.mark.parametrize("name", TUNERS)
def test_label_without_examples_is_near_its_definition(
    name: str, corpus: Corpus, trainer: Callable[..., Trainer], fruit: Codebook
) -> None:
    encoded = trainer(name).encode(corpus, np.ones(corpus.n_documents, bool), 1)
    vectors = encoded.encoder.encode(["plum damson", "stone study"])
    scores = encoded.definitions.features(vectors, np.zeros(2)) @ encoded.definitions.label_weights().T
    plum = fruit.keys.index("plum")
    assert scores[0, plum] > scores[1, plum]


@pytest.mark.slow
@pytest.mark.parametrize("name", TUNERS)
def test_same_seed_same_weights_and_no_other_random_state(
    name: str, corpus: Corpus, encoder: TransformerEncoder, fruit: Codebook
) -> None:
    settings = QUICK.model_copy(update={"epochs": 1, "validation": 0.0})
    runs = []
    for seed in (1, 1, 2):
        torch.manual_seed(len(runs))
        state = torch.get_rng_state()
        runs.append(tune(encoder, fruit, corpus, METHODS[name], settings, seed).arrays)
        assert torch.equal(torch.get_rng_state(), state)
    first, again, other = runs
    assert first.keys() == again.keys() == other.keys()
    for key in first:
        np.testing.assert_array_equal(first[key], again[key])
    assert any((first[key] != other[key]).any() for key in first)


@pytest.mark.parametrize("name", TUNERS)
def test_tuning_leaves_its_encoder_alone(
    name: str, corpus: Corpus, encoder: TransformerEncoder, trainer: Callable[..., Trainer]
) -> None:
    before = encoder.encode(["apple pear"])
    settings = QUICK.model_copy(update={"epochs": 1, "validation": 0.0})
    encoded = trainer(name, settings).encode(corpus, np.ones(corpus.n_documents, bool), 1)
    np.testing.assert_array_equal(encoder.encode(["apple pear"]), before)
    assert not np.allclose(encoded.encoder.encode(["apple pear"]), before)
    np.testing.assert_allclose(np.linalg.norm(encoded.corpus.vectors, axis=1), 1, atol=1e-5)
    assert not any("embed" in key for key in encoded.tuned)


@pytest.mark.slow
@pytest.mark.parametrize("name", TUNERS)
def test_papers_that_may_not_be_learnt_from_have_no_influence(
    name: str, encoder: TransformerEncoder, fruit: Codebook, trainer: Callable[..., Trainer]
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
        encoded = trainer(name).encode(make_corpus(encoder, fruit, rows), learnt, 1)
        found.append((encoded.tuned, encoded.losses))
    assert found[0][1] == found[1][1]
    for key, array in found[0][0].items():
        np.testing.assert_array_equal(array, found[1][0][key])


@pytest.mark.slow
@pytest.mark.parametrize("name", TUNERS)
def test_tuning_that_was_interrupted_goes_on_to_the_same_end(
    name: str, corpus: Corpus, trainer: Callable[..., Trainer], tmp_path: Path
) -> None:
    everything = np.ones(corpus.n_documents, bool)
    patient = QUICK.model_copy(update={"patience": 10})
    whole = trainer(name, patient).encode(corpus, everything, 1)
    for interrupted_after in (1, 2):
        with pytest.raises(KeyboardInterrupt, match=f"epoch {interrupted_after}"):
            trainer(name, patient, work=tmp_path, on_progress=interrupting(interrupted_after)).encode(
                corpus, everything, 1
            )
        assert [path.name for path in tmp_path.rglob("*.safetensors")] == [EPOCH]
    seen: list[int] = []
    resumed = trainer(name, patient, work=tmp_path, on_progress=seen.append).encode(corpus, everything, 1)
    assert seen[0] == 2
    assert sum(seen) == QUICK.epochs
    assert resumed.losses == whole.losses
    for key, array in whole.tuned.items():
        np.testing.assert_array_equal(resumed.tuned[key], array)
    assert [path.name for path in tmp_path.rglob("*.safetensors")] == [FINISHED]

    seen.clear()
    read = trainer(name, patient, work=tmp_path, on_progress=seen.append).encode(corpus, everything, 1)
    assert seen == [QUICK.epochs]
    np.testing.assert_array_equal(read.corpus.vectors, whole.corpus.vectors)


def interrupting(epochs: int) -> Callable[[int], None]:
    """Stop as Ctrl-C does, as soon as so many epochs are over in all."""
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
        trainer("contrastive", tuning, work=tmp_path).encode(corpus, documents, seed)
    slower = one.model_copy(update={"learning_rate": 1e-4})
    trainer("contrastive", slower, work=tmp_path).encode(corpus, everything, 1)
    trainer("full", one, work=tmp_path).encode(corpus, everything, 1)
    assert len(list(tmp_path.iterdir())) == 5


def test_damaged_checkpoint_is_told(corpus: Corpus, trainer: Callable[..., Trainer], tmp_path: Path) -> None:
    everything = np.ones(corpus.n_documents, bool)
    one = QUICK.model_copy(update={"epochs": 1})
    trainer("contrastive", one, work=tmp_path).encode(corpus, everything, 1)
    (path,) = tmp_path.rglob("*.safetensors")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(MechtagError, match=r"finished\.safetensors: the checkpoint cannot be read.*delete it"):
        trainer("contrastive", one, work=tmp_path).encode(corpus, everything, 1)


def test_best_epoch_is_kept_and_patience_ends_the_tuning(
    corpus: Corpus, encoder: TransformerEncoder, fruit: Codebook
) -> None:
    """A rate that only does harm: the weights stay as they were, and only two epochs are tried."""
    ruinous = TuningSettings(epochs=9, learning_rate=0.1, batch_tokens=64, patience=2)
    seen: list[int] = []
    found = tune(encoder, fruit, corpus, METHODS["full"], ruinous, 3, on_progress=seen.append)
    assert min(found.losses) == found.losses[0]
    assert len(found.losses) == 3
    assert sum(seen) == 9
    parameters = dict(encoder.model.named_parameters())
    for name, array in found.arrays.items():
        np.testing.assert_array_equal(array, parameters[name].numpy())


def test_low_rank_changes_are_what_peft_merges(corpus: Corpus, encoder: TransformerEncoder, fruit: Codebook) -> None:
    from peft import LoraConfig, LoraModel

    model = encoder.with_weights({}).model
    layers = ["query", "key", "value", "attention.output.dense", "intermediate.dense", "output.dense"]
    peft_model = LoraModel(model, LoraConfig(r=3, lora_alpha=12, target_modules=layers), "default")
    generator = torch.Generator().manual_seed(1)
    arrays = {}
    for name, parameter in peft_model.named_parameters():
        if "lora_" in name:
            parameter.data = torch.randn(parameter.shape, generator=generator)
            layer, _, factor = name.removeprefix("model.").removesuffix(".default.weight").rpartition(".")
            arrays[f"{layer}.weight.{factor}"] = parameter.detach().numpy() * (4.0 if factor == "lora_B" else 1.0)
    merged = dict(peft_model.merge_and_unload().named_parameters())
    ours = dict(encoder.with_weights(arrays).model.named_parameters())
    assert len(arrays) == 2 * 6 * 2
    assert merged.keys() == ours.keys()
    for name, parameter in merged.items():
        torch.testing.assert_close(ours[name], parameter, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"no.such": np.zeros(3)}, "has no parameter 'no.such'"),
        ({"{weight}": np.zeros((2, 2))}, r"have shape \(2, 2\), expected \(8, 8\)"),
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
    named = {name.format(weight=weight): array.astype(np.float32) for name, array in arrays.items()}
    with pytest.raises(MechtagError, match=message):
        encoder.with_weights(named)


def test_count_of_epochs_is_what_training_goes_through() -> None:
    assert count_epochs(TrainSettings(folds=4, trainer="full", tuning=QUICK)) == 5 * QUICK.epochs
    assert count_epochs(TrainSettings()) == 0
