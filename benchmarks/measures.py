"""What is measured at a site: steps, edits and evaluations, fast and slow taking turns.

Each yields rows for the JSON output. ``full_s`` is for as many streams as ``fast_s``: the slow way
has no batches of edits, so it is that many times what one takes.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from benchmarks.shapes import Site
from benchmarks.timing import Seconds, Timed, median, seconds, take_turns
from benchmarks.training_step import TrainingStep
from mpn.editors.optimizer import OptimizerSettings
from mpn.editors.protocol import EditOutcome
from mpn.editors.settings import MemorySettings, StopSettings, TransformerPatcherSettings
from mpn.editors.transformer_patcher import TransformerPatcher
from mpn.memory import MemoryBank
from mpn.pairing import PairingSettings
from mpn.patches import Patches

Row = dict[str, Any]

REPEATS = 8  # of its edit in a batch, by the reference
NO_REPEATS = "no repeats"
MEMORY = 2_000
SEARCHED_MEMORY = 10_000
LARGE_MEMORY = 40_000
STEPS = 150  # of an edit by which edits a second are told
_MIN_STEPS = 125  # with a check every 25 steps, none ends before 150
_SLOW_TEXTS = 128
_EARLY, _LATE, _GROWTH_ROUNDS = 10, 1_000, 40


@dataclass(frozen=True)
class Extent:
    """How much is measured at one site of one model.

    Attributes:
        streams: Numbers of edits side by side.
        n_rows: Rows an edit, beginning with the headline's.
        n_steps: Steps of one measurement with one stream; with more streams there are fewer.
        rounds: Turns of steps that a median is taken of.
        evaluated: Texts evaluated, by number of streams.
        evaluation_rounds: Turns of evaluations.
    """

    streams: Sequence[int]
    n_rows: Sequence[int]
    n_steps: int
    rounds: int
    evaluated: dict[int, int]
    evaluation_rounds: int = 3


def _row(site: Site, what: str, n_streams: int, fast: Seconds, slow: Seconds, **more: Any) -> Row:
    return {
        "site": site.name,
        "streams": n_streams,
        "what": what,
        "full_s": slow.own,
        "fast_s": fast.own,
        "ratio": slow.own / fast.own,
        "full_wall_s": slow.wall,
        "fast_wall_s": fast.wall,
        **more,
    }


def editor(
    *,
    languages: int = 0,
    memory: int = MEMORY,
    n_steps: int | None = None,
) -> TransformerPatcher:
    """Return the editor with the reference's defaults.

    Args:
        languages: Paired with the source.
        memory: Rows in the memory.
        n_steps: Take exactly so many, on the rows as they are; None: until the stop rule is met,
            and at least 150, on the default's eight views under dropout.
    """
    settings = TransformerPatcherSettings(memory=MemorySettings(size=memory))
    if n_steps is None:
        changes: dict[str, Any] = {"stop": StopSettings(min_steps=_MIN_STEPS)}
    else:
        optimizer, stop = OptimizerSettings(max_steps=n_steps), StopSettings(when="never")
        changes = {"optimizer": optimizer, "stop": stop, "dropout": None}
    return TransformerPatcher(
        settings.model_copy(update=changes), PairingSettings(languages=languages)
    )


def steps(site: Site, extent: Extent) -> Iterator[Row]:
    """Measure a whole training step: losses, gradients, clipping, Adam."""
    bank = site.memory(MEMORY)
    for n_rows in extent.n_rows:
        label = site.edits(1, languages=0).labels
        slow = [
            TrainingStep(site.full, site.full_rows(n_rows, repeats), label, bank)
            for repeats in (REPEATS, 1)
        ]
        for step in slow:
            step()
        for n_streams in extent.streams:
            n_steps = max(3, extent.n_steps // max(1, math.isqrt(n_streams // 2)))
            calls = _long_and_short(site, n_streams, n_rows, bank, n_steps)
            long, short, *measured = take_turns([*calls, *slow], extent.rounds)
            if measured:  # with one stream; the slow way's step is the same with more
                fulls, slow = measured, []
            for label_of_full, full in zip((f"{REPEATS} repeats", NO_REPEATS), fulls, strict=True):
                yield _row(
                    site,
                    "step",
                    n_streams,
                    (long - short) / (n_steps - 1),
                    full * n_streams,
                    full=label_of_full,
                    n_rows=n_rows,
                    memory=MEMORY,
                )


def _long_and_short(
    site: Site, n_streams: int, n_rows: int, bank: MemoryBank, n_steps: int
) -> list[Timed]:
    """Return warm edits of ``n_steps`` steps and of one.

    Their difference is what steps take, without what an edit does once: its start, and the probe
    at the last step of a short edit.
    """
    batch = site.edits(n_streams, languages=n_rows - 1)
    calls: list[Timed] = []
    for n in (n_steps, 1):
        own = editor(languages=n_rows - 1, memory=len(bank.queries), n_steps=n)
        calls.append(partial(own.edit, site.fast, batch, bank))
    calls[-1]()
    return calls


def edit(site: Site, n_streams: int, *, memory: int, rounds: int, slow_step: float) -> Row:
    """Measure edits from their start to where the stop rule ends them.

    Args:
        site: The site.
        n_streams: Edits side by side; the figures are of one of them.
        memory: Rows in the memory.
        rounds: Edits that a median is taken of.
        slow_step: Seconds of a step with 2,000 memory rows of the full model, by which its
            edit is estimated.
    """
    bank, batch = site.memory(memory), site.edits(n_streams, languages=0)
    editor(n_steps=1).edit(site.fast, batch, bank)
    outcomes: list[EditOutcome] = []
    own = editor(memory=memory)
    timed = median(
        [seconds(lambda: outcomes.append(own.edit(site.fast, batch, bank))) for _ in range(rounds)]
    )
    efforts = outcomes[0].efforts
    mean_steps = sum(effort.steps for effort in efforts) / n_streams
    full = slow_step * mean_steps
    return _row(
        site,
        "edit",
        n_streams,
        timed / n_streams,
        Seconds(full, full),
        full=f"estimated from the step with {REPEATS} repeats",
        n_rows=1,
        memory=memory,
        cpu_s=timed.cpu / n_streams,
        steps=mean_steps,
        separable=sum(effort.separable for effort in efforts),
        patch_bytes=len(outcomes[0].patches[0].to_bytes()),
    )


def evaluations(site: Site, extent: Extent, slow_text: Seconds | None = None) -> Iterator[Row]:
    """Measure predictions after edits; of the slow way, on a part of the texts.

    Args:
        site: The site.
        extent: How much.
        slow_text: What the slow way takes for a text at another site; with a single round it is
            not measured again, since it runs the whole model, whatever the site.
    """
    n_slow = min(_SLOW_TEXTS, len(site.texts))
    slow_rows, slow_patches = site.full.load(site.texts[:n_slow]), site.neurons(1)
    site.full.predictions(site.full.load(site.texts[:8]), slow_patches)
    slow = partial(site.full.predictions, slow_rows, slow_patches)
    for n_streams, n_texts in extent.evaluated.items():
        rows, patches = site.evaluated(n_texts), site.neurons(n_streams)
        warm = site.evaluated(min(8, n_texts))
        site.fast.predictions(warm if site.name != "last" else rows, patches)
        fast = partial(site.fast.predictions, rows, patches)
        if slow_text is None or extent.evaluation_rounds > 1:
            timed, full = take_turns([fast, slow], extent.evaluation_rounds)
            slow_text = full / n_slow
        else:
            timed = seconds(fast)
        yield _row(
            site,
            "evaluate",
            n_streams,
            timed,
            slow_text * (n_streams * n_texts),
            full=f"scaled from {n_slow} texts",
            n_texts=n_texts,
        )


def growth(site: Site, n_texts: int) -> dict[str, float]:
    """Measure taking up a neuron and evaluating, early and late in a sequential stream.

    The two take turns, from copies of the stream as it was: on a busy machine the seconds in
    which it came to its 1,000th edit are not those in which it began.
    """
    rows, calls = site.evaluated(n_texts), []
    for position in range(1, _LATE + 1):
        patches = site.neurons(1, seed=position)
        if position in (_EARLY, _LATE):
            calls.append(partial(_follow, site, rows, patches))
        rows = site.fast.absorb(rows, patches)
    early, late = take_turns(calls, _GROWTH_ROUNDS)
    return {
        "after_10_s": early.own,
        "after_1000_s": late.own,
        "growth": late.own / early.own,
    }


def _follow(site: Site, rows: Any, patches: Patches) -> None:
    site.fast.predictions(site.fast.absorb(rows, patches))


def throughput(site: Site, streams: Sequence[int], rounds: int) -> Iterator[Row]:
    """Measure steps with 10,000 memory rows, the numbers of streams taking turns."""
    bank, n_steps = site.memory(SEARCHED_MEMORY), 20
    slow = TrainingStep(
        site.full, site.full_rows(1, REPEATS), site.edits(1, languages=0).labels, bank
    )
    slow()
    calls: list[Timed] = [slow]
    for n_streams in streams:
        calls += _long_and_short(site, n_streams, 1, bank, n_steps)
    full, *fast = take_turns(calls, rounds)
    for n_streams, long, short in zip(streams, fast[::2], fast[1::2], strict=True):
        step = (long - short) / (n_steps - 1)
        yield _row(
            site,
            "step",
            n_streams,
            step,
            full * n_streams,
            full=f"{REPEATS} repeats",
            n_rows=1,
            memory=SEARCHED_MEMORY,
            edits_per_s=n_streams / (step.own * STEPS),
        )


def shares(site: Site, n_streams: int, n_rows: int, n_steps: int) -> dict[str, float]:
    """Return the seconds of each part of a step."""
    batch = site.edits(n_streams, languages=n_rows - 1)
    rows = site.fast.take(batch.rows, batch.columns[:, :n_rows], torch.arange(n_streams))
    step = TrainingStep(site.fast, rows, batch.labels, site.memory(MEMORY))
    step()
    return step.shares(n_steps)
