"""The batches of a training: which rows, in which order."""

import itertools
from collections.abc import Iterator, Sequence

import torch
from torch.utils.data import Sampler

from mpn.edits import Text
from mpn.seeding import torch_generator
from mpn.training import length_bucketed_batches


class WholeTraining(Sampler[list[int]]):
    """The batches of a whole training, through all its epochs, as one sequence.

    The order hangs on the seed alone, so that a training which goes on in the middle of its third
    epoch sees what it would have seen. The Trainer's own length-grouped order is drawn from the
    global generator, and comes out otherwise there.
    """

    def __init__(self, texts: Sequence[Text], batch_size: int, n_steps: int, *, seed: int) -> None:
        """Measure the texts; UTF-8 bytes stand for word pieces, in every script."""
        self._lengths = torch.tensor(
            [sum(len(segment.encode()) for segment in text) for text in texts]
        )
        self._batch_size, self._n_steps, self._seed = batch_size, n_steps, seed

    def __len__(self) -> int:
        """Return the number of steps."""
        return self._n_steps

    def __iter__(self) -> Iterator[list[int]]:
        """Yield row numbers."""
        generator = torch_generator(self._seed, "finetune", "order")
        batches = length_bucketed_batches(self._lengths, self._batch_size, generator)
        for batch in itertools.islice(batches, self._n_steps):
            yield batch.tolist()
