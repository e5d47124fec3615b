"""The hypernetwork: from the factors of a gradient to the change that an edit makes.

For each of the two weights ``x = [u, delta]``, in units of what its parts are in the training,
times the masks of its language, becomes ``x + W tanh(R x)``; then ``-step delta u^T`` is summed
over pairs and texts, and divided by the number of texts that are wrong: one that is right already
has next to no gradient, and to count it would make the edit as much weaker. ``W`` starts at 0 and
the masks at 1: before any training the change is ``-step`` times the plain gradient. It is odd in
``x``, so that the sign of a pair does not matter, and nothing where the gradient is nothing.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Size, Tensor

from mpn.editors.hypernetworks.factors import Factors
from mpn.editors.hypernetworks.gates import expected_open, sampled_gates, settled_gates
from mpn.editors.hypernetworks.settings import HypernetworkSettings
from mpn.seeding import torch_generator

_LEAST_SHARE = 0.01
_PACES = {"log_steps": 10.0}
"""How much faster than the networks some parameters are trained, as in the sources."""


@dataclass(frozen=True)
class Hypernetwork:
    """The networks of both weights.

    Attributes:
        tensors: By weight and name, ``up.weight/read``: ``scales [d]``, ``read [hidden, d]``,
            ``write [d, hidden]``, where ``d = d_in + d_out``, and ``log_steps [n]`` for edits of
            1, 2, ... wrong rows, the last for more; with masks ``gates`` and
            ``gains [n_languages, d]``. What is trained is divided by its pace.
        languages: That the masks are of; none: there are none.
    """

    tensors: Mapping[str, Tensor]
    languages: tuple[str, ...] = ()

    @staticmethod
    def untrained(
        factors: Mapping[str, Factors], settings: HypernetworkSettings, languages: Sequence[str]
    ) -> "Hypernetwork":
        """Return the network before its training.

        Args:
            factors: Of the texts that it is trained on, which give the units.
            settings: The editor's.
            languages: Of the inner texts.
        """
        tensors: dict[str, Tensor] = {}
        masked = settings.gates is not None
        for weight, own in factors.items():
            scales = torch.cat([_scales(own.inputs), _scales(own.outputs)])
            generator = torch_generator(settings.training.seed, "hypernetwork", weight)
            read = torch.randn(settings.hidden, len(scales), generator=generator)
            named = {
                "scales": scales,
                "read": read.to(scales) / len(scales) ** 0.5,
                "write": scales.new_zeros(len(scales), settings.hidden),
                "log_steps": scales.new_full(
                    (settings.training.paired + 1,), math.log(settings.step) / _PACES["log_steps"]
                ),
            }
            if masked:
                named |= {
                    "gates": scales.new_zeros(len(languages), len(scales)),
                    "gains": scales.new_zeros(len(languages), len(scales)),
                }
            tensors |= {f"{weight}/{name}": tensor for name, tensor in named.items()}
        return Hypernetwork(tensors, tuple(languages) if masked else ())

    def to(self, device: torch.device, dtype: torch.dtype) -> "Hypernetwork":
        """Return the same network on a device, in a type."""
        tensors = {name: tensor.to(device, dtype) for name, tensor in self.tensors.items()}
        return replace(self, tensors=tensors)

    def trained_shapes(self) -> dict[str, Size]:
        """Return the shapes of what is trained."""
        names = (name for name in self.tensors if not name.endswith("/scales"))
        return {name: self.tensors[name].shape for name in names}

    def __getitem__(self, name: str) -> Tensor:
        """Return a tensor by its name, at its pace."""
        return self.tensors[name] * _PACES.get(name.rpartition("/")[2], 1.0)

    def numbers(self, languages: Sequence[str]) -> list[int]:
        """Return the masks of some languages; -1 where there is none, and nothing is masked."""
        known = {language: number for number, language in enumerate(self.languages)}
        return [known.get(language, -1) for language in languages]

    def updates(
        self,
        factors: Mapping[str, Factors],
        languages: Tensor,
        n_wrong: Tensor,
        noise: torch.Generator | None = None,
    ) -> dict[str, Tensor]:
        """Return what is added to each weight, ``[n_edits, d_out, d_in]``.

        Args:
            factors: Of the rows of each edit, ``[n_edits, n_rows, rank]``.
            languages: Mask of each row, as :meth:`numbers` gives them, ``[n_edits, n_rows]``.
            n_wrong: How many rows of each edit the model gets wrong, int64 ``[n_edits]``.
            noise: Draws the gates of each language, in training; None: those without noise.
        """
        found = {}
        for weight, own in factors.items():
            inputs, outputs = self._transformed(weight, own, languages, noise)
            log_steps, counts = self[f"{weight}/log_steps"], n_wrong.clamp_min(1)
            counts = counts.to(log_steps.device)
            steps = log_steps[counts.clamp_max(len(log_steps)) - 1].exp() / counts
            found[weight] = -steps[:, None, None] * (outputs.mT @ inputs)
        return found

    def open_share(self) -> Tensor:
        """Return the expected share of open gates; 0 where there are none."""
        gates = [self[name].flatten() for name in self.tensors if name.endswith("/gates")]
        if not gates:
            return next(iter(self.tensors.values())).new_zeros(())
        return expected_open(torch.cat(gates)).mean()

    def _transformed(
        self, weight: str, factors: Factors, languages: Tensor, noise: torch.Generator | None
    ) -> tuple[Tensor, Tensor]:
        """Return what the pairs of each edit become, ``[n_edits, n_rows * rank, d]`` each."""
        scales = self[f"{weight}/scales"]
        pairs = torch.cat([factors.inputs, factors.outputs], -1) / scales
        if self.languages:
            pairs = pairs * self._masks(weight, noise)[languages][:, :, None]
        hidden = torch.tanh(pairs @ self[f"{weight}/read"].T)
        pairs = (pairs + hidden @ self[f"{weight}/write"].T) * scales
        d_in = factors.inputs.shape[-1]
        return pairs[..., :d_in].flatten(1, 2), pairs[..., d_in:].flatten(1, 2)

    def _masks(self, weight: str, noise: torch.Generator | None) -> Tensor:
        """Return ``1 + gate * gain`` of each language, and of none, ``[n_languages + 1, d]``."""
        logits = self[f"{weight}/gates"]
        if noise is None:
            gates = settled_gates(logits)
        else:
            gates = sampled_gates(logits, torch.rand(logits.shape, generator=noise).to(logits))
        masks = 1 + gates * self[f"{weight}/gains"]
        return torch.cat([masks, torch.ones_like(masks[:1])])


def _scales(vectors: Tensor) -> Tensor:
    """Return the units of each part of some vectors: no less than a share of all parts' mean."""
    squares = vectors.square().flatten(0, -2).mean(0)
    floor = _LEAST_SHARE * squares.mean()
    return (squares + floor).sqrt().clamp_min(torch.finfo(vectors.dtype).tiny)
