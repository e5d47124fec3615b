"""Models of several shapes, with random weights, opened at a patch site in both ways."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoTokenizer, XLMRobertaConfig, XLMRobertaForSequenceClassification

from mpn.backbones import Backbone
from mpn.data.mini.claims import mini_corpus
from mpn.data.mini.objects import LANGUAGES
from mpn.data.scratch_model import ensure_scratch_model
from mpn.editors.protocol import EditBatch, EditSeed
from mpn.edits import Text
from mpn.engines.full import FullEngine
from mpn.engines.opening import open_engine
from mpn.memory import MemoryBank
from mpn.patches import Patches
from mpn.queries import QueryCache
from mpn.seeding import torch_generator

N_LANGUAGES = len(LANGUAGES)
HELD_OUT_SHARE = 0.1


@dataclass(frozen=True)
class Shape:
    """Sizes of an XLM-R; ``base`` and ``large`` are those of the published models."""

    n_layers: int
    d_model: int
    n_heads: int
    d_ffn: int


SHAPES = {
    "tiny": Shape(4, 128, 2, 512),
    "base": Shape(12, 768, 12, 3072),
    "large": Shape(24, 1024, 16, 4096),
}


def layer_of(site: str, n_layers: int) -> int:
    """Return the layer that a site's name means."""
    return {"last": n_layers - 1, "middle": n_layers // 2, "first": 0}[site]


def parallel_texts(n_examples: int) -> tuple[Text, ...]:
    """Return examples of the embedded corpus, each in all its languages, one after another."""
    examples = mini_corpus().examples
    chosen = examples[:: len(examples) // n_examples][:n_examples]
    return tuple(example.texts[language] for example in chosen for language in LANGUAGES)


def text_pairs(n_examples: int) -> tuple[Text, ...]:
    """Return texts about as long as XNLI's: pairs of four claims and one, each in all languages."""
    claims = [text for (text,) in parallel_texts(5 * n_examples)]
    groups = zip(*(claims[i * len(claims) // 5 :] for i in range(5)), strict=False)
    return tuple((" ".join(premise), hypothesis) for *premise, hypothesis in groups)


def mean_tokens(backbone: Backbone, texts: Sequence[Text]) -> float:
    """Return the mean number of word pieces of texts, special ones included, as they are run."""
    options = {"truncation": True, "max_length": backbone.max_tokens}
    counts = [len(backbone.tokenizer(*text, **options)["input_ids"]) for text in texts]
    return round(sum(counts) / len(counts), 1)


def make_model(name: str, folder: Path) -> Path:
    """Make an XLM-R of a shape; neither its weights nor its few words change its speed."""
    shape = SHAPES[name]
    tokenizer = AutoTokenizer.from_pretrained(ensure_scratch_model(folder / "words", mini_corpus()))
    config = XLMRobertaConfig(
        vocab_size=len(tokenizer),
        hidden_size=shape.d_model,
        num_hidden_layers=shape.n_layers,
        num_attention_heads=shape.n_heads,
        intermediate_size=shape.d_ffn,
        max_position_embeddings=140,
        pad_token_id=tokenizer.pad_token_id,
        num_labels=2,
    )
    with torch.random.fork_rng(devices=[]):  # the constructor draws weights
        model = XLMRobertaForSequenceClassification(config)
    model.save_pretrained(folder / name)
    tokenizer.save_pretrained(folder / name)
    return folder / name


class Site:
    """A model, some texts, and the two engines at one layer."""

    def __init__(self, name: str, backbone: Backbone, texts: Sequence[Text], folder: Path) -> None:
        """Open a site and compute what its cache lacks.

        Args:
            name: ``last``, ``middle`` or ``first``.
            backbone: The model.
            texts: Examples in all languages, as :func:`parallel_texts` gives them.
            folder: Where the query cache is.
        """
        self.name = name
        self.backbone = backbone
        self.texts = tuple(texts)
        layer = layer_of(name, backbone.n_layers)
        self.fast = open_engine("cached", backbone, layer=layer, cache=QueryCache(folder))
        self.full = FullEngine(backbone, layer=layer)
        self.fast.load(self.texts)

    @property
    def n_examples(self) -> int:
        """Number of examples behind the texts."""
        return len(self.texts) // N_LANGUAGES

    @cached_property
    def examples(self) -> Any:
        """The fast engine's rows, ``[n_examples, n_languages]``."""
        return self.fast.regroup(self.fast.load(self.texts), self.n_examples)

    def edits(self, n_edits: int, *, languages: int) -> EditBatch[Any]:
        """Return edits to what the model does not say; an example may be edited twice.

        Args:
            n_edits: How many, side by side.
            languages: Paired ones, of all of which the schedule chooses; 0: the source alone.
        """
        examples = torch.arange(n_edits) % self.n_examples
        every = torch.arange(N_LANGUAGES).expand(n_edits, -1)
        rows = self.fast.take(self.examples, every, examples)
        sources = self.fast.take(rows, every[:, :1], torch.arange(n_edits))
        return EditBatch(
            rows,
            every if languages else every[:, :1],
            1 - self.fast.predictions(sources)[:, 0],
            [EditSeed(0, 0, i) for i in range(n_edits)],
        )

    def full_rows(self, n_rows: int, repeats: int) -> Any:
        """Return what the full model trains one edit on: its rows, several times over."""
        return self.full.load(self.texts[:n_rows] * repeats)

    def evaluated(self, n_texts: int) -> Any:
        """Return the fast engine's rows of texts to evaluate, ``[1, n_texts]``; they recur."""
        rows = self.fast.load(self.texts)
        if n_texts == len(self.texts):
            return rows
        columns = torch.arange(n_texts)[None] % len(self.texts)
        return self.fast.take(rows, columns, torch.zeros(1, dtype=torch.int64))

    def memory(self, size: int) -> MemoryBank:
        """Return a bank of made-up rows that spread as the queries of the texts do."""
        queries = self.fast.queries(self.examples).flatten(0, 1)
        noise = torch.randn(
            size, self.backbone.d_model, generator=torch_generator("memory", size)
        ).to(queries)
        return MemoryBank.of(
            queries.mean(0) + noise * queries.std(0), held_out_share=HELD_OUT_SHARE
        )

    def neurons(self, n_edits: int, *, seed: int = 0) -> Patches:
        """Return made-up patches, one neuron an edit, that fire on some texts."""
        generator = torch_generator("neurons", seed)
        shape = (n_edits, 1, self.backbone.d_model)
        keys, values = (self._noise(shape, generator) * 0.05 for _ in range(2))
        return Patches(keys, torch.zeros_like(keys[..., 0]), values)

    def _noise(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        return torch.randn(shape, generator=generator).to(self.backbone.device)
