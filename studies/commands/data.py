"""`mpn data`: corpora by machine translation, and their review by people."""

import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from rich import box
from rich.console import Console
from rich.table import Table

from orchestrator.errors import InputError, Problem, problems_in
from orchestrator.strict_yaml import read
from studies.commands.launching import (
    ActorsOption,
    ExecutorOption,
    exit_if_failed,
    launch,
    pool_wish,
)
from studies.commands.options import HomeOption, at_home, home_of, usage_error

_OPTIONS = {
    "dataset.name": "--dataset",
    "dataset.path": "--path",
    "dataset.split": "--split",
    "dataset.revision": "--data-revision",
    "dataset": "--data",
    "source_language": "--from",
    "target.language": "--to",
    "target.rephrase_via": "--rephrase-via",
    "translator.name": "--model",
    "translator.back": "--back-model",
    "translator.revisions": "--revision",
    "translator.codes": "--code",
    "translator": "--model",
}
_NOTHING = "Nothing was launched."

commands = typer.Typer(no_args_is_help=True, help="Build parallel corpora, and review them.")
review = typer.Typer(no_args_is_help=True, help="Hand flagged rows to people, and back.")
commands.add_typer(review, name="review")

FolderArgument = Annotated[Path, typer.Argument(help="A folder that mpn data translate wrote.")]


@commands.command()
@at_home
def translate(
    context: typer.Context,
    model: Annotated[
        str,
        typer.Option(
            help="M2M100, NLLB or Marian: a folder, or a name on the hub. "
            "{source} and {target} in it stand for the languages of each direction."
        ),
    ],
    licence: Annotated[str, typer.Option("--licence", "--license", help="Of the source corpus.")],
    to: Annotated[list[str] | None, typer.Option(help="Language to translate to. Repeat.")] = None,
    dataset: Annotated[str, typer.Option(help="The source corpus, as a study names it.")] = "mini",
    path: Annotated[Path | None, typer.Option(help="Its folder.")] = None,
    split: Annotated[str | None, typer.Option(help="Its split.")] = None,
    data_revision: Annotated[
        str | None, typer.Option(help="Its commit, where it is on the hub.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Its first rows only.")] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Another of its settings: evidence=true. Repeat."),
    ] = None,
    source: Annotated[str, typer.Option("--from", help="Its language.")] = "en",
    revision: Annotated[
        list[str] | None,
        typer.Option(metavar="COMMIT", help="The hub model's commit, or MODEL=COMMIT. Repeat."),
    ] = None,
    back_model: Annotated[
        str | None,
        typer.Option(help="Translates back, where --model is a Marian model of one direction."),
    ] = None,
    rephrase_via: Annotated[
        list[str] | None,
        typer.Option(metavar="LANG", help="Make rephrases through this language. Repeat."),
    ] = None,
    code: Annotated[
        list[str] | None,
        typer.Option(metavar="LANG=CODE", help="What the model calls a language. Repeat."),
    ] = None,
    check: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=NUMBER", help="Where a check draws its line: round_trip=40. Repeat."
        ),
    ] = None,
    beams: Annotated[int, typer.Option(min=1, help="Width of the beam search.")] = 4,
    batch: Annotated[int, typer.Option(min=1, help="Rows translated together.")] = 16,
    max_tokens: Annotated[int, typer.Option(min=8, help="Longest text, in tokens.")] = 256,
    shard: Annotated[int, typer.Option(min=1, help="Rows a block.")] = 256,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o", "--out", help="Folder. Default: in the home, under corpora.", show_default=False
        ),
    ] = None,
    executor: ExecutorOption = "ray",
    actors: ActorsOption = None,
    home: HomeOption = None,
) -> None:
    """Translate a corpus, check it, and write it as a data set; or go on with that.

    The same command continues after a kill or an interruption. Labels and ids stay the source's.
    Exit codes: 0 done, 2 bad input, 3 a language failed, 130 interrupted.

    Example: mpn data translate --to fr --to sw --model FOLDER --licence apache-2.0
    """
    pool = pool_wish(executor, actors)
    from mpn.data.settings import DatasetSettings
    from mpn.translation.corpora import check_replaceable
    from mpn.translation.settings import CheckSettings, TranslatorSettings
    from studies.objectives.method_errors import input_errors
    from studies.translating import Wish, check_models, load_source, problems_of, publish, study_of

    problems: list[Problem] = []
    codes = _pairs("--code", code, problems, "LANG=CODE: fr=fra_Latn")
    lines = _pairs("--check", check, problems, "NAME=NUMBER: round_trip=40")
    corpus_options = {
        "name": dataset,
        "path": None if path is None else str(path),
        "revision": data_revision,
        "limit": limit,
        **({} if split is None else {"split": split}),
        **dict(_values(_pairs("--data", data, problems, "NAME=VALUE: evidence=true"), problems)),
    }
    corpus_settings = _settings(DatasetSettings, corpus_options, "dataset", problems)
    translator = _settings(
        TranslatorSettings,
        {
            "name": _absolute(model),
            "back": back_model and _absolute(back_model),
            "revisions": _revisions(model, revision or []),
            "codes": codes,
            "beams": beams,
            "batch": batch,
            "max_tokens": max_tokens,
        },
        "translator",
        problems,
    )
    checks = _settings(CheckSettings, dict(_numbers(lines, problems)), "--check", problems)
    if not to and not rephrase_via:
        problems.append(Problem("--to", None, "nothing to make", "--to LANG, or --rephrase-via"))
    if source in (to or []):
        problems.append(Problem("--to", None, f"{source} is the source language", "name others"))
    if problems:
        raise InputError("the command", _named_as_options(problems), _NOTHING)
    wish = Wish(
        dataset=corpus_settings,
        source=source,
        targets=tuple(dict.fromkeys(to or [])),
        translator=translator,
        licence=licence,
        checks=checks,
        rephrase_via=tuple(dict.fromkeys(rephrase_via or [])),
        shard_size=shard,
    )
    problems = problems_of(wish)
    if problems:
        raise InputError("the command", _named_as_options(problems), _NOTHING)
    place = home_of(home)
    try:
        with input_errors("the command", _NOTHING):
            check_models(wish)
            corpus, n_rows = load_source(wish, place)
            study = study_of(wish, n_rows)
            folder = out or place.path / "corpora" / study.study
            check_replaceable(folder)
    except InputError as error:
        raise InputError(error.file, _named_as_options(error.problems), error.footer) from error
    report = launch(study, place, wish=pool, again=_this_command(context))
    exit_if_failed(report)
    rows = publish(wish, study, corpus, place, folder)
    _show(rows)
    typer.echo(f"The corpus is in {folder}. Its flagged rows are handed to people with:")
    typer.echo(f"  mpn data review export {shlex.quote(str(folder))} -o flagged.csv")


