"""Files of FFN inputs: written batch by batch, resumable, and read by mapping them.

A finished file is an ordinary safetensors file of ``lengths`` and ``inputs``. Until then it has
its full size and its header under another name, and a journal beside it says which batches it
holds, each with the checksum of its bytes.
"""

import contextlib
import json
import os
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Literal, Self

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from mpn.queries.packed import PackedQueries, Plan

Storage = Literal["exact", "bfloat16", "float16"]
"""How numbers are kept: as they are, or rounded to half the size of float32."""

_HALVES = {"bfloat16": torch.bfloat16, "float16": torch.float16}
_NAMES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
}
_ALIGNMENT = 64
_LINE = re.compile(rb"^(\d{1,9}) (\d{1,10})\n", re.MULTILINE)  # batch and checksum


def stored_dtype(storage: Storage, dtype: torch.dtype) -> torch.dtype:
    """Return the type of the numbers in a file, for a model of type ``dtype``."""
    return dtype if storage == "exact" else _HALVES[storage]


class Layout:
    """Where everything stands in one file.

    Attributes:
        address: Name of the contents; it stands in the header.
        head: The file's first bytes, up to the queries: header and lengths.
        size: The file's size, in bytes.
        dtype: Type of the queries in the file.
    """

    def __init__(self, address: str, plan: Plan, d_model: int, dtype: torch.dtype) -> None:
        """Lay out a file for what is planned."""
        self.address = address
        self.dtype = dtype
        self._plan = plan
        self._row_bytes = d_model * dtype.itemsize
        lengths = torch.tensor(plan.lengths, dtype=torch.int64).numpy().tobytes()
        n_bytes = plan.n_rows * self._row_bytes
        header = _header(
            {"address": address},
            lengths=("I64", [len(plan.lengths)], len(lengths)),
            inputs=(_NAMES[dtype], [plan.n_rows, d_model], n_bytes),
        )
        self.head = header + lengths
        self.size = len(self.head) + n_bytes

    @property
    def n_batches(self) -> int:
        """Number of batches."""
        return len(self._plan.batches)

    def places(self, batch: int) -> Iterator[tuple[int, int]]:
        """Yield offset and size of the rows of each text in a batch, in bytes."""
        for i in self._plan.batches[batch]:
            start, length = self._plan.starts[i], self._plan.lengths[i]
            yield len(self.head) + start * self._row_bytes, length * self._row_bytes


def _header(metadata: dict[str, str], **tensors: tuple[str, list[int], int]) -> bytes:
    """Return a safetensors header of tensors (type, shape, bytes) that follow one another."""
    described: dict[str, object] = {"__metadata__": metadata}
    offset = 0
    for name, (dtype, shape, n_bytes) in tensors.items():
        ends = [offset, offset + n_bytes]
        described[name] = {"dtype": dtype, "shape": shape, "data_offsets": ends}
        offset += n_bytes
    text = json.dumps(described).encode()
    text += b" " * (-(8 + len(text)) % _ALIGNMENT)
    return len(text).to_bytes(8, "little") + text


class Partial:
    """A file in the making. One process at a time may have it open."""

    def __init__(self, path: Path, layout: Layout) -> None:
        """Continue what is there, or begin anew if it is not this file's beginning.

        Args:
            path: A file of the layout's size, whatever it holds; the journal stands beside it.
            layout: The file that it becomes.
        """
        self._path = path
        self._journal_path = path.with_suffix(".journal")
        self._layout = layout
        self._file: BinaryIO = path.open("r+b")
        if self._file.read(len(layout.head)) != layout.head:
            self._journal_path.unlink(missing_ok=True)
            self._file.seek(0)
            self._file.write(layout.head)
            self._file.flush()
        self.done = frozenset(self._confirmed())
        self._journal = self._journal_path.open("a", encoding="ascii")
        self._journal.write("\n")  # ends a line that a kill has cut

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # After a failed write, as on a full disk, closing fails a second time.
        with contextlib.suppress(OSError):
            self._file.close()
        with contextlib.suppress(OSError):
            self._journal.close()

    def write(self, batch: int, rows: Tensor) -> None:
        """Put the rows of a batch in place, then write its number into the journal."""
        data = rows.cpu().contiguous().view(torch.uint8).numpy().data.cast("B")
        done = 0
        for offset, n_bytes in self._layout.places(batch):
            self._file.seek(offset)
            self._file.write(data[done : done + n_bytes])
            done += n_bytes
        self._file.flush()
        self._journal.write(f"{batch} {zlib.crc32(data)}\n")
        self._journal.flush()

    def finish(self, path: Path) -> None:
        """Give the complete file its name: from now on it is trusted."""
        os.fsync(self._file.fileno())
        self._path.replace(path)
        self._journal_path.unlink()

    def _confirmed(self) -> Iterator[int]:
        """Yield the batches of the journal whose bytes are as they were written."""
        if not self._journal_path.exists():
            return
        found = dict(_LINE.findall(self._journal_path.read_bytes()))
        for number, checksum in found.items():
            batch = int(number)
            if batch < self._layout.n_batches and self._checksum(batch) == int(checksum):
                yield batch

    def _checksum(self, batch: int) -> int:
        """Return the CRC-32 of a batch's bytes in the file."""
        total = 0
        for offset, n_bytes in self._layout.places(batch):
            self._file.seek(offset)
            total = zlib.crc32(self._file.read(n_bytes), total)
        return total


def read_packed(
    path: Path, address: str, *, n_texts: int, d_model: int, stored: torch.dtype
) -> PackedQueries | None:
    """Map a finished file; pages are read as they are touched, writes to them stay private.

    Args:
        path: The file.
        address: What it must hold.
        n_texts: Of how many texts.
        d_model: Width of its queries.
        stored: Type of its queries.

    Returns:
        The queries on the CPU, as they are stored; ``None`` if there is no such file, or if it
        is not whole.
    """
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            if file.metadata() != {"address": address}:
                return None
            inputs, lengths = file.get_tensor("inputs"), file.get_tensor("lengths")
    except (FileNotFoundError, SafetensorError):
        return None
    if (
        (inputs.dtype, lengths.dtype) != (stored, torch.int64)
        or lengths.shape != (n_texts,)
        or inputs.shape != (int(lengths.sum()), d_model)
    ):
        return None
    return PackedQueries(inputs, lengths.clone())
