"""What other processes do in the tests of the hypernetwork store."""

import os
import signal

import torch

from mpn.backbones import Backbone
from mpn.editors.hypernetworks.lessons import Lessons
from mpn.editors.hypernetworks.settings import HypernetworkTraining, LimeSettings
from mpn.editors.hypernetworks.store import Recipe, ensure_trained
from mpn.editors.optimizer import OptimizerSettings
from mpn.edits import ParallelExample
from mpn.engines.opening import open_engine
from mpn.queries import QueryCache

N_STEPS = 6
SETTINGS = LimeSettings(
    hidden=4,
    training=HypernetworkTraining(
        languages="all",
        paired=1,
        edits=2,
        others=2,
        optimizer=OptimizerSettings(lr=0.01, weight_decay=0.0, max_steps=N_STEPS, plateau=None),
    ),
)
RECIPE = Recipe(SETTINGS, "model", 128, None, "corpus", "en", 0)


def lessons(model, folder, texts):
    """Six examples in two languages, two of a fact."""
    examples = [
        ParallelExample(f"e{i}", f"g{i // 2}", 0, {"en": texts[2 * i], "fr": texts[2 * i + 1]})
        for i in range(6)
    ]
    engine = open_engine(
        "cached", Backbone(model), layer=2, changes="ffn", cache=QueryCache(folder / "queries")
    )
    return Lessons(engine, examples, ["en", "fr"], [0, 1], SETTINGS)


def ask(model, folder, texts, barrier, *, kill_at=None):
    """Ask for the network when the others do; each step leaves a line in ``folder/steps``.

    The first process that trains is killed after step ``kill_at``.
    """
    torch.set_num_threads(1)

    def watch(state):
        with (folder / "steps").open("a") as file:
            file.write(f"{os.getpid()} {state.step}\n")
        if state.step == kill_at and not (folder / "killed").exists():
            (folder / "killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return True

    barrier.wait(60)
    done = ensure_trained(
        folder, RECIPE, lambda: lessons(model, folder, texts), watch, checkpoint_every_s=0
    )
    assert done.step == N_STEPS
