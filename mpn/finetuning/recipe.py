"""Everything that a trained classifier depends on."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import torch

from mpn.data.corpus import Corpus
from mpn.data.splits import hold_out
from mpn.edits import Text
from mpn.errors import MpnInputError
from mpn.finetuning.encoders import Encoder
from mpn.finetuning.settings import FinetuneSettings

TEST_SHARE = 0.2


@dataclass(frozen=True)
class Recipe:
    """What is trained, on what, how, and what it is tested on.

    Attributes:
        encoder: Where to start.
        settings: How to train.
        languages: Languages to train on, the source first.
        train: Examples to train on; more languages than those are left alone.
        test: Examples of other groups, or of another split, with the same labels.
        n_left_out: Examples of another split that are not tested on: their texts are trained on.
        device: ``cpu`` or ``cuda``.
        precision: In which the training computes.
        asked: How the data was asked for; for the record alone.
    """

    encoder: Encoder
    settings: FinetuneSettings
    languages: tuple[str, ...]
    train: Corpus
    test: Corpus
    n_left_out: int
    device: str
    precision: Literal["float32", "bfloat16"]
    asked: Mapping[str, Any]

    @property
    def source_language(self) -> str:
        """The first training language, which the others are compared with."""
        return self.languages[0]

    @property
    def test_languages(self) -> tuple[str, ...]:
        """The test's languages, source first."""
        languages = self.test.languages
        return tuple(sorted(languages, key=lambda name: name != self.source_language))

    @cached_property
    def rows(self) -> list[tuple[Text, int]]:
        """The training texts with their labels."""
        return [
            (example.texts[language], example.label)
            for example in self.train.examples
            for language in self.languages
        ]

    @property
    def n_steps(self) -> int:
        """How many gradient steps are taken."""
        return self.settings.n_steps(len(self.rows))

    @cached_property
    def identity(self) -> str:
        """Hash of what the result depends on: contents, not names and places; 64 hex digits."""
        content = {
            "encoder": self.encoder.fingerprint,
            "settings": self.settings.optimisation(),
            "languages": self.languages,
            "n_steps": self.n_steps,
            "train": self.train.fingerprint,
            "test": self.test.fingerprint,
            "device": self.device,
            "precision": self.precision,
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """Return the recipe as plain JSON types."""
        return {
            "identity": self.identity,
            "encoder": {
                "name": self.encoder.name,
                "revision": self.encoder.revision,
                "fingerprint": self.encoder.fingerprint,
                "architecture": self.encoder.architecture,
            },
            "corpus": self.train.name,
            "asked": dict(self.asked),
            "labels": list(self.train.labels),
            "train": _described(self.train) | {"rows": len(self.rows)},
            "test": _described(self.test) | {"left_out": self.n_left_out},
            "training": self.settings.to_json()
            | {"languages": list(self.languages), "n_steps": self.n_steps}
            | {"device": self.device, "precision": self.precision},
        }


def make_recipe(
    encoder: Encoder,
    settings: FinetuneSettings,
    corpus: Corpus,
    test: Corpus | None,
    *,
    device: str,
    asked: Mapping[str, Any] | None = None,
) -> Recipe:
    """Decide what is trained on and what is held out.

    Args:
        encoder: Where to start.
        settings: How to train.
        corpus: What to train on.
        test: What to test on; None holds out a fifth of the corpus's groups.
        device: ``cpu`` or ``cuda``.
        asked: How the data was asked for; for the record alone.

    Raises:
        MpnInputError: If the corpus lacks a training language, the test has other labels or
            nothing that is not trained on, or one of the two is empty.
    """
    chosen = settings.languages
    languages = corpus.languages if chosen == "all" else tuple(chosen)
    if chosen == "all" and "en" in languages:
        languages = ("en", *(language for language in languages if language != "en"))
    unknown = [language for language in languages if language not in corpus.languages]
    if unknown or len(set(languages)) < len(languages):
        raise MpnInputError(
            "languages",
            f"{', '.join(unknown)} not in {corpus.name}" if unknown else "a language twice",
            f"{corpus.name} has {' '.join(corpus.languages)}",
        )
    n_left_out = 0
    if test is None:
        train, test = hold_out(corpus, TEST_SHARE, seed=settings.seed)
    else:
        train, test = corpus, _with_labels_of(corpus, test)
        n_before = len(test.examples)
        test = _without_trained(test, train, languages)
        n_left_out = n_before - len(test.examples)
    for part, found in (("training", train), ("test", test)):
        if not found.examples:
            raise MpnInputError(f"corpus {corpus.name}", f"no {part} examples", "give more")
    segments = {len(text) for e in (*train.examples, *test.examples) for text in e.texts.values()}
    if len(segments) > 1:
        raise MpnInputError(
            f"corpus {corpus.name}",
            f"some texts have {' and some '.join(map(str, sorted(segments)))} segments",
            "give all texts one segment, or all two",
        )
    return Recipe(
        encoder,
        settings,
        languages,
        train,
        test,
        n_left_out,
        device,
        _precision(settings, device),
        asked or {},
    )


def _precision(settings: FinetuneSettings, device: str) -> Literal["float32", "bfloat16"]:
    able = device == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    if settings.precision == "auto":
        return "bfloat16" if able else "float32"
    if settings.precision == "bfloat16" and not able:
        raise MpnInputError("precision", f"bfloat16 on {device}", "float32, or a GPU that has it")
    return settings.precision


def _with_labels_of(corpus: Corpus, test: Corpus) -> Corpus:
    if sorted(corpus.labels) != sorted(test.labels):
        raise MpnInputError(
            "test_split",
            f"its labels are {', '.join(test.labels)}",
            f"those trained on are {', '.join(corpus.labels)}",
        )
    return test.relabelled(corpus.labels, [corpus.labels.index(label) for label in test.labels])


def _without_trained(test: Corpus, train: Corpus, languages: Sequence[str]) -> Corpus:
    """Leave out examples of which a text, in whatever language, is trained on."""
    trained = {example.texts[language] for example in train.examples for language in languages}
    examples = tuple(e for e in test.examples if trained.isdisjoint(e.texts.values()))
    if test.examples and not examples:
        raise MpnInputError(
            "test_split",
            "all of its texts are trained on",
            "name another split, or none: a fifth of the groups is then held out",
        )
    return replace(test, examples=examples)


def _described(corpus: Corpus) -> dict[str, Any]:
    languages: Sequence[str] = corpus.languages
    return {
        "fingerprint": corpus.fingerprint,
        "examples": len(corpus.examples),
        "languages": list(languages),
    }
