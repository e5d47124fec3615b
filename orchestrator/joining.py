"""A second driver, on purpose: it runs blocks of a study that another one drives.

It writes results to the ledger and nothing else: trials, their ends and the mirror are the main
driver's. Which of the two runs a block is settled by claims in the ledger; this one begins at the
other end.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.endurance import RetryPolicy
from orchestrator.errors import InputError, Problem
from orchestrator.executors.on_demand import OnDemandExecutor
from orchestrator.identity import content_hash
from orchestrator.ledger import Ledger
from orchestrator.objective import Objective
from orchestrator.scheduler import Scheduler
from orchestrator.sessions import Claims, Roster
from orchestrator.spec import StudySpec, definition_of
from orchestrator.surroundings import Surroundings
from orchestrator.trials import BlockPlan, Failure, TrialState, TrialWork

_READ_EVERY_S = 2.0


@dataclass(frozen=True)
class JoinReport:
    """What a joined driver did.

    Attributes:
        state: ``done``: nothing is left to help with; ``interrupted``; ``orphaned``: the main
            driver is gone, and the study is not finished.
        blocks_executed: Blocks that ended here.
        failures: Trials that failed here; the main driver decides for itself.
    """

    state: str
    blocks_executed: int
    failures: tuple[Failure, ...]


def join_sweep(
    spec: StudySpec, objective: Objective, ledger: Ledger, around: Surroundings
) -> JoinReport:
    """Run blocks of a study until none is left, or its main driver is gone.

    Args:
        spec: The study, as the main driver has it.
        objective: What it asks.
        ledger: Where both drivers meet.
        around: Executor and the rest; its tracker is left alone.

    Raises:
        InputError: If nobody drives the study, or another version of it, or with other models or
            data.
    """
    roster = Roster(ledger, spec.study, "joined", around.clock)
    roster.watch()
    _check(spec, ledger, roster)
    with roster.listed():
        helper = _Helper(spec, objective, ledger, around, roster)
        try:
            return helper.run()
        finally:
            helper.executor.close()


def _check(spec: StudySpec, ledger: Ledger, roster: Roster) -> None:
    memory = ledger.study(spec.study)
    if memory is None or roster.main_driver() is None:
        found, wanted = f"nobody runs {spec.study} in {ledger.uri}", "run it without --join"
    elif memory["definition"] != content_hash(definition_of(spec)):
        found, wanted = "the study that runs has other trials", "join with the file that it runs"
    else:
        return
    raise InputError("the command", [Problem("--join", None, found, wanted)], "Nothing was done.")


class _Helper:
    def __init__(
        self,
        spec: StudySpec,
        objective: Objective,
        ledger: Ledger,
        around: Surroundings,
        roster: Roster,
    ) -> None:
        self._name, self._objective, self._ledger = spec.study, objective, ledger
        self._around, self._roster = around, roster
        self._n_waiting = 1
        self.executor = OnDemandExecutor(
            lambda: around.make_executor(self._n_waiting, roster.own.name)
        )
        policy = RetryPolicy(**spec.retry.model_dump())
        self._scheduler = Scheduler(self.executor, policy, last_first=True)
        around.stop.listeners += [self._scheduler.stop, self.executor.ask_to_stop]
        self._patience = around.patience(roster, spec.retry.patience_s)
        self._blocks: dict[int, list[str]] = {}  # of the trials that were submitted here
        self._open: set[int] = set()  # those that were not pruned since
        self._claims = Claims(ledger, roster.own.name)
        self._failures: list[Failure] = []
        self._total = 0

    def run(self) -> JoinReport:
        around, read_s = self._around, float("-inf")
        is_open = True
        while True:
            if around.clock() - read_s >= _READ_EVERY_S:
                read_s = around.clock()
                is_open = self._patience("the ledger", self._read)
            if around.stop.asked:
                self._scheduler.stop()
            if self._scheduler.is_idle and (around.stop.asked or not is_open):
                return self._report()
            for outcome in self._scheduler.step(around.clock(), around.poll_s).ended:
                if outcome.failure is not None:
                    self._give_up(outcome.failure)
            under_way = sum(sign.done for sign in self.executor.progress().values())
            around.watcher.progressed(self._scheduler.units_executed + under_way, self._total)

    def _read(self) -> bool:
        """Take over what is new in the study's memory; return whether more may come.

        The main driver may be there before its study is noted as running, and after.
        """
        self._roster.beat()
        memory = self._ledger.study(self._name)
        if memory is None:
            return False
        for trial in memory["trials"]:
            number, state = trial["number"], trial["state"]
            if number not in self._blocks and state in (TrialState.WAITING, TrialState.RUNNING):
                self._submit(trial)
            elif number in self._open and state in (TrialState.PRUNED, TrialState.FAILED):
                self._open.remove(number)
                self._scheduler.prune(number)  # nobody waits for the rest
        return self._roster.main_driver() is not None

    def _give_up(self, failure: Failure) -> None:
        """Leave a trial that failed here to the main driver."""
        if failure.problems:
            raise InputError(self._name, failure.problems, "Blocks that are complete are kept.")
        self._failures.append(failure)
        self._claims.release_all(self._blocks[failure.trial])

    def _submit(self, trial: Mapping[str, Any]) -> None:
        blocks = tuple(
            BlockPlan(block["block_id"], tuple(block["streams"]), block["units"])
            for block in trial["blocks"]
        )
        self._open.add(trial["number"])
        self._blocks[trial["number"]] = [block.block_id for block in blocks]
        complete = set(self._ledger.complete_among(block.block_id for block in blocks))
        missing = [block for block in blocks if block.block_id not in complete]
        self._n_waiting = max(self._n_waiting, len(missing))
        self._total += sum(block.units for block in missing)
        affinity = self._objective.affinity(trial["params"])
        work = TrialWork(trial["number"], trial["params"], blocks, affinity)
        self._scheduler.submit(work, complete)

    def _report(self) -> JoinReport:
        if self._around.stop.asked:
            state = "interrupted"
        else:
            memory = self._ledger.study(self._name)
            gone = self._roster.main_driver() is None
            is_over = memory is None or memory["state"] in ("done", "failed")
            state = "orphaned" if gone and not is_over else "done"
        return JoinReport(state, self._scheduler.blocks_executed, tuple(self._failures))
