"""`mpn edit`: one edit by hand."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from orchestrator.errors import InputError, Problem
from studies.commands.options import HomeOption, SetOption, home_of, load_spec, target_problem

if TYPE_CHECKING:
    from studies.by_hand import Answered

_LONGEST_SHOWN = 60
_MOST_CHANGES_SHOWN = 5
_SHORTEST_TEXT = 16

commands = typer.Typer()


@commands.command()
def edit(
    spec: Annotated[
        str,
        typer.Argument(help="A study: it says which model, which data, and how edits are made."),
    ] = "quickstart",
    label: Annotated[str, typer.Option(help="What the model shall say.", show_default=False)] = "",
    text: Annotated[
        list[str] | None,
        typer.Option(metavar="LANG=TEXT", help="The text; the first is the source. Repeat."),
    ] = None,
    second: Annotated[
        list[str] | None,
        typer.Option(
            "--second", metavar="LANG=TEXT", help="Second segment of a text pair (hypothesis)."
        ),
    ] = None,
    row: Annotated[
        str | None, typer.Option(metavar="ID", help="An example of the data, instead of texts.")
    ] = None,
    pair: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LANGS",
            help="Trained on beside the source: fr,sw; all, the default; none. Repeat.",
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Another model than the study's: a folder, or a hub name.")
    ] = None,
    revision: Annotated[str | None, typer.Option(help="The hub model's commit.")] = None,
    data: Annotated[
        bool, typer.Option(help="Use the study's data as memory and for side effects.")
    ] = True,
    out: Annotated[Path, typer.Option("-o", "--out", help="Where the patch goes.")] = Path(
        "edit.safetensors"
    ),
    export: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Write the edited model as a checkpoint, too."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    home: HomeOption = None,
    set_: SetOption = None,
) -> None:
    """Make one edit, and show what the model says before and after, in every language.

    mpn edit --text en="Anna was born in Oslo." --text fr="Anna est née à Oslo." --label REFUTES
    """
    overrides = list(set_ or [])
    if model is not None:
        overrides += [f"base.backbone.name={json.dumps(model)}"]
    if revision is not None:
        overrides += [f"base.backbone.revision={json.dumps(revision)}"]
    study = load_spec(spec, overrides)
    problems = list(_problems(label, text or [], second or [], row, data, out, export))
    if problems:
        raise InputError("the command", problems, "Nothing was edited.")
    from studies.by_hand import Wish, answer
    from studies.progress import ConsoleWatcher

    wish = Wish(
        label,
        _texts(text or [], second or []),
        row,
        ",".join(pair or ["all"]),
        data,
    )
    with ConsoleWatcher("edits") as watcher:
        found = answer(study.base, wish, home_of(home), watcher.preparing, out=out, export=export)
    if as_json:
        typer.echo(json.dumps(found.to_json(), ensure_ascii=False, allow_nan=False, indent=1))
        return
    _show(found, out, export)


def _problems(
    label: str,
    text: Sequence[str],
    second: Sequence[str],
    row: str | None,
    data: bool,
    out: Path,
    export: Path | None,
) -> Iterator[Problem]:
    """Yield what is wrong with the options, as far as they tell."""
    if not label:
        yield Problem("--label", None, "is missing", "name what the model shall say")
    if bool(text) == (row is not None):
        found = "both a row and texts" if text else "neither a row nor a text"
        yield Problem("--text, --row", None, found, "give --text LANG=TEXT, or --row ID")
    if row is not None and not data:
        yield Problem("--no-data", None, "a row is of the data", "leave one of them out")
    known: dict[str, set[str]] = {}
    for option, values in (("--text", text), ("--second", second)):
        known[option] = set()
        for value in values:
            language, equals, body = value.partition("=")
            if not equals or not language or not body.strip():
                yield Problem(option, None, repr(value), 'write LANG=TEXT: en="A claim."')
            elif language in known[option]:
                yield Problem(option, None, f"{language} twice", "give each language once")
            known[option].add(language)
    if known["--second"] and known["--second"] != known["--text"]:
        languages = ", ".join(sorted(known["--second"] ^ known["--text"]))
        found = f"{languages} in one of --text and --second only"
        yield Problem("--second", None, found, "give both for each language")
    for option, path in (("--out", out), ("--export", export)):
        if path is not None and path.exists():
            yield Problem(option, None, f"{path} exists already", "name another, or remove it")
        elif path is not None and (problem := target_problem(option, path, "a file")):
            yield problem


def _texts(text: Sequence[str], second: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Put the segments of each language together."""
    texts: dict[str, tuple[str, ...]] = {}
    for value in (*text, *second):
        language, _, body = value.partition("=")
        texts[language] = (*texts.get(language, ()), body)
    return texts


def _show(found: "Answered", out: Path, export: Path | None) -> None:
    console = Console(highlight=False)
    console.print(_table(found, console.width))
    effects = found.effects
    if effects is None:
        console.print("Side effects were not measured: no data.")
    else:
        total, changed = sum(effects.n_texts.values()), len(effects.changes)
        console.print(
            f"Side effects: {changed} of {total} held-out texts in {len(effects.n_texts)} "
            f"languages changed their label ({100 * (1 - changed / total):.2f} % kept it)."
        )
        for change in effects.changes[:_MOST_CHANGES_SHOWN]:
            labels = f"{found.labels[change.before]} → {found.labels[change.after]}"
            console.print(
                f"  {change.language}  {_short(' / '.join(change.text))}  {labels}", markup=False
            )
    console.print(f"Patch: {out}. Use it with:", markup=False)
    console.print(f'  mpn.load_edited("{found.model}", "{out}")', markup=False, soft_wrap=True)
    if export is not None:
        console.print("Edited model: load it with transformers alone:", markup=False)
        line = f'  AutoModelForSequenceClassification.from_pretrained("{export}")'
        console.print(line, markup=False, soft_wrap=True)


def _table(found: "Answered", width: int) -> Table:
    """Return a line for each language, its text cut to what fits."""
    table = Table(title=found.about, title_justify="left")
    for column in ("language", "", "text", "before", "after"):
        table.add_column(column, no_wrap=True)
    lines = [
        (a.language, a.role, " / ".join(a.text), found.said(a.before), found.said(a.after))
        for a in found.outcome.answers
    ]
    widest = [max(map(cell_len, cells)) for cells in zip(*lines, strict=True)]
    others = len("language") + widest[1] + widest[3] + widest[4] + 3 * len(widest) + 1
    for answer, line in zip(found.outcome.answers, lines, strict=True):
        language, role, text, before, after = map(Text, line)
        text.truncate(max(_SHORTEST_TEXT, width - others), overflow="ellipsis")
        best = max(range(len(answer.after)), key=answer.after.__getitem__)
        after.stylize("green" if best == found.label else "red")
        table.add_row(language, role, text, before, after)
    return table


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 1] + "…"
