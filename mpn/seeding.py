"""Random numbers derived from names, so that no result depends on order or process."""

import hashlib

import numpy as np
import torch


def derive_seed(*path: str | int) -> int:
    """Turn a path of names and numbers into a 63-bit seed.

    Args:
        path: What the random numbers are for, from general to particular, for example
            ``(study_seed, "pairing", stream, edit)``. Equal paths give equal seeds on every
            machine; ``1`` and ``"1"`` differ.

    Returns:
        An integer in ``[0, 2**63)``.
    """
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in path)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def torch_generator(*path: str | int) -> torch.Generator:
    """Return a CPU generator of its own for ``path``; draw on the CPU, then move the numbers."""
    return torch.Generator().manual_seed(derive_seed(*path))


def numpy_generator(*path: str | int) -> np.random.Generator:
    """Return a NumPy generator of its own for ``path``."""
    return np.random.default_rng(derive_seed(*path))
