"""The Trainer's checkpoints, of which only whole ones are continued.

They hold pickles (optimizer, generators, arguments). They are work files, not results: they are
made and read in the home's own work folder alone, the Trainer unpickles tensors and plain values
only (``weights_only``), and they are removed once the model is published.
"""

import shutil
from pathlib import Path

_WHOLE = "whole"


def mark_whole(folder: Path, step: int) -> None:
    """Say that the Trainer has written a step's checkpoint to its end."""
    (folder / f"checkpoint-{step}" / _WHOLE).touch()


def last_whole(folder: Path) -> Path | None:
    """Return the last whole checkpoint, and remove what a kill left in parts.

    Args:
        folder: The Trainer's output folder; need not be there.
    """
    found: dict[int, Path] = {}
    for path in folder.glob("checkpoint-*"):
        if (path / _WHOLE).exists():
            found[int(path.name.removeprefix("checkpoint-"))] = path
        else:
            shutil.rmtree(path)
    return found[max(found)] if found else None
