"""How often a classifier is right, language by language."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from mpn.data.corpus import Corpus
from mpn.edits import Text
from mpn.tokenising import Tokeniser

_BATCH = 64
_NORMAL_QUANTILE = 1.959963984540054  # of 97.5 %


@dataclass(frozen=True)
class LanguageAccuracy:
    """Accuracy in one language.

    Attributes:
        language: The language.
        right: How many texts get their label.
        agreeing: How many get the label that the source language's text gets; None if the test
            has no source language.
        n: How many texts there are.
    """

    language: str
    right: int
    agreeing: int | None
    n: int

    @property
    def accuracy(self) -> float:
        """Share of texts that get their label."""
        return self.right / self.n

    @property
    def agreement(self) -> float | None:
        """Share of texts that get the source language's label."""
        return None if self.agreeing is None else self.agreeing / self.n

    @property
    def interval(self) -> tuple[float, float]:
        """Ends of the 95 % interval of the accuracy, for independent texts."""
        return wilson_interval(self.right, self.n)

    def to_json(self) -> dict[str, float | int | None]:
        """Return rates in [0, 1] and the number of texts."""
        low, high = self.interval
        return {
            "accuracy": self.accuracy,
            "low": low,
            "high": high,
            "agreement": self.agreement,
            "n": self.n,
        }


def wilson_interval(right: int, n: int) -> tuple[float, float]:
    """Return the 95 % interval of a share.

    Args:
        right: How many of ``n`` there are, 0 to n.
        n: At least 1.

    Source:
        Wilson, Probable Inference, the Law of Succession, and Statistical Inference (1927).
    """
    share, z2 = right / n, _NORMAL_QUANTILE**2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = _NORMAL_QUANTILE * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return max(0.0, centre - half), min(1.0, centre + half)


def most_frequent_share(corpus: Corpus) -> float:
    """Return the accuracy of always saying the most frequent label."""
    counts = Counter(example.label for example in corpus.examples)
    return max(counts.values()) / len(corpus.examples)


def measure_accuracy(
    model: Any,
    tokeniser: Tokeniser,
    test: Corpus,
    languages: Sequence[str],
    source_language: str,
    progress: Callable[[int, int], bool],
) -> list[LanguageAccuracy] | None:
    """Classify a test in each of its languages.

    Args:
        model: The classifier, on its device; put in evaluation mode.
        tokeniser: Of the model.
        test: Examples with labels numbered as the model's.
        languages: In the order wanted, the source first if it is among them.
        source_language: The language that agreement is with.
        progress: Told how many texts are done, and of how many, after each batch; False stops.

    Returns:
        One entry per language, in the order given; None if it was stopped.
    """
    model.eval()
    labels = [example.label for example in test.examples]
    total, predictions = len(labels) * len(languages), dict[str, list[int]]()
    for language in languages:
        texts = [example.texts[language] for example in test.examples]
        done = len(labels) * len(predictions)
        found: dict[int, int] = {}
        for rows in _by_length(texts):
            found |= zip(rows, _classify(model, tokeniser, [texts[i] for i in rows]), strict=True)
            if not progress(done + len(found), total):
                return None
        predictions[language] = [found[i] for i in range(len(texts))]
    source = predictions.get(source_language)
    return [
        LanguageAccuracy(
            language,
            right=_n_equal(said, labels),
            agreeing=None if source is None else _n_equal(said, source),
            n=len(labels),
        )
        for language, said in predictions.items()
    ]


@torch.inference_mode()
def _classify(model: Any, tokeniser: Tokeniser, texts: Sequence[Text]) -> list[int]:
    inputs = {name: tensor.to(model.device) for name, tensor in tokeniser.inputs(texts).items()}
    said: list[int] = model(**inputs).logits.argmax(-1).tolist()
    return said


def _by_length(texts: Sequence[Text]) -> list[list[int]]:
    """Return row numbers in batches of similar length."""
    order = sorted(range(len(texts)), key=lambda i: sum(len(part.encode()) for part in texts[i]))
    return [order[start : start + _BATCH] for start in range(0, len(order), _BATCH)]


def _n_equal(first: Sequence[int], second: Sequence[int]) -> int:
    return sum(a == b for a, b in zip(first, second, strict=True))
