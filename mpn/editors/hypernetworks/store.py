"""Trained hypernetworks on disk: trained once, whoever asks, and continued where one was killed."""

import hashlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock
from safetensors import SafetensorError

from mpn.editors.hypernetworks.lessons import Lessons
from mpn.editors.hypernetworks.settings import HypernetworkSettings
from mpn.editors.hypernetworks.training import TrainingState, train

HYPERNETWORK_VERSION = 1
"""To be raised whenever the same recipe gives other weights."""

_CHECKPOINT_EVERY_S = 3.0
Watch = Callable[[TrainingState], bool]
"""Hears of every step, and says whether to go on."""


@dataclass(frozen=True)
class Recipe:
    """All that a trained hypernetwork depends on.

    Attributes:
        settings: The editor's.
        model: Fingerprint of the base model.
        max_tokens: Longer texts are cut.
        labels: The model's label names, where they are not its own.
        corpus: Fingerprint of the corpus.
        source_language: Language of the edit requests.
        seed: Of the data, which says what the memory is.
    """

    settings: HypernetworkSettings
    model: str
    max_tokens: int
    labels: tuple[str, ...] | None
    corpus: str
    source_language: str
    seed: int

    @property
    def identity(self) -> str:
        """Hash of it; 64 hex digits."""
        content = {
            "version": HYPERNETWORK_VERSION,
            "settings": self.settings.to_json(),
            "model": [self.model, self.max_tokens, self.labels],
            "corpus": [self.corpus, self.source_language, self.seed],
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def path(self, folder: Path) -> Path:
        """Return where the network is, or would be, among others."""
        name = self.settings.to_json()["name"]
        return folder / f"{name}-{self.identity[:16]}.safetensors"


def is_trained(folder: Path, recipe: Recipe) -> bool:
    """Return whether the network is there."""
    return recipe.path(folder).is_file()


def ensure_trained(
    folder: Path,
    recipe: Recipe,
    lessons: Callable[[], Lessons],
    watch: Watch = lambda state: True,
    *,
    checkpoint_every_s: float = _CHECKPOINT_EVERY_S,
    clock: Callable[[], float] = time.monotonic,
) -> TrainingState | None:
    """Return the trained network; train it, or go on with it, where it is not there.

    Of several processes that ask one trains and the others wait.

    Args:
        folder: Where networks are kept.
        recipe: Which.
        lessons: Opens what it learns from, where that is needed.
        watch: Hears of every step.
        checkpoint_every_s: Seconds that a kill may cost.
        clock: Tells them.

    Returns:
        Its last state, without the optimizer's; None if it was asked to stop.

    Raises:
        MpnInputError: If it cannot be trained as asked.
    """
    path = recipe.path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        if (found := _read(path)) is not None:
            return TrainingState.from_bytes(found)
        partial = path.with_suffix(".partial")
        last_s = clock()
        for state in train(lessons(), _read(partial)):
            going_on = watch(state)
            if not going_on or clock() - last_s >= checkpoint_every_s:
                _write(partial, state.to_bytes())
                last_s = clock()
            if not going_on:
                return None
        done = state.finished()
        _write(path, done.to_bytes())
        partial.unlink(missing_ok=True)
        return done


def _read(path: Path) -> bytes | None:
    """Return what a file holds; None if it is not there or no state, as after a full disk."""
    try:
        data = path.read_bytes()
        TrainingState.from_bytes(data)
    except (FileNotFoundError, SafetensorError):
        return None
    return data


def _write(path: Path, data: bytes) -> None:
    """Write a file whole, or leave the one that is there."""
    part = path.with_name(f".{path.name}.new")
    with part.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
