"""Gradient descent on a batch of edits side by side, each until its own stop rule lets it go."""

from typing import Protocol, TypeVar

import torch
from torch import Tensor

from mpn.changes import Change
from mpn.editors.optimizer import BatchedAdam, OptimizerSettings
from mpn.editors.protocol import EditBatch, EditOutcome
from mpn.editors.remaining import Remaining
from mpn.editors.stopping import StopSettings
from mpn.engines.protocol import Engine
from mpn.memory import MemoryBank
from mpn.pairing import PairingSettings

RowsT = TypeVar("RowsT")


class Training(Protocol[RowsT]):
    """What is trained of the edits of one batch.

    Everything is of the edits that remain, ``n_edits`` of them: ``remaining.edits`` says which
    of the batch.
    """

    def change(self, parameters: Tensor, remaining: Remaining[RowsT]) -> Change:
        """Return the changes that parameters ``[n_edits, n]`` are, differentiable in them."""
        ...

    def losses(self, remaining: Remaining[RowsT], change: Change) -> Tensor:
        """Return each edit's loss, ``[n_edits]``."""
        ...

    def held_out_losses(self, remaining: Remaining[RowsT], change: Change) -> Tensor:
        """Return what must stand still before an edit may stop, ``[n_edits]``; zeros: nothing."""
        ...

    def is_hopeless(
        self, remaining: Remaining[RowsT], change: Change, n_steps: int
    ) -> Tensor | None:
        """Return which edits cannot succeed, bool ``[n_edits]``; None where nobody looks."""
        ...


def descend(
    engine: Engine[RowsT],
    batch: EditBatch[RowsT],
    memory: MemoryBank,
    training: Training[RowsT],
    start: Tensor,
    *,
    pairing: PairingSettings,
    optimizer: OptimizerSettings,
    stop: StopSettings,
) -> EditOutcome:
    """Train a batch of edits.

    Args:
        engine: The model.
        batch: The edits.
        memory: What they leave alone.
        training: What is trained.
        start: Parameters at the start, ``[n_edits, n]``.
        pairing: Which rows each step trains on.
        optimizer: Adam and its limits.
        stop: When an edit ends before ``max_steps``.

    Returns:
        The changes, and what they took.
    """
    remaining = Remaining(engine, batch, memory, schedule(batch, pairing, optimizer.max_steps))
    adam = BatchedAdam(start.detach().requires_grad_(), optimizer)
    change = training.change(adam.parameters, remaining)
    for n_steps in range(1, optimizer.max_steps + 1):
        remaining.go_to(n_steps - 1)
        losses = training.losses(remaining, change)
        adam.step(*torch.autograd.grad(losses.sum(), adam.parameters))
        change = training.change(adam.parameters, remaining)
        if stop.is_check(n_steps):
            adam.check(losses.detach())
        done = _done(engine, remaining, training, change.detach(), stop, n_steps)
        if done is not None and done.any():
            remaining.finish(done, change.detach(), n_steps)
            if not len(remaining):
                break
            adam.keep(~done)
            change = training.change(adam.parameters, remaining)
    else:
        everything = torch.ones_like(remaining.labels, dtype=torch.bool)
        remaining.finish(everything, change.detach(), optimizer.max_steps)
    return remaining.outcome()


def schedule(batch: EditBatch[RowsT], pairing: PairingSettings, n_steps: int) -> Tensor:
    """Return the columns that each edit trains on, ``[n_edits, n_steps or 1, n_rows]``."""
    drawn = torch.stack(
        [
            pairing.schedule(
                batch.columns.shape[1] - 1,
                n_steps=n_steps,
                seed=seed.seed,
                stream=seed.stream,
                edit=seed.position,
                weights=None if batch.weights is None else batch.weights[i],
            )
            for i, seed in enumerate(batch.seeds)
        ]
    )
    if (drawn == drawn[:, :1]).all():
        drawn = drawn[:, :1]
    edits = torch.arange(len(drawn))[:, None, None]
    return batch.columns[edits, drawn]


@torch.no_grad()
def is_right(
    engine: Engine[RowsT],
    rows: RowsT,
    labels: Tensor,
    change: Change,
    stop: StopSettings,
    *,
    confidence: float | None = None,
) -> Tensor:
    """Return whether each edit says what it should, with some confidence, bool ``[n_edits]``."""
    logits = engine.logits(rows, change)
    right = logits.argmax(-1) == labels[:, None]
    if confidence is not None:
        index = labels[:, None, None].expand(*logits.shape[:-1], 1)
        right &= logits.softmax(-1).gather(-1, index).squeeze(-1) >= confidence
    return right.all(-1) if stop.when == "all" else right[:, 0]


@torch.no_grad()
def _done(
    engine: Engine[RowsT],
    remaining: Remaining[RowsT],
    training: Training[RowsT],
    change: Change,
    stop: StopSettings,
    n_steps: int,
) -> Tensor | None:
    """Return which edits end after a step, bool ``[n_edits]``; None where nobody looks."""
    hopeless = training.is_hopeless(remaining, change, n_steps)
    if hopeless is not None:
        remaining.separable[remaining.edits] = ~hopeless.cpu()
    if stop.when == "never":
        return None
    if not stop.is_check(n_steps):
        return hopeless
    held_out = training.held_out_losses(remaining, change)
    improved = held_out < remaining.held_out - stop.improvement
    remaining.held_out = held_out
    right = is_right(
        engine, remaining.rows, remaining.labels, change, stop, confidence=stop.confidence
    )
    enough = right & ~improved
    return enough if hopeless is None else enough | hopeless