@review.command("export")
def export(
    folder: FolderArgument,
    out: Annotated[Path, typer.Option("-o", "--out", help="The CSV.")] = Path("flagged.csv"),
    language: Annotated[
        str | None, typer.Option(help="One language only.", show_default=False)
    ] = None,
) -> None:
    """Write the flagged rows as a CSV, in which people decide: accept, correct or reject."""
    from mpn.translation.corpora import all_rows
    from mpn.translation.review import export_flagged
    from studies.objectives.method_errors import input_errors

    with input_errors("the command", "Nothing was written."):
        rows = all_rows(folder)
    languages = sorted({name for _, name in rows})
    if language is not None and language not in languages:
        raise usage_error("--language", language, f"the folder has {' '.join(languages)}")
    if out.exists():
        raise usage_error("--out", str(out), "a file that is not there yet")
    text, n_rows = export_flagged(rows, language)
    out.write_text(text, encoding="utf-8-sig", newline="")  # the mark tells Excel that it is UTF-8
    typer.echo(f"{n_rows} flagged rows in {out}. Write accept, correct or reject into the column")
    typer.echo("decision, a better text into correction, and take them back with:")
    words = shlex.join([str(folder), str(out)])
    typer.echo(f"  mpn data review import {words}")


@review.command("import")
def import_(
    folder: FolderArgument,
    reviewed: Annotated[Path, typer.Argument(help="The CSV with decisions.")],
) -> None:
    """Take decisions back; a row without one stays open. All of the file counts, or nothing."""
    from mpn.data.parallel_folder import write
    from mpn.translation.card import recount
    from mpn.translation.corpora import all_rows
    from mpn.translation.review import decided, read_decisions
    from studies.objectives.method_errors import input_errors

    state = f"Nothing was changed in {folder}."
    with input_errors("the command", state):
        rows = all_rows(folder)
    try:
        text = reviewed.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise usage_error("FILE", str(reviewed), f"a file: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise usage_error("FILE", str(reviewed), "save it as CSV in UTF-8") from error
    decisions, problems = read_decisions(text, rows)
    if problems:
        shown = [Problem(one.column, one.line, one.found, one.wanted) for one in problems]
        raise InputError(str(reviewed), shown, state)
    changed = decided(rows, decisions)
    with input_errors("the command", "Import the file again."):
        for (split, language), found in changed.items():
            write(folder, split, language, found)
        recount(folder, {**rows, **changed})
    n_open = sum(row.status == "flagged" for found in {**rows, **changed}.values() for row in found)
    typer.echo(f"{len(decisions)} decisions taken, {n_open} flagged rows are open.")


def _settings(model: Any, values: Mapping[str, object], place: str, problems: list[Problem]) -> Any:
    """Return settings; what is wrong with them is added to ``problems``."""
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        problems += [
            replace(one, place=f"{place}.{one.place}") for one in problems_in(error, model)
        ]
        return None


def _pairs(
    option: str, values: Iterable[str] | None, problems: list[Problem], wanted: str
) -> dict[str, str]:
    """Read the values ``NAME=VALUE`` of an option."""
    pairs: dict[str, str] = {}
    for value in values or []:
        name, equals, text = value.partition("=")
        if not (name and equals and text) or name in pairs:
            found = f"{name} twice" if name in pairs else repr(value)
            problems.append(Problem(option, None, found, wanted))
        pairs[name] = text
    return pairs


def _numbers(pairs: Mapping[str, str], problems: list[Problem]) -> Iterator[tuple[str, float]]:
    for name, text in pairs.items():
        try:
            yield name, float(text)
        except ValueError:
            problems.append(Problem("--check", None, f"{name}={text}", "NAME=NUMBER"))


def _values(pairs: Mapping[str, str], problems: list[Problem]) -> Iterator[tuple[str, object]]:
    """Read values as a study file has them."""
    for name, text in pairs.items():
        document = read(text.encode())
        problems += [replace(one, place=f"--data {name}", line=None) for one in document.problems]
        yield name, document.value


def _revisions(model: str, values: Iterable[str]) -> dict[str, str]:
    """Read commits; one without a name is of ``--model``."""
    pairs = (value.rpartition("=") for value in values)
    return {name or model: commit for name, _, commit in pairs}


def _absolute(model: str) -> str:
    """Return a folder's path as workers find it; another name stays."""
    is_path = "{" in model and Path(model.partition("{")[0]).parent.is_dir() and "/" in model
    return str(Path(model).resolve()) if Path(model).is_dir() or is_path else model


def _named_as_options(problems: Iterable[Problem]) -> list[Problem]:
    """Return problems with the option in the place of the setting that it sets."""

    def option(place: str) -> str:
        for prefix, name in _OPTIONS.items():
            if place == prefix or place.startswith((f"{prefix}.", f"{prefix}[")):
                return name
        return place.replace("--check.", "--check ")

    return [replace(problem, place=option(problem.place)) for problem in problems]


def _this_command(context: typer.Context) -> str:
    """Return the command as it was typed."""
    return shlex.join(["mpn", *context.obj])


def _show(rows: Any) -> None:
    from mpn.translation.card import count

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1))
    for column in ("language", "rows", "passed", "flagged", "by flag", "chrF", "rephrased"):
        table.add_column(column, justify="left" if column in ("language", "by flag") else "right")
    for one in count(rows):
        table.add_row(
            one.language,
            str(one.n_rows),
            "" if "source" in one.statuses else str(one.statuses.get("passed", 0)),
            "" if "source" in one.statuses else str(one.statuses.get("flagged", 0)),
            ", ".join(f"{flag} {n}" for flag, n in sorted(one.flags.items())),
            "" if one.round_trip is None else f"{one.round_trip:.1f}",
            str(one.n_rephrased) if one.n_rephrased else "",
        )
    Console(highlight=False).print(table)
