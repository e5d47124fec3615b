"""The mpn command line."""

import functools
import json
import logging
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from orchestrator.errors import InputError, OrchestratorError, Problem, suggestion
from orchestrator.home import Home
from orchestrator.ledger import Ledger
from orchestrator.results import StudyResults
from orchestrator.scheduler import Failure
from orchestrator.spec import StudySpec
from studies.analysis.tables import FORMATS, cautions, footnote, render_table, terminal_table

EXIT_FAILED_TRIALS = 3
EXIT_INTERRUPTED = 130

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help=(
        "Ablation studies of cross-lingual model editing.\n\n"
        "Start with [bold]mpn run quickstart[/bold], then [bold]mpn table quickstart[/bold], "
        "[bold]mpn report quickstart[/bold] and [bold]mpn ui[/bold]."
    ),
)

SpecArgument = Annotated[
    str, typer.Argument(help="A study file, or the name of one that comes with mpn.")
]
StudyArgument = Annotated[str, typer.Argument(help="Name of a study that was run in this home.")]
HomeOption = Annotated[
    Path | None,
    typer.Option(
        help="Folder of results. Default: $MPN_HOME, else ./mpn-home.", show_default=False
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PATH=VALUE", help="Override a value of the study file."),
]


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; errors of the user's are said in full and end with exit code 2.

    Args:
        arguments: Words after ``mpn``; None takes the process's own.
    """
    for name, value in {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "RAY_USAGE_STATS_ENABLED": "0",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }.items():
        os.environ.setdefault(name, value)
    try:
        app(arguments)
    except OrchestratorError as error:
        typer.echo(str(error), err=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        typer.echo("stopped at once; what was checkpointed is kept", err=True)
        sys.exit(EXIT_INTERRUPTED)


@app.command()
def run(
    spec: SpecArgument,
    home: HomeOption = None,
    executor: Annotated[
        str, typer.Option(help="ray, or inline: in this process, for debugging.")
    ] = "ray",
    actors: Annotated[
        int | None,
        typer.Option(min=1, help="Ray actors. Default: one a GPU, or else one a CPU core."),
    ] = None,
    set_: SetOption = None,
) -> None:
    """Start a study, or continue it: what is finished is never run again.

    Exit codes: 0 done, 2 bad input, 3 finished with failed trials, 130 interrupted.
    """
    if executor not in ("ray", "inline"):
        raise _usage("--executor", executor, "ray or inline")
    study = _load(spec, set_ or [])
    place = _home(home)
    _log_to_file(place, study.study)
    from studies.objectives.registry import OBJECTIVES
    from studies.progress import ConsoleWatcher
    from studies.running import run_study

    objective = OBJECTIVES[study.objective]
    with ConsoleWatcher(objective.unit) as watcher:
        report, trouble = run_study(
            study,
            objective,
            place,
            watcher,
            executor="inline" if executor == "inline" else "ray",
            actors=actors,
        )
    say = functools.partial(Console(stderr=True, highlight=False).print, soft_wrap=True)
    for failure in report.failures:
        say(_failure_lines(study.study, failure, place, spec), markup=False)
    if trouble:
        say(f"MLflow is not up to date ({trouble}); run the same command again to mend it")
    last = report.last_run
    if report.state == "interrupted":
        say(
            f"Interrupted; everything done is kept. Continue with: {_again(spec, home, set_ or [])}"
        )
        raise typer.Exit(EXIT_INTERRUPTED)
    if last.blocks_executed == 0 and report.state == "done":
        say(f"Nothing to run: all {last.blocks_reused} blocks of {study.study} are complete.")
    else:
        say(
            f"{study.study} {report.state}: {last.blocks_executed} blocks run, "
            f"{last.blocks_reused} reused, {last.actors} actors, {last.model_loads} model loads"
            + (f", {last.units_per_s:.1f} {objective.unit}/s" if last.units_per_s else "")
        )
    for caution in cautions(_results(study.study, place)):
        say(caution, markup=False)
    suffix = "" if home is None else f" --home {home}"
    say(f"See it with: mpn table {study.study}{suffix}, mpn report ..., mpn ui{suffix}")
    if report.state == "failed":
        raise typer.Exit(EXIT_FAILED_TRIALS)


@app.command()
def resume(
    study: StudyArgument,
    home: HomeOption = None,
    executor: Annotated[str, typer.Option(help="ray or inline.")] = "ray",
    actors: Annotated[int | None, typer.Option(min=1, help="Ray actors.")] = None,
) -> None:
    """Continue a study by its name, as it was last run in this home."""
    memory = _memory(study, _home(home))
    path = _home(home).path / "studies" / f"{study}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(memory["spec"]))
    run(str(path), home, executor, actors)


@app.command()
def plan(
    spec: SpecArgument,
    home: HomeOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    set_: SetOption = None,
) -> None:
    """Show what a study would run, without running it."""
    study = _load(spec, set_ or [])
    from studies.objectives.registry import OBJECTIVES
    from studies.planning import planned

    content = planned(study, OBJECTIVES[study.objective], _home(home))
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
        values = [json.dumps(value) for value in trial["params"].values()]
        mark = " (baseline)" if trial["baseline"] else ""
        table.add_row(
            f"{trial['trial']} {trial['label']}{mark}",
            *values,
            str(trial["blocks"]),
            str(trial["blocks_in_ledger"]),
        )
    Console().print(table)
    counts = content["totals"]
    typer.echo(
        f"{counts['trials']} trials, {counts['blocks']} blocks, {counts['units']} "
        f"{content['unit']}; {counts['blocks_in_ledger']} blocks are in the ledger already."
    )
    if not content["prepared"]:
        typer.echo("The base model is not built yet; it will be, before the first block.")


@app.command()
def status(
    study: StudyArgument,
    home: HomeOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Show how far a study is."""
    from orchestrator.status import study_status

    place = _home(home)
    content = study_status(study, _memory(study, place), place)
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


@app.command()
def table(
    study: StudyArgument,
    home: HomeOption = None,
    form: Annotated[
        str, typer.Option("--format", help=f"{', '.join(FORMATS)}; default: for this terminal.")
    ] = "",
) -> None:
    """Show what a study found: a row per trial, with intervals over streams."""
    results = _results(study, _home(home))
    if form:
        if form not in FORMATS:
            raise _usage("--format", form, ", ".join(FORMATS))
        typer.echo(render_table(results, form), nl=False)
        return
    if not results.rows():
        typer.echo(f"{study} has no complete block yet.")
        return
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(terminal_table(results, console.width))
    console.print(footnote(results), style="dim")


@app.command()
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

    place = _home(home)
    target = out or place.path / "reports" / f"{study}.html"
    page = render_report(_results(study, place))
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(page, encoding="utf-8")
    typer.echo(str(target))


@app.command()
def ui(
    home: HomeOption = None,
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1.")] = 5000,
) -> None:
    """Serve the MLflow UI over a home, on 127.0.0.1."""
    place = _home(home)
    if not (place.path / "mlflow.db").exists():
        raise _usage("--home", str(place.path), "a home in which a study was run")
    typer.echo(f"MLflow: http://127.0.0.1:{port}  (Ctrl-C ends it)", err=True)
    arguments = [
        sys.executable, "-m", "mlflow", "server",
        "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
        "--backend-store-uri", place.mlflow_uri,
        "--default-artifact-root", place.artifacts.resolve().as_uri(),
    ]  # fmt: skip
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    os.execve(sys.executable, arguments, environment)


@app.command()
def doctor(home: HomeOption = None) -> None:
    """Check what is installed, which devices there are, and whether a study could run."""
    from studies.doctor import checks

    console = Console(highlight=False)
    bad = 0
    for check in checks(_home(home)):
        mark = "[green]ok [/green]" if check.good else "[red]bad[/red]"
        console.print(f"{mark} {check.name}: {check.found}")
        bad += not check.good
    if bad:
        raise typer.Exit(2)


def _load(spec: str, overrides: list[str]) -> StudySpec:
    """Read a study file, or one of those that come with the package."""
    from orchestrator.loading import load_study
    from studies.objectives.registry import OBJECTIVES
    from studies.running import bundled_specs

    path = Path(spec)
    bundled = bundled_specs() / f"{spec}.yaml"
    if not path.exists() and "/" not in spec and bundled.exists():
        path = bundled
    return load_study(path, OBJECTIVES, overrides)


def _home(home: Path | None) -> Home:
    return Home(home or Path(os.environ.get("MPN_HOME") or "mpn-home"))


def _memory(study: str, home: Home) -> dict[str, Any]:
    ledger = Ledger(str(home.ledger))
    known = ledger.study_names()
    memory = ledger.study(study) if study in known else None
    if memory is None:
        wanted = suggestion(study, known, "Run here") if known else "no study was run here yet"
        raise InputError(
            f"home {home.path}", [Problem("study", None, f"{study!r} is not here", wanted)], ""
        )
    return memory


def _results(study: str, home: Home) -> StudyResults:
    _memory(study, home)
    results = StudyResults.load(Ledger(str(home.ledger)), study)
    assert results is not None
    return results


def _usage(option: str, found: str, wanted: str) -> InputError:
    return InputError(
        "the command", [Problem(option, None, repr(found), wanted)], "Nothing was done."
    )


def _again(spec: str, home: Path | None, overrides: list[str]) -> str:
    words = ["mpn run", spec, *(["--home", str(home)] if home else [])]
    return " ".join([*words, *(f"--set {override}" for override in overrides)])


def _failure_lines(study: str, failure: Failure, home: Home, spec: str) -> str:
    """Say in six lines why a trial failed."""
    return "\n".join(
        [
            f"trial {failure.trial} of {study} failed",
            f"  attempt   {failure.attempt} of {failure.attempts}",
            f"  cause     {failure.reason}",
            f"  worker    {failure.worker or 'lost'}",
            f"  log       {home.logs / (study + '.log')}",
            f"  retried   not in this run; try again with: mpn run {spec} --home {home.path}",
        ]
    )


def _log_to_file(home: Home, study: str) -> None:
    home.logs.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(
        filename=home.logs / f"{study}.log",
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
        force=True,
    )
