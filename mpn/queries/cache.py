"""What was computed, on disk and warm in memory."""

import contextlib
import functools
import hashlib
import os
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from filelock import FileLock
from torch import Tensor

from mpn.backbones import Backbone, Positions
from mpn.edits import Text
from mpn.errors import MpnInputError
from mpn.fingerprints import texts_fingerprint
from mpn.queries.files import Layout, Partial, Storage, read_packed, stored_dtype
from mpn.queries.packed import (
    PackedQueries,
    batch_rows,
    kept_positions,
    plan,
    positions_at_once,
)
from mpn.queries.room import FINAL, LOCK, full_disk_is_said, reserve
from mpn.warm import Warm

_FORMAT = 4
_KNOWN_TEXTS = 256


class _Asked(NamedTuple):
    backbone: Backbone
    texts: Sequence[Text]
    layer: int
    positions: Positions


class QueryCache:
    """FFN inputs on disk, addressed by what they were computed from, and warm in memory."""

    def __init__(
        self,
        folder: Path,
        *,
        storage: Storage = "exact",
        limit_gib: float = 20.0,
        warm_gib: float = 4.0,
    ) -> None:
        """Open a cache.

        Args:
            folder: Where files are kept; it may be removed at any time, and is made again.
            storage: How numbers are kept in files. ``exact`` files are mapped where the model is
                on the CPU; rounded ones are converted to the model's type, in memory.
            limit_gib: Size of all files together, in GiB; those least recently used go first.
            warm_gib: Size of what this process keeps at hand, in GiB; those least recently
                asked for go first, and the last one stays, whatever its size.
        """
        self._folder = folder
        self._storage: Storage = storage
        self._limit = int(limit_gib * 2**30)
        self._warm: Warm[PackedQueries] = Warm(warm_gib, lambda packed: packed.inputs.nbytes)
        self._known_texts: OrderedDict[int, tuple[Sequence[Text], str]] = OrderedDict()

    def packed(
        self,
        backbone: Backbone,
        texts: Sequence[Text],
        layer: int,
        positions: Positions = "all",
    ) -> PackedQueries:
        """Return the FFN inputs of ``texts`` at a layer, in their order.

        The first to ask computes them and the others wait, in whatever process they are. What a
        killed process has left is continued. Asking again for the same tuple costs nothing.

        Args:
            backbone: The model.
            texts: Single texts, or text pairs.
            layer: Index of the layer.
            positions: Which are kept, of every text; at the last layer always [CLS] alone.

        Returns:
            The FFN inputs. They are shared by all who ask, so nobody should write to them;
            writes never reach the file.

        Raises:
            MpnInputError: If they are larger than the limit, or than the space on the disk; or if
                a number is too large for ``float16`` storage.
            torch.OutOfMemoryError: If not even a single text fits into the device's memory.
        """
        kept = kept_positions(backbone, layer, positions)
        address = self._address(backbone, texts, layer, kept)
        path = self._folder / f"{address}{FINAL}"
        found = self._warm.get(
            (address, backbone.device),
            lambda: self._load(_Asked(backbone, texts, layer, kept), path),
        )
        with contextlib.suppress(OSError):  # it may have been dropped meanwhile
            os.utime(path)
        return found

    def _load(self, asked: _Asked, path: Path) -> PackedQueries:
        """Read a file, after computing it if need be."""
        backbone = asked.backbone
        self._folder.mkdir(parents=True, exist_ok=True)
        read = functools.partial(
            read_packed,
            path,
            path.stem,
            n_texts=len(asked.texts),
            d_model=backbone.d_model,
            stored=stored_dtype(self._storage, backbone.dtype),
        )
        with FileLock(path.with_suffix(LOCK)):
            found = read()
            if found is None:
                path.unlink(missing_ok=True)
                self._compute(asked, path)
                found = read()
        if found is None:
            raise RuntimeError(f"{path} was written, and cannot be read")
        inputs = found.inputs.to(backbone.device, backbone.dtype)
        return PackedQueries(inputs, found.lengths)

    def _compute(self, asked: _Asked, path: Path) -> None:
        """Compute the batches that a file lacks, and finish it."""
        backbone, texts, layer, positions = asked
        todo = plan(backbone, texts, positions)
        stored = stored_dtype(self._storage, backbone.dtype)
        layout = Layout(path.stem, todo, backbone.d_model, stored)
        what = f"FFN inputs of {len(texts):,} texts at layer {layer} ({todo.n_rows:,} rows)"
        partial_path = reserve(
            self._folder, path.stem, n_bytes=layout.size, limit=self._limit, what=what
        )
        with (
            full_disk_is_said(self._folder, what, layout.size),
            Partial(partial_path, layout) as partial,
        ):
            for number, batch in enumerate(todo.batches):
                if number not in partial.done:
                    rows = batch_rows(backbone, [texts[i] for i in batch], layer, positions)
                    partial.write(number, self._rounded(rows, stored))
            partial.finish(path)

    def _rounded(self, rows: Tensor, stored: torch.dtype) -> Tensor:
        """Convert rows to the type in which they are kept."""
        rounded = rows.to(stored)
        if rounded is not rows and bool((rounded.isinf() & rows.isfinite()).any()):
            raise MpnInputError(
                str(self._folder),
                f"an FFN input of {rows.abs().max():.3g} is too large for storage {self._storage}",
                "store bfloat16 or exact",
            )
        return rounded

    def _address(
        self, backbone: Backbone, texts: Sequence[Text], layer: int, positions: Positions
    ) -> str:
        """Name a file by everything that changes its numbers."""
        parts = (
            f"format {_FORMAT}",
            backbone.fingerprint,
            self._texts_fingerprint(texts),
            f"layer {layer} {positions}",
            f"max_tokens {backbone.max_tokens}",
            f"{backbone.dtype} {backbone.device.type}",
            f"storage {self._storage}",
            f"batches {positions_at_once(backbone)}",
        )
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def _texts_fingerprint(self, texts: Sequence[Text]) -> str:
        """Hash the texts, or know them again: tuples of tuples, which cannot change."""
        known = self._known_texts.get(id(texts))  # kept alive here, so its id is its own
        if known is not None:
            self._known_texts.move_to_end(id(texts))
            return known[1]
        fingerprint = texts_fingerprint(texts)
        if type(texts) is tuple and all(type(text) is tuple for text in texts):
            self._known_texts[id(texts)] = (texts, fingerprint)
            if len(self._known_texts) > _KNOWN_TEXTS:
                self._known_texts.popitem(last=False)
        return fingerprint
