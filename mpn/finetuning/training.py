"""Trains a classifier with ``transformers.Trainer``, from where a former process left it."""

import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch.utils.data import DataLoader
from transformers import (
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
    set_seed,
)
from transformers.utils import logging as transformers_logging

from mpn.data.model_folders import no_progress_bar
from mpn.errors import MpnInputError
from mpn.finetuning.accuracy import LanguageAccuracy, measure_accuracy
from mpn.finetuning.batches import WholeTraining
from mpn.finetuning.checkpoints import last_whole, mark_whole
from mpn.finetuning.encoders import load_classifier
from mpn.finetuning.recipe import Recipe
from mpn.seeding import derive_seed
from mpn.tokenising import Tokeniser

_LOGGED = ("loss", "learning_rate", "grad_norm")
_CHECKPOINTS_KEPT = 2  # one is whole while the other is written


class Watcher(Protocol):
    """Looks on at a training, and may stop it."""

    def progressed(self, stage: str, done: int, total: int) -> None:
        """Hear how many steps (``training``) or texts (``testing``) are done."""
        ...

    def logged(self, step: int, values: Mapping[str, float]) -> None:
        """Hear the loss, averaged since the last call, learning rate and gradient norm."""
        ...

    def stop_asked(self) -> bool:
        """Whether to stop at the next checkpoint."""
        ...


@dataclass(frozen=True)
class Finetuned:
    """A trained classifier.

    Attributes:
        model: On the CPU.
        tokenizer: Its tokenizer.
        accuracies: On the recipe's test, source language first.
    """

    model: Any
    tokenizer: Any
    accuracies: Sequence[LanguageAccuracy]


def finetune(
    recipe: Recipe, work: Path, watcher: Watcher, *, threads: int | None = None
) -> Finetuned | None:
    """Train a recipe to its end and test it; go on from the last checkpoint where there is one.

    With one recipe, machine and number of threads the weights are the same bit for bit on a CPU,
    however often the training was interrupted.

    Args:
        recipe: What to train.
        work: Folder of this recipe alone, for checkpoints. Whoever can write there can change
            the result.
        watcher: Looks on.
        threads: Of the CPU; None leaves it to torch.

    Returns:
        The classifier; None if it was asked to stop, and can be continued.

    Raises:
        MpnInputError: If the encoder cannot become a classifier, or the loss is not a number.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    with no_progress_bar(), _errors_only(), _own_random_numbers(recipe.settings.seed) as seed:
        model, tokenizer = load_classifier(recipe.encoder, recipe.train.labels)
        tokeniser = Tokeniser(model, tokenizer, recipe.settings.max_tokens)
        trainer = _trainer(recipe, model, tokeniser, work, watcher, seed)
        checkpoint = last_whole(work)
        trainer.train(resume_from_checkpoint=checkpoint and str(checkpoint))
    if trainer.state.global_step < recipe.n_steps:
        return None

    def progress(done: int, total: int) -> bool:
        watcher.progressed("testing", done, total)
        return not watcher.stop_asked()

    accuracies = measure_accuracy(
        model, tokeniser, recipe.test, recipe.test_languages, recipe.source_language, progress
    )
    return None if accuracies is None else Finetuned(model.cpu(), tokenizer, accuracies)


class _Trainer(Trainer):  # type: ignore[misc]
    """A Trainer that is given the batches of the whole training."""

    recipe: Recipe

    def get_train_dataloader(self) -> Any:
        """Return one pass that is the whole training."""
        settings = self.recipe.settings
        order = WholeTraining(
            [text for text, _ in self.recipe.rows],
            settings.batch,
            self.recipe.n_steps,
            seed=settings.seed,
        )
        return self.accelerator.prepare(
            DataLoader(self.recipe.rows, batch_sampler=order, collate_fn=self.data_collator)  # type: ignore[arg-type]
        )


class _Reporter(TrainerCallback):  # type: ignore[misc]
    """Tells a watcher what happens, stops where it asks to, and marks whole checkpoints."""

    def __init__(self, watcher: Watcher, work: Path) -> None:
        self._watcher, self._work = watcher, work

    def on_step_end(
        self, args: Any, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        self._watcher.progressed("training", state.global_step, state.max_steps)
        if self._watcher.stop_asked():
            control.should_training_stop = control.should_save = True
        # What continues a checkpoint averages the loss from there on: so does what wrote it.
        control.should_log |= control.should_save

    def on_log(
        self,
        args: Any,
        state: TrainerState,
        control: TrainerControl,
        logs: Mapping[str, float],
        **_: Any,
    ) -> None:
        values = {name: float(logs[name]) for name in _LOGGED if name in logs}
        if not isfinite(values.get("loss", 0.0)):
            raise MpnInputError(
                "lr", f"the loss is no number at step {state.global_step}", "lower it"
            )
        if values:
            self._watcher.logged(state.global_step, values)

    def on_save(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        mark_whole(self._work, state.global_step)


def _trainer(
    recipe: Recipe, model: Any, tokeniser: Tokeniser, work: Path, watcher: Watcher, seed: int
) -> Trainer:
    settings = recipe.settings
    arguments = TrainingArguments(
        output_dir=str(work),
        max_steps=recipe.n_steps,
        per_device_train_batch_size=settings.batch,
        learning_rate=settings.lr,
        lr_scheduler_type="linear",
        warmup_steps=round(settings.warmup * recipe.n_steps),
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_gradient_norm,
        seed=seed,
        bf16=recipe.precision == "bfloat16",
        use_cpu=recipe.device == "cpu",
        save_steps=settings.save_every,
        save_total_limit=_CHECKPOINTS_KEPT,
        logging_steps=settings.log_every,
        logging_nan_inf_filter=False,
        remove_unused_columns=False,
        report_to=[],
        disable_tqdm=True,
    )
    if recipe.device == "cuda":
        # More devices would each take a batch: a larger batch than the recipe says.
        arguments._n_gpu = min(1, arguments.n_gpu)
    trainer = _Trainer(
        model=model,
        args=arguments,
        train_dataset=recipe.rows,
        data_collator=tokeniser.labelled,
        callbacks=[_Reporter(watcher, work)],
    )
    trainer.recipe = recipe
    trainer.remove_callback(PrinterCallback)
    return trainer


@contextmanager
def _errors_only() -> Iterator[None]:
    """Leave out transformers' warnings: that the head is new, say, as it should be."""
    before = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(before)


@contextmanager
def _own_random_numbers(seed: int) -> Iterator[int]:
    """Seed the global generators, from which transformers draws, and leave them as they were."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        try:
            short = derive_seed("finetune", seed) % 2**32
            set_seed(short)
            yield short
        finally:
            random.setstate(python)
            np.random.set_state(numpy)  # noqa: NPY002
