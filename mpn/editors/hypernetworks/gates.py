"""Hard-concrete gates: in [0, 1], exactly 0 or 1 with some probability, and trained by gradient.

Source: Louizos, Welling, Kingma, Learning Sparse Neural Networks through L0 Regularization (ICLR
2018), with beta = 2/3, gamma = -0.1, zeta = 1.1, as in LiME's code.
"""

import math

import torch
from torch import Tensor

_TEMPERATURE = 2 / 3
_LOW, _HIGH = -0.1, 1.1
_EPSILON = 1e-6


def sampled_gates(logits: Tensor, uniform: Tensor) -> Tensor:
    """Draw gates, for the training.

    Args:
        logits: log alpha of each gate.
        uniform: Numbers in [0, 1), of the same shape.

    Returns:
        In [0, 1]; differentiable in ``logits``, where a gate is neither 0 nor 1.
    """
    uniform = uniform.clamp(_EPSILON, 1 - _EPSILON)
    noise = uniform.log() - (1 - uniform).log()
    return _stretched(((noise + logits) / _TEMPERATURE).sigmoid())


def settled_gates(logits: Tensor) -> Tensor:
    """Return the gates that an edit has: those without noise, in [0, 1]."""
    return _stretched(logits.sigmoid())


def expected_open(logits: Tensor) -> Tensor:
    """Return the probability that each gate is not 0; its mean is the L0 penalty."""
    return (logits - _TEMPERATURE * math.log(-_LOW / _HIGH)).sigmoid()


def _stretched(concrete: Tensor) -> Tensor:
    return torch.clamp(concrete * (_HIGH - _LOW) + _LOW, 0.0, 1.0)
