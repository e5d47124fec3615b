"""What `mpn finetune` does: a recipe made of options, trained, published and mirrored to MLflow."""

import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from mpn.finetuning.publishing import publish, read_record
from mpn.finetuning.recipe import Recipe
from mpn.finetuning.training import finetune
from orchestrator.databases import quick_commits
from orchestrator.errors import InputError, Problem
from orchestrator.home import Home
from orchestrator.provenance import provenance
from orchestrator.surroundings import StopRequest
from orchestrator.tracking.single_run import RunHeader, SingleRun
from studies.objectives.method_errors import input_errors
from studies.progress import StageProgress
from studies.stopping import stopping_on_signals

EXPERIMENT = "finetune"
NOTHING_DONE = "Nothing was trained."


@dataclass(frozen=True)
class Outcome:
    """How it ended.

    Attributes:
        state: ``done``; ``reused``: the model was there already; ``interrupted``.
        record: The model's record, or None if there is no model yet.
        step: The last step taken in this process.
        trouble: Why MLflow is not up to date, if it is not.
    """

    state: Literal["done", "reused", "interrupted"]
    record: Mapping[str, Any] | None
    step: int
    trouble: str | None


def train_and_publish(
    recipe: Recipe,
    out: Path,
    home: Home,
    progress: StageProgress,
    table: Callable[[Mapping[str, Any]], str],
    *,
    threads: int | None = None,
) -> Outcome:
    """Train a recipe, or go on with it, and write the model's folder.

    Args:
        recipe: What to train.
        out: The model's folder; if it is there, it is of this recipe.
        home: Checkpoints, and MLflow's database.
        progress: Shows how far it is.
        table: Renders a record, for MLflow.
        threads: Of the CPU; None leaves it to torch.

    Raises:
        InputError: If another process trains the same, or it cannot be trained as asked.
    """
    home.make()
    work = home.cache / "finetuning" / recipe.identity[:16]
    with _alone(recipe, home), quick_commits(home.path):
        record: Mapping[str, Any] | None = read_record(out)
        if record is not None and not work.exists():
            return Outcome("reused", record, 0, None)
        run = SingleRun(home.mlflow_uri, home.artifacts, work, _header(recipe, out), time.time)
        watching = _Watching(run, progress)
        if record is None:
            try:
                record = _trained(recipe, out, work, watching, threads)
            except Exception:
                run.finish("failed")
                raise
            if record is None:
                run.finish("interrupted")
                return Outcome("interrupted", None, watching.step, run.trouble)
        run.log(recipe.n_steps, _final_metrics(record))
        run.finish("done", {"table.md": table(record), "finetuning.json": _pretty(record)})
        shutil.rmtree(_checkpoints(work) if run.trouble else work, ignore_errors=True)
        return Outcome("done", record, watching.step, run.trouble)


def _trained(
    recipe: Recipe, out: Path, work: Path, watching: "_Watching", threads: int | None
) -> Mapping[str, Any] | None:
    with stopping_on_signals(watching.stop), input_errors("the training", NOTHING_DONE):
        made = finetune(recipe, _checkpoints(work), watching, threads=threads)
    return None if made is None else publish(out, recipe, made, provenance(Path(__file__).parent))


class _Watching:
    """See :class:`mpn.finetuning.training.Watcher`."""

    def __init__(self, run: SingleRun, progress: StageProgress) -> None:
        self._run, self._progress = run, progress
        self._remark = ""
        self.stop = StopRequest()
        self.step = 0

    def progressed(self, stage: str, done: int, total: int) -> None:
        """Show it."""
        if stage == "training":
            self.step = done
        self._progress.stage(stage, done, total, self._remark)

    def logged(self, step: int, values: Mapping[str, float]) -> None:
        """Note it for MLflow, and show the loss."""
        self._run.log(step, values)
        self._remark = f"loss {values['loss']:.3f}"

    def stop_asked(self) -> bool:
        """Whether somebody pressed Ctrl-C."""
        return self.stop.asked


@contextmanager
def _alone(recipe: Recipe, home: Home) -> Iterator[None]:
    """Hold the recipe's lock, which the system gives back whenever the process ends."""
    locks = home.path / "locks"
    locks.mkdir(exist_ok=True)
    try:
        with FileLock(locks / f"finetune-{recipe.identity[:16]}.lock", timeout=0):
            yield
    except Timeout:
        problem = Problem(
            "", None, "another process trains the same", "wait for it, stop it, or use another home"
        )
        raise InputError(f"home {home.path}", [problem], NOTHING_DONE) from None


def _checkpoints(work: Path) -> Path:
    return work / "checkpoints"


def _header(recipe: Recipe, out: Path) -> RunHeader:
    content = recipe.to_json()
    told = ("encoder", "corpus", "asked", "labels", "training")
    params = _flat({key: content[key] for key in told})
    return RunHeader(
        EXPERIMENT,
        out.name,
        params,
        {**provenance(Path(__file__).parent), "mpn.recipe": recipe.identity},
        {"training": recipe.train.fingerprint, "test": recipe.test.fingerprint},
    )


def _flat(values: Mapping[str, Any], above: Sequence[str] = ()) -> dict[str, str]:
    """Return nested values by dotted names, as text."""
    found: dict[str, str] = {}
    for key, value in values.items():
        path = (*above, key)
        if isinstance(value, Mapping):
            found |= _flat(value, path)
        else:
            text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
            found[".".join(path)] = text
    return found


def _final_metrics(record: Mapping[str, Any]) -> dict[str, float]:
    return {
        f"{metric}/{language}": values[metric]
        for metric in ("accuracy", "agreement")
        for language, values in record["accuracy"].items()
        if values[metric] is not None
    }


def _pretty(record: Mapping[str, Any]) -> str:
    return json.dumps(record, ensure_ascii=False, allow_nan=False, indent=1)
