"""The commands that plan, run and show studies."""

import contextlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from orchestrator.errors import suggestion
from orchestrator.home import Home
from orchestrator.labels import brief
from orchestrator.own_files import own_file
from orchestrator.redaction import redact
from studies.analysis.language_tables import (
    language_table,
    metrics_by_language,
    paper_metrics,
    render_language_table,
    terminal_language_tables,
)
from studies.analysis.tables import cautions, footnote, render_table, terminal_table
from studies.commands.launching import (
    ActorsOption,
    AddressOption,
    ExecutorOption,
    JoinOption,
    WaitOption,
    exit_if_failed,
    launch,
    lend_a_hand,
    pool_wish,
    say,
)
from studies.commands.options import (
    FormatOption,
    HomeOption,
    SetOption,
    at_home,
    check_format,
    check_target,
    home_of,
    load_spec,
    memory_of,
    place_words,
    results_of,
    usage_error,
)

commands = typer.Typer()

SpecArgument = Annotated[
    str, typer.Argument(help="A study file, or the name of one that comes with mpn.")
]
StudyArgument = Annotated[str, typer.Argument(help="Name of a study that was run in this home.")]


@commands.command()
@at_home
def run(
    spec: SpecArgument,
    home: HomeOption = None,
    executor: ExecutorOption = "ray",
    actors: ActorsOption = None,
    address: AddressOption = None,
    wait: WaitOption = 0.0,
    set_: SetOption = None,
    join: JoinOption = False,
) -> None:
    """Start a study, or continue it: what is finished is never run again.

    A study that another driver runs is refused; --join helps that driver instead.

    Exit codes: 0 done, 2 bad input, 3 finished with failed trials, 130 interrupted by Ctrl-C, 143
    by SIGTERM.
    """
    wish = pool_wish(executor, actors, address, wait)
    study = load_spec(spec, set_ or [])
    place = home_of(home)
    again = _again(spec, home, address, set_ or [])
    if join:
        lend_a_hand(study, place, wish=wish, again=again)
        return
    report = launch(study, place, wish=wish, again=again)
    for caution in cautions(results_of(study.study, place)):
        say(caution)
    suffix = "".join(f" {word}" for word in place_words(home))
    say(f"See it with: mpn table {study.study}{suffix}, mpn report ..., mpn ui{suffix}")
    exit_if_failed(report)


@commands.command()
@at_home
def resume(
    study: StudyArgument,
    home: HomeOption = None,
    executor: ExecutorOption = "ray",
    actors: ActorsOption = None,
    address: AddressOption = None,
    wait: WaitOption = 0.0,
) -> None:
    """Continue a study by its name, as it was last run in this home."""
    memory = memory_of(study, home_of(home))
    path = home_of(home).path / "studies" / f"{study}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    own_file(path).write_text(json.dumps(memory["spec"]))
    run(str(path), home, executor, actors, address, wait)


@commands.command()
@at_home
def plan(
    spec: SpecArgument,
    home: HomeOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    set_: SetOption = None,
) -> None:
    """Show what a study would run, without running it."""
    study = load_spec(spec, set_ or [])
    from studies.objectives.registry import OBJECTIVES
    from studies.planning import planned

    content = planned(study, OBJECTIVES[study.objective], home_of(home, is_written=False))
    if as_json:
        typer.echo(json.dumps(content, allow_nan=False, indent=1))
        return
    table = Table(title=f"{study.study}: {study.question}", title_justify="left")
    for column in (
        "trial",
        *(content["trials"][0]["params"] if content["trials"] else ()),
        "blocks",
        "in ledger",
    ):
        table.add_column(column)
    for trial in content["trials"]:
        values = [brief(value) for value in trial["params"].values()]
        mark = " (baseline)" if trial["baseline"] else ""
        table.add_row(
            f"{trial['trial']} {trial['label']}{mark}",
            *values,
            str(trial["blocks"]),
            str(trial["blocks_in_ledger"]),
        )
    if content["trials"]:
        Console().print(table)
    counts, unit = content["totals"], content["unit"]
    if content["search"]:
        typer.echo(f"{counts['trials']} trials, which are chosen as the search runs.")
    else:
        typer.echo(
            f"{counts['trials']} trials, {counts['blocks']} blocks, {counts['units']} {unit}; "
            f"{counts['blocks_in_ledger']} blocks are in the ledger already."
        )
    if not content["prepared"]:
        typer.echo(
            "The base model is not here yet, or an editor not trained; that is done before the "
            "first block."
        )


