"""Training encoder classifiers: contrastive alignment on parallel text, then supervision.

Both functions work on any Hugging Face encoder classifier, change it in place, and draw every
random number from the generator they are given. They are deterministic for a given number of
threads, as long as the model has no dropout (which draws from torch's global generator).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from mpn.edits import Text
from mpn.errors import MpnInputError, ShapeError

Progress = Callable[[int, int], None]
"""Called after every step with the number of steps done and of all steps."""

_BATCHES_PER_POOL = 8


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """How to optimise: AdamW, linear warm-up, linear decay to zero, clipped gradients.

    Attributes:
        n_steps: How many batches to train on.
        batch_size: Texts per batch; for alignment, pairs of parallel texts.
        learning_rate: The highest one, reached at the end of the warm-up.
        weight_decay: Decoupled, on matrices only: biases and normalisations are left alone.
        n_warmup_steps: Over how many steps the learning rate rises.
        max_gradient_norm: Gradients longer than this are scaled down to it.
    """

    n_steps: int
    batch_size: int = 128
    learning_rate: float = 1.5e-3
    weight_decay: float = 0.01
    n_warmup_steps: int = 60
    max_gradient_norm: float = 1.0

    def learning_rate_factor(self, step: int) -> float:
        """Return the share of the learning rate that step ``step`` (from 0) uses, in (0, 1]."""
        rising = (step + 1) / (self.n_warmup_steps + 1)
        falling = (self.n_steps - step) / max(1, self.n_steps - self.n_warmup_steps)
        return min(1.0, rising, falling)


@dataclass(frozen=True, kw_only=True)
class AlignmentSettings(TrainingSettings):
    """Settings of contrastive alignment.

    Attributes:
        temperature: Divides the cosines; the smaller, the more the closest wrong text counts.
    """

    temperature: float = 0.1


def align_parallel_texts(
    model: Any,
    tokenizer: Any,
    meanings: Sequence[Mapping[str, Sequence[Text]]],
    settings: AlignmentSettings,
    generator: torch.Generator,
    progress: Progress | None = None,
) -> list[float]:
    """Teach an encoder that parallel texts mean the same, without any label.

    Each step draws one wording in each of two languages per meaning and lowers the contrastive
    loss of their [CLS] states; the classification head is not touched. This is what makes
    knowledge carry over between languages, as pretraining does for large encoders.

    Args:
        model: A Hugging Face encoder classifier; changed in place, left in evaluation mode.
        tokenizer: Its tokenizer, padding on the right.
        meanings: Per meaning and language, at least one wording; at least two languages each.
        settings: How to optimise.
        generator: Draws batches, languages and wordings; on the CPU.
        progress: Told about every step.

    Returns:
        The loss of every step, before its update.

    Raises:
        MpnInputError: If there are fewer than two meanings, one has fewer than two languages, or
            the tokenizer pads on the left, or single texts and text pairs are mixed.
    """
    if len(meanings) < 2 or min(len(wordings) for wordings in meanings) < 2:
        raise MpnInputError(
            "parallel texts",
            f"{len(meanings)} meanings, some perhaps in a single language",
            "contrast needs two meanings or more, each in two languages or more",
        )
    flat: list[Text] = []
    rows: list[list[range]] = []
    for wordings in meanings:
        rows.append([])
        for texts in wordings.values():
            rows[-1].append(range(len(flat), len(flat) + len(texts)))
            flat.extend(texts)
    tokenised = _TokenisedTexts(tokenizer, flat)
    batches = _shuffled_batches(len(meanings), settings.batch_size, generator)

    def loss() -> Tensor:
        views: tuple[list[int], list[int]] = ([], [])
        for meaning in next(batches).tolist():
            languages = torch.randperm(len(rows[meaning]), generator=generator)[:2].tolist()
            for view, language in zip(views, languages, strict=True):
                wordings = rows[meaning][language]
                view.append(wordings[int(torch.randint(len(wordings), (), generator=generator))])
        states = _cls_states(model, tokenised, torch.tensor(views[0] + views[1]))
        first, second = states.chunk(2)
        return contrastive_loss(first, second, temperature=settings.temperature)

    encoder = [parameter for parameter in model.base_model.parameters() if parameter.requires_grad]
    return _optimise(model, encoder, loss, settings, progress)


def train_classifier(
    model: Any,
    tokenizer: Any,
    texts: Sequence[Text],
    labels: Sequence[int],
    settings: TrainingSettings,
    generator: torch.Generator,
    progress: Progress | None = None,
) -> list[float]:
    """Train a classifier on labelled texts, in batches of similar length.

    Args:
        model: A Hugging Face encoder classifier; changed in place, left in evaluation mode.
        tokenizer: Its tokenizer, padding on the right.
        texts: What to classify.
        labels: One index per text into the model's labels.
        settings: How to optimise.
        generator: Draws the batches; on the CPU.
        progress: Told about every step.

    Returns:
        The loss of every step, before its update.

    Raises:
        MpnInputError: If there is no text, texts and labels differ in number, the tokenizer
            pads on the left, or single texts and text pairs are mixed.
    """
    if not texts or len(texts) != len(labels):
        raise MpnInputError(
            "training texts",
            f"{len(texts)} texts with {len(labels)} labels",
            "give one label per text, and at least one text",
        )
    tokenised = _TokenisedTexts(tokenizer, texts)
    targets = torch.tensor(labels)
    batches = length_bucketed_batches(tokenised.lengths, settings.batch_size, generator)

    def loss() -> Tensor:
        rows = next(batches)
        logits = model(**tokenised.batch(rows, model.device)).logits
        return functional.cross_entropy(logits, targets[rows].to(model.device))

    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return _optimise(model, trained, loss, settings, progress)


def contrastive_loss(first: Tensor, second: Tensor, *, temperature: float) -> Tensor:
    """Ask that every row of one view is closest to the same row of the other (InfoNCE).

    The mean over both views is taken off before the cosines: the states of an untrained encoder
    all point the same way, and the cosines would tell nothing apart.

    Args:
        first: One view of every meaning, ``[n, d_model]``.
        second: Another view of the same meanings in the same order, ``[n, d_model]``.
        temperature: Divides the cosines, > 0.

    Returns:
        Non-negative scalar, the mean over both directions; differentiable in both views.

    Raises:
        ShapeError: If the views are not two-dimensional tensors of one shape.
        ValueError: If ``temperature`` is not positive.

    Source:
        van den Oord et al., Representation Learning with Contrastive Predictive Coding (2018);
        both directions as in Radford et al., CLIP (2021).
    """
    if first.dim() != 2 or first.shape != second.shape:
        raise ShapeError(
            "contrastive_loss",
            f"views of shape {tuple(first.shape)} and {tuple(second.shape)}",
            "both must be [n, d_model]",
        )
    if temperature <= 0:
        raise ValueError(f"temperature is {temperature}, it must be positive")
    states = torch.cat([first, second])
    directions = functional.normalize(states - states.mean(dim=0), dim=1)
    similarities = directions[: len(first)] @ directions[len(first) :].T / temperature
    same = torch.arange(len(first), device=first.device)
    forwards = functional.cross_entropy(similarities, same)
    backwards = functional.cross_entropy(similarities.T, same)
    return (forwards + backwards) / 2


def length_bucketed_batches(
    lengths: Tensor, batch_size: int, generator: torch.Generator
) -> Iterator[Tensor]:
    """Yield batches of row numbers for ever, each epoch in a new order, of similar length.

    Pools of a few batches are drawn at random and sorted by length inside: little padding is
    computed on, while every batch still mixes the whole data.

    Args:
        lengths: Number of tokens per row, ``[n]``.
        batch_size: Rows per batch; the last batch of an epoch may be smaller.
        generator: Draws the order; on the CPU.

    Yields:
        Row numbers, ``[n_batch]``; each row once per epoch.
    """
    while True:
        order = torch.randperm(len(lengths), generator=generator)
        batches = [
            batch
            for pool in torch.split(order, _BATCHES_PER_POOL * batch_size)
            for batch in torch.split(pool[lengths[pool].argsort(stable=True)], batch_size)
        ]
        for number in torch.randperm(len(batches), generator=generator).tolist():
            yield batches[number]


class _TokenisedTexts:
    """Texts tokenised once, cut into batches no wider than their longest text."""

    def __init__(self, tokenizer: Any, texts: Sequence[Text]) -> None:
        if tokenizer.padding_side != "right":
            raise MpnInputError(
                "tokenizer", f"pads on the {tokenizer.padding_side}", "set padding_side='right'"
            )
        counts = sorted({len(text) for text in texts})
        if len(counts) > 1:
            raise MpnInputError(
                "texts", f"some of {counts} segments", "give all texts one segment, or all two"
            )
        segments = [list(segment) for segment in zip(*texts, strict=True)]
        self._columns: Mapping[str, Tensor] = tokenizer(
            *segments, padding=True, truncation=True, return_tensors="pt"
        )
        self.lengths: Tensor = self._columns["attention_mask"].sum(dim=1)

    def batch(self, rows: Tensor, device: torch.device) -> dict[str, Tensor]:
        """Return the model's inputs for some rows, ``[n_rows, n_tokens]`` each."""
        width = int(self.lengths[rows].max())
        return {name: column[rows, :width].to(device) for name, column in self._columns.items()}


