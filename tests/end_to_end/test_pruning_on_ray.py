"""A search that prunes, on Ray's actors as in one process."""

import dataclasses
import os
from pathlib import Path

import pytest
import toy_objective
from sweep_lab import Lab, study
from toy_objective import ToyObjective

from orchestrator.executors.inline import InlineExecutor

SEARCH = {
    "trials": 8,
    "sampler": "random",
    "seed": 2,
    "parallel": 2,
    "space": {"weight": [0.2, 0.4, 0.6, 0.8, 1.0]},
    "objectives": {"score": "maximize"},
    "pruner": {"name": "median", "startup_trials": 1},
}


def search(wait_ms):
    base = {"streams": 2, "units": 15, "wait_ms": wait_ms}
    return study(base=base, search=SEARCH, resources={"checkpoint_every_s": 0.0})


@pytest.mark.ray
def test_actors_stop_at_the_next_checkpoint_where_one_process_prunes(tmp_path, monkeypatch):
    from orchestrator.executors.ray_pool import PoolSettings, RayExecutor

    folder = str(Path(toy_objective.__file__).parent)
    path = os.pathsep.join(filter(None, [folder, os.environ.get("PYTHONPATH")]))
    monkeypatch.setenv("PYTHONPATH", path)  # where the actors find the toy

    def actors(plan):
        plan = dataclasses.replace(plan, objective=ToyObjective(), checkpoint_every_s=0.0)
        return RayExecutor(plan, PoolSettings(2, gpus=0, cpus=0.1))

    def process(plan):
        return InlineExecutor(dataclasses.replace(plan, checkpoint_every_s=0.0))

    found = []
    for name, make, wait_ms in (("ray", actors, 20), ("inline", process, 0)):
        lab = Lab(tmp_path / name)
        report = lab.run(search(wait_ms), make=make)
        assert report.state == "done"
        assert report.last_run.units_spared > 0
        found.append(
            (
                [(trial["state"], trial["pruned_at"]) for trial in lab.memory["trials"]],
                [(t.state, t.values, t.intermediate_values) for t in lab.book],
            )
        )
    assert found[0] == found[1]
    assert [n for n, (state, _) in enumerate(found[0][0]) if state == "pruned"] == [4, 6]
