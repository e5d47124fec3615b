"""Texts as what a model takes."""

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mpn.edits import Text


class Tokeniser:
    """Turns texts into a model's inputs, no wider than the longest of them."""

    def __init__(self, model: Any, tokenizer: Any, max_tokens: int) -> None:
        """Take a model's tokenizer; what the model's ``forward`` does not take is left out.

        Args:
            model: A classifier of transformers.
            tokenizer: Its tokenizer.
            max_tokens: Longer texts are cut to so many word pieces.
        """
        self._tokenizer, self._max_tokens = tokenizer, max_tokens
        self._names = set(inspect.signature(model.forward).parameters)

    def inputs(self, texts: Sequence[Text]) -> dict[str, Tensor]:
        """Return inputs padded on the right, ``[n_texts, n_tokens]`` each, on the CPU."""
        segments = [list(segment) for segment in zip(*texts, strict=True)]
        batch = self._tokenizer(
            *segments,
            padding=True,
            padding_side="right",
            truncation=True,
            max_length=self._max_tokens,
            return_tensors="pt",
        )
        return {name: tensor for name, tensor in batch.items() if name in self._names}

    def labelled(self, rows: Sequence[tuple[Text, int]]) -> dict[str, Tensor]:
        """Return inputs with ``labels [n_texts]``, to train on."""
        return self.inputs([text for text, _ in rows]) | {
            "labels": torch.tensor([label for _, label in rows])
        }
