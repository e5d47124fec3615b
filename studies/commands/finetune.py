"""`mpn finetune`: a base model of your own."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from orchestrator.errors import Problem
from orchestrator.strict_yaml import read
from studies.commands.options import (
    EXIT_INTERRUPTED,
    HomeOption,
    at_home,
    check_target,
    home_of,
)

commands = typer.Typer()


@commands.command()
@at_home
def finetune(
    encoder: Annotated[
        str, typer.Argument(help="A model folder, a name on the hub, scratch or mini.")
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="Where the classifier goes.")],
    dataset: Annotated[str, typer.Option(help="What to train on: mini, xnli, ...")] = "mini",
    path: Annotated[str | None, typer.Option(help="Folder of the data set's files.")] = None,
    split: Annotated[
        str | None,
        typer.Option(help="Which part of it to train on. Default: train, if it has parts."),
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="Any other setting of a study's dataset. Repeat."),
    ] = None,
    languages: Annotated[
        str,
        typer.Option(help="en: zero-shot transfer. en,fr or all: translate-train. Source first."),
    ] = "en",
    limit: Annotated[int | None, typer.Option(help="Use the first so many examples.")] = None,
    test_split: Annotated[
        str | None, typer.Option(help="Test on it. Default: a fifth of the groups, held out.")
    ] = None,
    test_path: Annotated[str | None, typer.Option(help="Where that is, if elsewhere.")] = None,
    test_languages: Annotated[str, typer.Option(help="en,fr or all.")] = "all",
    test_limit: Annotated[int | None, typer.Option(help="Test on the first so many.")] = None,
    epochs: Annotated[
        float | None, typer.Option(help="Passes over the data. Default: 3.", show_default=False)
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Gradient steps, instead of epochs.")] = None,
    batch: Annotated[int, typer.Option(help="Texts a step.")] = 32,
    lr: Annotated[float, typer.Option(help="The highest learning rate.")] = 2e-5,
    warmup: Annotated[float, typer.Option(help="Share of the steps over which it rises.")] = 0.06,
    weight_decay: Annotated[float, typer.Option(help="On matrices only.")] = 0.01,
    max_tokens: Annotated[int, typer.Option(help="Longer texts are cut.")] = 128,
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 0,
    precision: Annotated[str, typer.Option(help="auto, float32 or bfloat16 (mixed).")] = "auto",
    save_every: Annotated[int, typer.Option(help="Steps between checkpoints.")] = 500,
    revision: Annotated[str | None, typer.Option(help="The hub model's commit.")] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Of the CPU. Default: torch's choice.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    home: HomeOption = None,
) -> None:
    """Train a base classifier from any encoder, and test it in every language.

    The same command continues an interrupted training.

    Exit codes: 0 done, 2 bad input, 130 interrupted.
    """
    place = home_of(home)
    check_target("--out", out, "a folder")
    options, problems = _settings(data or [])
    if epochs is not None and steps is not None:
        problems.append(Problem("--epochs, --steps", None, "both are given", "give one of them"))
    from studies.finetuning import train_and_publish
    from studies.pools import n_gpus
    from studies.progress import StageProgress
    from studies.recipes import Request, recipe_of

    request = Request(
        encoder=encoder,
        revision=revision,
        out=out,
        dataset=options | _given(name=dataset, path=path, split=split, limit=limit),
        training=_given(
            languages=_languages(languages),
            epochs=epochs,
            steps=steps,
            batch=batch,
            lr=lr,
            warmup=warmup,
            weight_decay=weight_decay,
            max_tokens=max_tokens,
            seed=seed,
            precision=precision,
            save_every=save_every,
        ),
        test_split=test_split,
        test_path=test_path,
        test_languages=_languages(test_languages),
        test_limit=test_limit,
        device="cuda" if n_gpus() else "cpu",
    )
    say = Console(stderr=True, highlight=False, soft_wrap=True).print
    with StageProgress() as progress:
        recipe = recipe_of(request, place.cache, progress.stage, problems)
        if not recipe.encoder.is_editable:
            say(f"Note: {recipe.encoder.architecture} models cannot be edited here yet.")
        outcome = train_and_publish(recipe, out, place, progress, _markdown, threads=threads)
    if outcome.trouble:
        say(f"MLflow is not up to date ({outcome.trouble}); the same command mends it")
    if outcome.record is None:
        say(
            f"Interrupted at step {outcome.step} of {recipe.n_steps}; everything done is kept. "
            "Continue with the same command."
        )
        raise typer.Exit(EXIT_INTERRUPTED)
    if outcome.state == "reused":
        say(f"Nothing to train: {out} holds this model already.", markup=False)
    if as_json:
        typer.echo(json.dumps(outcome.record, ensure_ascii=False, allow_nan=False, indent=1))
        return
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 100)
    console.print(_table(outcome.record))
    console.print(_footnote(outcome.record), style="dim")
    console.print(
        f"Edit it with: mpn run STUDY --set base.backbone.name={out}", markup=False, soft_wrap=True
    )


def _settings(given: Sequence[str]) -> tuple[dict[str, Any], list[Problem]]:
    """Read ``KEY=VALUE`` settings, values as in a study file."""
    options: dict[str, Any] = {}
    problems = []
    for setting in given:
        key, equals, text = setting.partition("=")
        document = read(text.encode())
        if not equals or not key or not text.strip():
            problems.append(Problem("--data", None, repr(setting), "write KEY=VALUE"))
        elif key == "languages":
            problems.append(Problem("--data", None, repr(setting), "use --languages"))
        elif document.problems:
            problems += [
                Problem(f"--data {key}", None, one.found, one.wanted) for one in document.problems
            ]
        else:
            options[key] = document.value
    return options, problems


def _given(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _languages(text: str) -> Any:
    return "all" if text == "all" else [name.strip() for name in text.split(",")]


def _rows(record: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str, str, str]]:
    """Yield the cells of each language, in percent."""
    trained = record["training"]["languages"]
    for language, found in record["accuracy"].items():
        agreement = found["agreement"]
        yield (
            language,
            "yes" if language in trained else "",
            f"{100 * found['accuracy']:.1f}",
            f"{100 * found['low']:.1f} – {100 * found['high']:.1f}",
            "–" if agreement is None else f"{100 * agreement:.1f}",
            str(found["n"]),
        )


def _columns(record: Mapping[str, Any]) -> tuple[str, ...]:
    source = record["training"]["languages"][0]
    return ("language", "trained on", "accuracy", "95 % interval", f"as in {source}", "n")


def _table(record: Mapping[str, Any]) -> Table:
    table = Table(title="Accuracy on held-out examples, %", title_justify="left")
    for name in _columns(record):
        table.add_column(name, justify="left" if name in ("language", "trained on") else "right")
    for row in _rows(record):
        table.add_row(*row)
    return table


def _markdown(record: Mapping[str, Any]) -> str:
    lines = [_columns(record), tuple("---" for _ in _columns(record)), *_rows(record)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines) + f"\n{_footnote(record)}\n"


def _footnote(record: Mapping[str, Any]) -> str:
    left_out = record["test"]["left_out"]
    return (
        f"Always saying the most frequent label: {100 * record['most_frequent_label']:.1f} %. "
        "Wilson intervals, as if texts were independent."
        + (f" {left_out} test examples were left out: they are trained on." if left_out else "")
    )
