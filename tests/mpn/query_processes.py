"""What other processes do in the tests of the query cache."""

import os
import signal
from pathlib import Path

import torch
from safetensors.torch import save_file

import mpn.queries.packed
from mpn.backbones import Backbone
from mpn.queries import QueryCache

POSITIONS = 64


def ask(model, folder, texts, layer, barrier, *, n_before_kill=None):
    """Ask a cache for texts when the others do, and save the answer.

    Each batch leaves a line in ``folder/calls``. The first process that computes is killed
    when it begins batch ``n_before_kill``.
    """
    torch.set_num_threads(1)
    mpn.queries.packed._CPU_POSITIONS = POSITIONS
    backbone = Backbone(model)
    watch(backbone, folder, n_before_kill)
    barrier.wait(60)
    packed = QueryCache(folder / "cache").packed(backbone, texts, layer)
    save_file({"inputs": packed.inputs}, folder / f"{os.getpid()}.answer")


def watch(backbone: Backbone, folder: Path, n_before_kill: int | None) -> None:
    prefix = backbone.prefix
    calls = folder / "calls"

    def counted(texts, layer):
        done = calls.read_text().splitlines() if calls.exists() else []
        if len(done) == n_before_kill and not (folder / "killed").exists():
            (folder / "killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        with calls.open("a") as file:
            file.write(f"{os.getpid()}\n")
        return prefix(texts, layer)

    backbone.prefix = counted
