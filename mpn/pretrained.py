"""Pretrained models: a folder, or a commit on the hub; safetensors, and never code."""

import re
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

from mpn.errors import MpnInputError

_HUB_NAME = re.compile(r"[\w][\w.-]*(/[\w][\w.-]*)?", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_FILES = ["*.json", "*.safetensors", "*.model", "*.spm", "*.txt"]


def is_commit(revision: str | None) -> bool:
    """Whether a revision stays what it is: the 40 hexadecimal digits of a commit."""
    return revision is not None and _COMMIT.fullmatch(revision) is not None


def check_pinned(name: str, revision: str | None, *, places: tuple[str, str], choices: str) -> None:
    """Refuse what is neither a model folder nor a commit on the hub.

    Args:
        name: What the user calls the model.
        revision: Which of its versions.
        places: Where the user wrote name and revision.
        choices: What the name can be.

    Raises:
        MpnInputError: Then.
    """
    if name and Path(name).is_dir():
        return
    if not _HUB_NAME.fullmatch(name):
        raise MpnInputError(
            places[0], f"{name!r} is no folder, and no name on the hub", f"give {choices}"
        )
    if not is_commit(revision):
        raise MpnInputError(
            places[1],
            f"{name!r} is no folder, and for the hub its revision is {revision}",
            "train it (mpn finetune -o), or put it there; or for the hub give the 40 hexadecimal "
            "digits of a commit, which the model's page lists under Files, History",
        )


def find(name: str, revision: str | None) -> Path | None:
    """Return a model's folder if it is on this machine: its own, or in the hub's cache."""
    if Path(name).is_dir():
        return Path(name)
    try:
        return _snapshot(name, revision, local_files_only=True)
    except (OSError, ValueError):  # the hub's own errors are of these kinds
        return None


def fetch(name: str, revision: str | None, *, place: str, choices: str) -> Path:
    """Return a model's folder, after downloading it if need be.

    Args:
        name: A folder, or a name on the hub.
        revision: For the hub: a commit.
        place: Where the user wrote the name.
        choices: What the name can be.

    Raises:
        MpnInputError: If the hub has no such model or cannot be reached.
    """
    if Path(name).is_dir():
        return Path(name)
    try:
        return _snapshot(name, revision, local_files_only=False)
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        raise MpnInputError(
            place,
            f"{name!r} is no folder, and cannot be had from the hub ({str(error).splitlines()[0]})",
            f"give {choices}",
        ) from error


def load(auto_class: Any, directory: Path, **options: Any) -> Any:
    """Call ``from_pretrained`` on a local directory; nothing remote, no remote code.

    Raises:
        MpnInputError: If it cannot be loaded.
    """
    try:
        return auto_class.from_pretrained(
            directory, local_files_only=True, trust_remote_code=False, **options
        )
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise MpnInputError(
            str(directory),
            f"cannot be loaded ({reason})",
            "give a Hugging Face model directory with config.json, model.safetensors and tokenizer",
        ) from error


def _snapshot(name: str, revision: str | None, *, local_files_only: bool) -> Path:
    return Path(
        snapshot_download(
            name, revision=revision, allow_patterns=_FILES, local_files_only=local_files_only
        )
    )
