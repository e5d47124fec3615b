"""A small real objective: a running number per stream, and every trouble that work can make."""

import contextlib
import copy
import errno
import functools
import json
import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import InputError, Problem, ReplicaDirtyError
from orchestrator.objective import Point, Record, Resume, Segment

DEFAULTS = {
    "streams": 2,
    "per_block": 1,
    "units": 3,  # per stream
    "seed": 0,
    "weight": 1.0,
    "cost": True,  # false leaves that metric undefined
    "raise_at": None,  # positions in a block, counted from 0: what happens instead of the unit
    "refuse_at": None,
    "dirty_at": None,  # leaves a trace in the worker, and goes on
    "die_at": None,
    "hang_at": None,  # the process stops, as if it hung with all its threads
    "fill_at": None,  # the disk is full
    "exhaust_at": None,  # the device's memory is
    "once": None,  # folder that remembers troubles: each happens once only
    "needs": None,  # name of something that must be built first
    "wait_ms": 0,  # per unit
    "attach": False,  # the last number, as the block's product
}
NOT_IN_IDENTITY = ("streams", "per_block", "once", "wait_ms")


@dataclass(frozen=True)
class ToyObjective:
    """``on_unit`` is told stream and position of each unit before it runs, in this process."""

    on_unit: Callable[[int, int], None] | None = None
    name: str = "toy"
    unit: str = "numbers"
    curves: tuple[str, ...] = ("score",)

    @property
    def metrics(self):
        return {"score": "maximize", "cost": "minimize"}

    def resolve(self, params):
        filled = copy.deepcopy({**DEFAULTS, **params})
        problems = []
        if filled["units"] < 1:
            problems.append(Problem("units", None, f"{filled['units']} units", "at least 1"))
        return filled, problems

    def blocks(self, params):
        streams, size = range(params["streams"]), params["per_block"]
        return tuple(tuple(streams[i : i + size]) for i in range(0, len(streams), size))

    def units(self, params, streams):
        return params["units"] * len(streams)

    def affinity(self, params):
        return params["needs"] or ""

    def identity(self, params, cache):
        if params["needs"] and not (cache / params["needs"]).exists():
            return None
        return {key: value for key, value in params.items() if key not in NOT_IN_IDENTITY}

    def prepare(self, params, site, progress):
        progress("building", 1, 2)
        site.cache.mkdir(parents=True, exist_ok=True)
        (site.cache / params["needs"]).write_text("built")
        progress("building", 2, 2)

    def open(self, site):
        return ToyWorker(self)

    def summarise(self, params, records):
        summaries = {}
        for stream in sorted({record.stream for record in records}):
            values = [r.value for r in records if r.stream == stream and r.metric == "score"]
            summaries[stream] = {"score": (sum(values) / len(values), len(values))}
            if params["cost"]:
                summaries[stream]["cost"] = (values[-1], 1)
        return summaries

    def dataset(self, params, cache):
        return {"toy-numbers": "0123abcd"}


@dataclass(frozen=True)
class FragileToyObjective(ToyObjective):
    """The process of each of the first ``n_deaths`` workers ends while it starts.

    Those that end ``together`` wait for each other.
    """

    folder: str = ""
    n_deaths: int = 0
    together: bool = False

    def open(self, site):
        deaths = [Path(self.folder, f"death-{death}") for death in range(self.n_deaths)]
        for death in deaths:
            with contextlib.suppress(FileExistsError):
                death.touch(exist_ok=False)
                while self.together and not all(other.exists() for other in deaths):
                    time.sleep(0.01)
                os._exit(1)
        return super().open(site)


class ToyWorker:
    """Continues from the running number in the state, and from nothing else."""

    def __init__(self, objective: ToyObjective) -> None:
        self.loads = 0
        self._objective = objective
        self._trace = False

    def run(self, params, streams, resume: Resume | None):
        self.loads = self.loads or 1
        done, number = 0, 0
        if resume is not None:
            done, number = resume.position, json.loads(resume.state)["number"]
        total = params["units"] * len(streams)
        for position in range(done, total):
            index, unit = divmod(position, params["units"])
            stream = streams[index]
            if self._objective.on_unit:
                self._objective.on_unit(stream, position)
            time.sleep(params["wait_ms"] / 1000)
            self._make_trouble(params, position)
            number = following(number if unit else 0, stream, unit, params["seed"])
            value = params["weight"] * number / 1000
            records = [Record(stream, unit, f"item-{unit}", "score", "", value, 1)]
            if unit + 1 == params["units"]:
                records.append(Record(stream, -1, "", "last", "", value, 1))
            product = functools.partial(state_of, number)
            yield Segment(
                position + 1,
                total,
                tuple(records),
                (Point(stream, "score", unit, value),),
                product,
                product if params["attach"] and position + 1 == total else None,
            )
        if done == total and params["attach"]:
            product = functools.partial(state_of, number)
            yield Segment(total, total, (), (), product, product)

    def verify(self):
        if self._trace:
            raise ReplicaDirtyError("the toy is not what it was")

    def _make_trouble(self, params, position):
        for kind in ("raise", "refuse", "dirty", "die", "hang", "fill", "exhaust"):
            if params[f"{kind}_at"] == position and not _has_happened(params["once"], kind):
                getattr(self, f"_{kind}")()

    def _raise(self):
        raise RuntimeError("the toy broke")

    def _refuse(self):
        raise InputError("the study", [Problem("weight", None, "too heavy", "a lighter one")])

    def _dirty(self):
        self._trace = True

    def _die(self):
        os.kill(os.getpid(), signal.SIGKILL)

    def _hang(self):
        os.kill(os.getpid(), signal.SIGSTOP)

    def _fill(self):
        raise OSError(errno.ENOSPC, "No space left on device")

    def _exhaust(self):
        raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")


def state_of(number: int) -> bytes:
    """All that a block needs to go on."""
    return json.dumps({"number": number}).encode()


def following(number: int, stream: int, unit: int, seed: int) -> int:
    """The number after ``number``: each depends on all before it."""
    return (number * 31 + stream * 7 + unit + seed * 101 + 1) % 1000


def toy_params(**changes: object) -> Mapping[str, object]:
    """Parameters of a trial."""
    params, problems = ToyObjective().resolve(changes)
    assert not problems
    return params


def _has_happened(folder: str | None, kind: str) -> bool:
    if folder is None:
        return False
    mark = Path(folder) / kind
    happened = mark.exists()
    mark.touch()
    return happened
