"""Checks of the machine and the installation."""

import importlib.metadata
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass

from orchestrator.home import Home

_PACKAGES = ("torch", "transformers", "datasets", "ray", "optuna", "mlflow")


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    name: str
    found: str
    good: bool


def checks(home: Home) -> Iterator[Check]:
    """Look at Python, packages, devices, Ray and the home; nothing is left behind."""
    yield Check("Python", platform.python_version(), sys.version_info >= (3, 11))
    for package in _PACKAGES:
        try:
            yield Check(package, importlib.metadata.version(package), True)
        except importlib.metadata.PackageNotFoundError:
            yield Check(package, "not installed", False)
    yield _devices()
    yield _ray()
    yield _writable(home)
    free_gib = shutil.disk_usage(_existing(home)).free / 2**30
    yield Check("disk", f"{free_gib:.0f} GiB free at {_existing(home)}", free_gib > 1)


def _devices() -> Check:
    import torch  # takes seconds

    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    gpus = f"{len(names)} GPUs ({', '.join(names)})" if names else "no GPU"
    return Check("devices", f"{gpus}, {os.cpu_count()} CPU cores", True)


def _ray() -> Check:
    import ray  # takes seconds

    from orchestrator.executors.ray_loopback import on_loopback

    try:
        quiet = {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR"}
        with on_loopback():
            ray.init("local", num_cpus=1, **quiet)
        answer = ray.get(ray.remote(lambda: 2).remote(), timeout=60)
        return Check("Ray", "starts, and runs a task", answer == 2)
    except Exception as error:  # whatever goes wrong is what the check is for
        return Check("Ray", f"{type(error).__name__}: {str(error).splitlines()[0]}", False)
    finally:
        ray.shutdown()


def _writable(home: Home) -> Check:
    place = _existing(home)
    try:
        with tempfile.NamedTemporaryFile(dir=place):
            return Check("home", f"{home.path} can be written", True)
    except OSError as error:
        return Check("home", f"{home.path}: {error.strerror}", False)


def _existing(home: Home) -> str:
    """Return the home, or the nearest folder above it that exists."""
    folder = home.path.resolve()
    while not folder.exists():
        folder = folder.parent
    return str(folder)
