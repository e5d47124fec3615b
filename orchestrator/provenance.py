"""What a result stands on: versions, commit, machine."""

import importlib.metadata
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path

_PACKAGES = (
    "torch",
    "transformers",
    "accelerate",
    "datasets",
    "ray",
    "optuna",
    "mlflow",
    "numpy",
    "pyarrow",
)


def provenance(source: Path) -> Mapping[str, str]:
    """Describe the code and the machine.

    Args:
        source: A folder of the code; its git commit is recorded if it is in a repository.

    Returns:
        Short strings by name: ``commit`` (with ``+changes`` if the tree is dirty; absent outside
        a repository), ``python``, ``platform`` and ``version.PACKAGE``.
    """
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for package in _PACKAGES:
        try:
            found[f"version.{package}"] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    commit = _git(source, "rev-parse", "HEAD")
    if commit:
        dirty = _git(source, "status", "--porcelain", "--untracked-files=no")
        found["commit"] = commit + ("+changes" if dirty else "")
    return found


def _git(folder: Path, *arguments: str) -> str:
    try:
        run = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return run.stdout.strip() if run.returncode == 0 else ""
