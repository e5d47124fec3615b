"""The query cache: FFN inputs, computed once per model, site and list of texts.

Patches never change what lies below them, so these numbers serve every step, edit, trial and
resumed run at a site.
"""

import hashlib
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from filelock import FileLock
from safetensors.torch import load_file, save_file

from mpn.backbones import Backbone, Prefix
from mpn.edits import Text
from mpn.fingerprints import texts_fingerprint

_BATCH = 128
_FORMAT = 1


class QueryCache:
    """Prefixes on disk, addressed by what they were computed from, and warm in memory."""

    def __init__(self, folder: Path) -> None:
        """Open a cache.

        Args:
            folder: Where files are kept; it may be removed at any time, and is made again.
        """
        self._folder = folder
        self._warm: dict[Path, Prefix] = {}

    def prefix(self, backbone: Backbone, texts: Sequence[Text], layer: int) -> Prefix:
        """Return the FFN inputs of ``texts`` at ``layer``, on the backbone's device.

        The first to ask computes them and the others wait, in whatever process they are.
        """
        path = self._folder / f"{_address(backbone, texts, layer)}.safetensors"
        if path not in self._warm:
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                with FileLock(path.with_suffix(".lock")):
                    if not path.exists():
                        _write(path, compute_prefix(backbone, texts, layer))
            tensors = load_file(path, device=str(backbone.device))
            self._warm[path] = Prefix(tensors["queries"], tensors["mask"])
        return self._warm[path]


def compute_prefix(backbone: Backbone, texts: Sequence[Text], layer: int) -> Prefix:
    """Compute FFN inputs in batches of texts of similar length, in the order of ``texts``."""
    by_length = sorted(range(len(texts)), key=lambda i: (sum(map(len, texts[i])), i))
    batches = [by_length[start : start + _BATCH] for start in range(0, len(texts), _BATCH)]
    parts = [backbone.prefix([texts[i] for i in batch], layer) for batch in batches]
    n_positions = max(part.queries.shape[1] for part in parts)
    queries = torch.zeros(
        len(texts), n_positions, backbone.d_model, dtype=backbone.dtype, device=backbone.device
    )
    mask = torch.zeros(len(texts), n_positions, dtype=torch.bool, device=backbone.device)
    for batch, part in zip(batches, parts, strict=True):
        width = part.queries.shape[1]
        queries[batch, :width] = part.queries
        mask[batch, :width] = part.mask
    return Prefix(queries, mask)


def _address(backbone: Backbone, texts: Sequence[Text], layer: int) -> str:
    """Name a file by everything that changes its numbers."""
    parts = (
        f"format {_FORMAT}",
        backbone.fingerprint,
        texts_fingerprint(texts),
        f"layer {layer}",
        f"max_tokens {backbone.max_tokens}",
        f"{backbone.dtype} {backbone.device.type}",
    )
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _write(path: Path, prefix: Prefix) -> None:
    """Write beside the final name, then rename: a file under its name is complete."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.stem, suffix=".part")
    os.close(handle)
    tensors = {"queries": prefix.queries.cpu(), "mask": prefix.mask.cpu()}
    save_file(tensors, temporary)
    Path(temporary).replace(path)
