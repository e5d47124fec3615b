"""The losses of a patch neuron: pure functions of pre-activations and logits.

Shapes are written with these names: ``n_edit`` rows of the edit batch (one a language),
``n_patch`` neurons of one edit, ``n_memory`` memory rows, ``...`` any leading dimensions, by
which independent edits are computed side by side; each function returns one value per leading
index, so that a sum over them has the gradients of all edits alone.

Source: Huang et al., Transformer-Patcher (ICLR 2023), the authors' code at 93ff458; its
numbers are reproduced in ``tests/mpn/test_losses.py``.
"""

from typing import Literal

import torch
from torch import Tensor

from mpn.errors import ShapeError

PenaltyShape = Literal["exp", "margin", "exp_margin"]


def edit_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Make the patched model say the desired label on every row of the edit batch.

    Cross-entropy, averaged over the batch. The reference has binary cross-entropy less
    0.1 x entropy, for a single output unit; a classifier with several has this.

    Args:
        logits: Patched logits, ``[..., n_edit, n_labels]``.
        labels: Desired label of each edit, ``[...]``, int64; the same in every language.

    Returns:
        Non-negative, ``[...]``; differentiable in ``logits``.

    Raises:
        ShapeError: If the leading dimensions differ.
    """
    if logits.shape[:-2] != labels.shape:
        raise ShapeError(
            "edit_loss", f"logits {tuple(logits.shape)}", f"labels {tuple(labels.shape)} lead them"
        )
    log_probabilities = logits.log_softmax(-1)
    index = labels[..., None, None].expand(*logits.shape[:-1], 1)
    return -log_probabilities.gather(-1, index).squeeze(-1).mean(-1)


def divergence_loss(logits: Tensor, reference: Tensor, *, over_labels: bool = False) -> Tensor:
    """Keep what the model says of texts that an edit is not about.

    Args:
        logits: The edited model's, ``[..., n, n_labels]``.
        reference: The base model's log-probabilities, of the same shape.
        over_labels: Divide by the number of labels too: the mean over all elements that the
            code of Transformer-Patcher takes where KL asks for a sum over labels.

    Returns:
        KL(base, edited) in nats, the mean over the texts, ``[...]``; differentiable in
        ``logits``.

    Raises:
        ShapeError: If the shapes differ.
    """
    if logits.shape != reference.shape:
        raise ShapeError(
            "divergence_loss", f"logits {tuple(logits.shape)}", f"as the {tuple(reference.shape)}"
        )
    divergences = reference.exp() * (reference - logits.log_softmax(-1))
    return (divergences.mean(-1) if over_labels else divergences.sum(-1)).mean(-1)


def activation_loss(
    edit_pre_activations: Tensor,
    *,
    top_k: int | None = 5,
    threshold: float = 0.0,
    shape: PenaltyShape = "exp",
) -> Tensor:
    """Make the new neurons fire on every row of the edit batch.

    Args:
        edit_pre_activations: ``q . k + b`` of each row and neuron, before the nonlinearity,
            ``[..., n_edit, n_patch]``.
        top_k: How many of the largest violations are averaged; clipped to their number.
            ``None`` averages all of them (``margin``, ``exp_margin``: all that violate).
        threshold: a_0, the pre-activation wished for, dimensionless.
        shape: Penalty of a violation ``x = threshold - pre_activation``: ``exp(x)``,
            ``margin`` ``max(x, 0)``, or ``exp_margin``, ``exp(x)`` where ``x > 0``.

    Returns:
        Non-negative, ``[...]``; lower fires more.

    Raises:
        ValueError: If ``top_k < 1``.
    """
    return _penalty((threshold - edit_pre_activations).flatten(-2), shape, top_k)


def memory_loss(
    memory_pre_activations: Tensor,
    edit_pre_activations: Tensor,
    *,
    top_k: int | None = 125,
    ceiling: float = -3.0,
    gap: float = 3.0,
    shape: PenaltyShape = "exp",
    repeated: bool = False,
) -> Tensor:
    """Penalise patch neurons that fire on inputs outside the edit's scope.

    Two terms, each the mean of the ``top_k`` largest penalties, so the worst offenders
    dominate: memory rows above ``ceiling``, and memory rows that come within ``gap`` of an
    edit row's own pre-activation. The second is taken for each edit row and averaged over
    them: within a row the order of the memory rows is that of the first term, so one search
    for the largest serves both.

    Args:
        memory_pre_activations: ``M k + b``, ``[..., n_memory, n_patch]``.
        edit_pre_activations: ``q . k + b`` of the edit batch, ``[..., n_edit, n_patch]``, one
            row per language of the parallel edit (one row for a monolingual edit).
        top_k: How many violations each term averages; clipped to the number available.
            ``None`` averages all of them (``margin``, ``exp_margin``: all that violate).
        ceiling: beta, the highest tolerated memory pre-activation, dimensionless.
        gap: gamma, the required margin below the edit, dimensionless.
        shape: As in :func:`activation_loss`.
        repeated: Count each memory row once for every row of the edit batch, and take
            ``top_k`` of all the pairs together: what the reference does by mistake.

    Returns:
        Non-negative, ``[...]``; lower is more local. Several neurons are averaged.

    Raises:
        ShapeError: If the two do not have the same leading dimensions and neurons.
        ValueError: If ``top_k < 1``.

    Source:
        The memory loss of the reference with beta = -3, gamma = 3. The reference repeats its
        edit eight times under dropout and its memory with it, so its ``top_k`` of 1000 is our
        125 distinct rows (exact for the ceiling term; DECISIONS.md #5).
    """
    memory = memory_pre_activations.transpose(-1, -2)  # [..., n_patch, n_memory]
    edit = edit_pre_activations.transpose(-1, -2)  # [..., n_patch, n_edit]
    if memory.shape[:-1] != edit.shape[:-1]:
        raise ShapeError(
            "memory_loss",
            f"memory {tuple(memory_pre_activations.shape)}, edit "
            f"{tuple(edit_pre_activations.shape)}",
            "all but the next to last dimension must agree",
        )
    if top_k is not None:
        _check_top_k(top_k)
        memory = memory.topk(min(top_k, memory.shape[-1]), dim=-1, sorted=False).values
    gaps = memory[..., None, :] - edit[..., :, None] + gap
    if repeated:
        memory = memory[..., None, :].expand_as(gaps).flatten(-2)
        gaps = gaps.flatten(-2)[..., None, :]
    above_ceiling = _penalty(memory - ceiling, shape, top_k)
    within_gap = _penalty(gaps, shape, top_k).mean(-1)
    return (above_ceiling + within_gap).mean(-1)


def _penalty(violations: Tensor, shape: PenaltyShape, top_k: int | None) -> Tensor:
    """Reduce the last dimension to the mean penalty of the largest violations."""
    if top_k is not None:
        _check_top_k(top_k)
        if top_k < violations.shape[-1]:
            violations = violations.topk(top_k, dim=-1, sorted=False).values
    if shape == "exp":
        return violations.exp().mean(-1)
    penalties = violations.exp() if shape == "exp_margin" else violations
    penalties = torch.where(violations > 0, penalties, torch.zeros_like(penalties))
    if top_k is not None:
        return penalties.mean(-1)
    return penalties.sum(-1) / (violations > 0).sum(-1).clamp(min=1)


def _check_top_k(top_k: int) -> None:
    if top_k < 1:
        raise ValueError(f"top_k must be at least 1, not {top_k}")