def _cls_states(model: Any, tokenised: _TokenisedTexts, rows: Tensor) -> Tensor:
    """Encode rows in chunks of similar length; the [CLS] states ``[n, d_model]``, in order."""
    by_length = tokenised.lengths[rows].argsort(stable=True)
    states = [
        model.base_model(**tokenised.batch(rows[chunk], model.device)).last_hidden_state[:, 0]
        for chunk in by_length.chunk(4)
    ]
    return torch.cat(states)[by_length.argsort().to(model.device)]


def _shuffled_batches(n_rows: int, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield full batches for ever; what is left over at the end of an epoch is not used in it."""
    batch_size = min(batch_size, n_rows)
    while True:
        order = torch.randperm(n_rows, generator=generator)
        yield from torch.split(order[: n_rows - n_rows % batch_size], batch_size)


def _optimise(
    model: Any,
    parameters: Sequence[Tensor],
    loss: Callable[[], Tensor],
    settings: TrainingSettings,
    progress: Progress | None,
) -> list[float]:
    groups: list[dict[str, Any]] = [
        {
            "params": [p for p in parameters if p.dim() > 1],
            "weight_decay": settings.weight_decay,
        },
        {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, settings.learning_rate_factor)
    losses: list[float] = []
    model.train()
    for step in range(settings.n_steps):
        value = loss()
        optimizer.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(parameters, settings.max_gradient_norm)
        optimizer.step()
        schedule.step()
        losses.append(value.item())
        if progress is not None:
            progress(step + 1, settings.n_steps)
    model.eval()
    return losses