@commands.command()
@at_home
def status(
    study: StudyArgument,
    home: HomeOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Follow it until it ends; Ctrl-C leaves it running.")
    ] = False,
    every: Annotated[
        float, typer.Option(min=0.1, help="Seconds between two looks with --watch.")
    ] = 2.0,
) -> None:
    """Show how far a study is."""
    from orchestrator.status import study_status

    place = home_of(home)
    if watch:
        if as_json:
            raise usage_error("--watch", "--json", "one of the two")
        _watch(study, place, every)
        return
    content = study_status(study, memory_of(study, place), place)
    if as_json:
        typer.echo(json.dumps(content, allow_nan=False, indent=1))
        return
    console = Console(highlight=False)
    console.print(f"{study}: {content['state']}")
    for what in ("trials", "blocks"):
        counts = ", ".join(f"{n} {state}" for state, n in content[what].items() if n)
        console.print(f"  {what}: {counts or 'none yet'}")
    if content["last_run"]:
        console.print(
            "  last run: " + ", ".join(f"{k} {v}" for k, v in content["last_run"].items())
        )


@commands.command()
@at_home
def table(
    study: StudyArgument,
    home: HomeOption = None,
    form: FormatOption = "",
    by_language: Annotated[
        bool, typer.Option("--by-language", help="A column per language, a block per metric.")
    ] = False,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            help="With --by-language: a metric to show. Repeat. "
            "Default: reliability, generality, cross_lingual_generality, locality.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Show what a study found: a row per trial, with intervals over streams.

    mpn table editors --by-language --format latex
    """
    check_format(form)
    results = results_of(study, home_of(home))
    if metric and not by_language:
        raise usage_error("--metric", " ".join(metric), "give --by-language, too")
    console = Console(width=None if sys.stdout.isatty() else 120)
    if not results.rows() and not form:
        typer.echo(f"{study} has no complete block yet.")
        return
    if by_language:
        known = metrics_by_language(results)
        for name in metric or ():
            if name not in known:
                raise usage_error("--metric", name, suggestion(name, known, "By language"))
        layout = language_table(results, metric or paper_metrics(results))
        if form:
            typer.echo(render_language_table(layout, form), nl=False)
            return
        for one in terminal_language_tables(layout):
            console.print(one)
        console.print(layout.note, style="dim")
        return
    if form:
        typer.echo(render_table(results, form), nl=False)
        return
    console.print(terminal_table(results, console.width))
    console.print(footnote(results), style="dim")


@commands.command()
@at_home
def report(
    study: StudyArgument,
    home: HomeOption = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o", "--out", help="File. Default: STUDY.html in the home.", show_default=False
        ),
    ] = None,
) -> None:
    """Draw a study as one self-contained HTML page."""
    from dashboards.report import render_report

    place = home_of(home)
    target = out or own_file(place.path / "reports" / f"{study}.html")
    check_target("--out", target, "a file")
    page = render_report(results_of(study, place))
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(page, encoding="utf-8")
    typer.echo(str(target))


@commands.command()
@at_home
def ui(
    home: HomeOption = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on 127.0.0.1.")] = 5000,
) -> None:
    """Serve the MLflow UI over a home, on 127.0.0.1, unless a server does already."""
    place = home_of(home)
    if place.artifacts is None:
        say(f"MLflow is served already: {redact(place.mlflow_uri)}")
        return
    if place.services.mlflow is None and not (place.path / "mlflow.db").exists():
        raise usage_error("--home", str(place.path), "a home in which a study was run")
    typer.echo(f"MLflow: http://127.0.0.1:{port}  (Ctrl-C ends it)", err=True)
    arguments = [
        sys.executable, "-m", "mlflow", "server",
        "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
        "--default-artifact-root", place.artifacts.resolve().as_uri(),
    ]  # fmt: skip
    environment = {
        **os.environ,
        "MLFLOW_BACKEND_STORE_URI": place.mlflow_uri,  # not for the table of processes
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    os.execve(sys.executable, arguments, environment)


@commands.command()
@at_home
def doctor(home: HomeOption = None) -> None:
    """Check what is installed, which devices there are, and whether a study could run."""
    from studies.doctor import checks

    console = Console(highlight=False)
    bad = 0
    for check in checks(home_of(home, is_written=False)):
        mark = "[green]ok [/green]" if check.good else "[red]bad[/red]"
        console.print(f"{mark} {check.name}: {check.found}")
        bad += not check.good
    if bad:
        raise typer.Exit(2)


def _watch(study: str, home: Home, every_s: float) -> None:
    from orchestrator.ledger import Ledger
    from orchestrator.live_status import StudyWatch
    from studies.watching import watch

    memory_of(study, home)  # or says that it is not here
    with contextlib.suppress(KeyboardInterrupt):
        looking = StudyWatch(Ledger(home.ledger), study, time.monotonic)
        watch(looking, Console(highlight=False), every_s)


def _again(spec: str, home: Path | None, address: str | None, overrides: list[str]) -> str:
    words = ["mpn run", spec, *place_words(home)]
    words += ["--address", address] if address else []
    return " ".join([*words, *(f"--set {override}" for override in overrides)])
