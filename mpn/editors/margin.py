"""A margin on an edit's rows, as large as what dropout of the query would do to them.

A neuron reads a query ``q`` as ``q . k + b``. Were each entry of ``q`` dropped with a chance of one
half, and those kept doubled, this pre-activation would have the same mean and the variance
``sum_i q_i² k_i²``. An edit trained on its rows at some of these deviations below their
pre-activations spreads its key over more entries, and reaches texts that it was not trained on:
other languages above all. It costs nothing, where views under dropout cost as many times the rows;
unlike those it leaves what the residual carries alone.
"""

from pydantic import PositiveFloat
from torch import Tensor

from mpn.patches import Patches
from mpn.settings import Settings


class MarginSettings(Settings):
    """How far below its pre-activations an edit is trained.

    Attributes:
        deviations: In standard deviations that dropout of half the query would cause.
    """

    deviations: PositiveFloat = 1.5


def deviations(queries: Tensor, keys: Tensor) -> Tensor:
    """Return how much pre-activations would scatter under dropout of half of each query.

    Args:
        queries: Of each edit's rows, over which the variance is averaged,
            ``[n_edits, n, d_model]``.
        keys: ``[n_edits, n_patch, d_model]``.

    Returns:
        Standard deviations, ``[n_edits, n_patch]``; differentiable in both.
    """
    power = queries.square().mean(1, keepdim=True)
    return (keys.square() * power).sum(-1).sqrt()


def lowered(patches: Patches, queries: Tensor, margin: MarginSettings) -> Patches:
    """Return neurons that fire less, by the margin: what an edit's rows are trained on.

    Args:
        patches: One set of neurons an edit, ``[n_edits]``.
        queries: Of each edit's rows, ``[n_edits, n, d_model]``.
        margin: How much less.
    """
    scatter = margin.deviations * deviations(queries, patches.keys)
    return Patches(patches.keys, patches.biases - scatter, patches.values)
