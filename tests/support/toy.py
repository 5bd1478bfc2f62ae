"""A toy encoder, and toy papers whose codes follow from their words."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import yaml

from mechtag.core.arrays import Array
from mechtag.core.codebook import Codebook
from mechtag.core.settings import EncoderSettings, Settings, TrainSettings, TuningSettings
from mechtag.models.encoder import Vectors
from mechtag.models.features import Definitions, definition_texts
from mechtag.models.tagger import Document
from mechtag.training.dataset import CodedDocument


class WordEncoder:
    """An encoder that adds up a fixed random vector for each word of a text, and scales the sum to length 1."""

    size = 48

    def __init__(self) -> None:
        self._axes: dict[str, np.ndarray] = {}

    def _axis(self, word: str) -> np.ndarray:
        if word not in self._axes:
            seed = int.from_bytes(word.encode(), "little")
            self._axes[word] = np.random.default_rng(seed).normal(size=self.size)
        return self._axes[word]

    def encode(self, texts: Sequence[str]) -> Vectors:
        rows = [sum((self._axis(word) for word in text.lower().split()), np.zeros(self.size)) for text in texts]
        table = np.array(rows, dtype=np.float32).reshape(-1, self.size)
        return table / np.maximum(np.linalg.norm(table, axis=1, keepdims=True), 1e-9)


def fruit_documents(count: int = 40) -> list[CodedDocument]:
    """Return papers about apples, pears, both or neither, whose codes follow from their words.

    No sentence reports methods.
    """
    generator = np.random.default_rng(7)
    fillers = "the and of with from village results people town garden year".split()
    documents = []
    for number in range(count):
        fruits = [[], ["apple"], ["pear"], ["apple", "pear"]][number % 4]
        sentences, labels = [], []
        for carried in [[], *([fruit] for fruit in fruits), []]:
            words = [*generator.choice(fillers, 6), f"w{generator.integers(50)}"]
            words += [*carried, *carried] if carried else (["stone"] if not fruits else ["fruit"])
            sentences.append(" ".join(words))
            labels.append(tuple(carried))
        documents.append(
            CodedDocument(
                record_id=f"text:{number}",
                document=Document("fruit study" if fruits else "stone study", tuple(sentences)),
                relevant=bool(fruits),
                codes={key: int(key in fruits) for key in ("apple", "pear", "plum")},
                sentence_labels=tuple(labels),
            )
        )
    return documents


def relevance_by_definitions(definitions: Definitions, vectors: Vectors) -> Array:
    """Return the log odds of relevance of whole texts according to the definitions alone, shape (n_texts,)."""
    weights, intercept = definitions.relevance_weights()
    return vectors.astype(np.float64) @ weights + intercept


def _sizes(words: int, size: int, positions: int) -> dict[str, int]:
    return {
        "vocab_size": words,
        "hidden_size": size,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 2 * size,
        "max_position_embeddings": positions,
    }


def tiny_bert(folder: Path, words: Sequence[str], size: int = 16, positions: int = 40) -> Path:
    """Write a tiny BERT model with random weights to a folder, in the format of the Hugging Face hub."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizerFast

    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *dict.fromkeys(words)]
    (folder / "vocab.txt").write_text("\n".join(vocabulary), encoding="utf-8")
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    config = BertConfig(**_sizes(len(vocabulary), size, positions))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        BertModel(config).save_pretrained(folder, safe_serialization=True)
    return folder


def tiny_mpnet(folder: Path, words: Sequence[str], size: int = 16, positions: int = 14) -> Path:
    """Write a tiny MPNet model, the architecture of the encoder ``accurate``, like `tiny_bert`."""
    import torch
    from transformers import MPNetConfig, MPNetModel, MPNetTokenizerFast

    vocabulary = ["<s>", "<pad>", "</s>", "[UNK]", "<mask>", *dict.fromkeys(words)]
    (folder / "vocab.txt").write_text("\n".join(vocabulary), encoding="utf-8")
    MPNetTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    config = MPNetConfig(**_sizes(len(vocabulary), size, positions))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = MPNetModel(config)
        # Large weights, as after training; the initial ones are near zero.
        torch.nn.init.normal_(model.encoder.relative_attention_bias.weight)
        model.save_pretrained(folder)
    return folder


def fruit_project(folder: Path, fruit: Codebook, tuning: TuningSettings | None = None) -> Settings:
    """Write a project about fruit with coded records, a codebook and a tiny encoder, and return its settings."""
    documents = fruit_documents(40)
    texts = [unit for coded in documents for unit in coded.document.units]
    words = sorted({word for text in [*texts, *definition_texts(fruit)[0]] for word in text.split()})
    (folder / "encoder").mkdir()
    rows = [
        {
            "key": coded.record_id,
            "title": f"{coded.document.title} {number}",
            "relevant": coded.relevant,
            "mechanisms": [key for key, code in coded.codes.items() if code],
            "sentences": [
                {"text": text, "mechanisms": labels}
                for text, labels in zip(coded.document.sentences, coded.sentence_labels or (), strict=True)
            ],
            "coder": "toy",
            "basis": "abstract",
            "codebook": "fruit",
        }
        for number, coded in enumerate(documents)
    ]
    (folder / "coded.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (folder / "codebook.yaml").write_text(yaml.safe_dump(fruit.model_dump(mode="json")), encoding="utf-8")
    return Settings(
        codebook=str(folder / "codebook.yaml"),
        encoder=EncoderSettings(name=str(tiny_bert(folder / "encoder", words, size=8))),
        train=TrainSettings(
            records=str(folder / "coded.jsonl"),
            exemplars="",
            added=str(folder / "added"),
            folds=2,
            tuning=tuning or TuningSettings(),
        ),
    )
