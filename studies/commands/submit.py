"""Studies on a cluster, from a machine that is none of its nodes."""

import os
import re
import secrets
import shlex
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from orchestrator.errors import InputError, Problem, shown
from orchestrator.spec import STUDY_NAME_RULE, is_study_name
from orchestrator.strict_yaml import read
from studies.commands.launching import say
from studies.commands.options import (
    EXIT_INTERRUPTED,
    SetOption,
    asked_services,
    at_home,
    spec_path,
    usage_error,
)

if TYPE_CHECKING:
    from orchestrator.cluster_jobs import ClusterJobs

commands = typer.Typer()

_PASSWORD = re.compile(r"://[^/@\s]*:[^/@\s]*@")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_STOPPED = "STOPPED"


@commands.command()
@at_home
def submit(
    context: typer.Context,
    address: Annotated[
        str, typer.Option(help="The cluster's dashboard: http://127.0.0.1:8265, say.")
    ],
    spec: Annotated[
        str | None,
        typer.Argument(
            help="A study file, or the name of one that comes along.", show_default=False
        ),
    ] = None,
    options: Annotated[
        list[str] | None,
        typer.Argument(help="After --: further options of mpn run.", show_default=False),
    ] = None,
    home: Annotated[
        Path | None,
        typer.Option(
            help="As the cluster's nodes see it: an absolute path, on a volume that they share "
            "unless services hold the rest.",
            show_default=False,
        ),
    ] = None,
    actors: Annotated[int | None, typer.Option(min=1, help="As for mpn run.")] = None,
    set_: SetOption = None,
    env: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Pass this variable of the environment on. Repeat. Those who may ask the "
            "dashboard for the job can read its value.",
        ),
    ] = None,
    wait: Annotated[bool, typer.Option(help="Follow the job to its end.")] = True,
    stop: Annotated[
        str | None, typer.Option(metavar="JOB", help="Stop a job at its next checkpoints.")
    ] = None,
    logs: Annotated[
        str | None, typer.Option(metavar="JOB", help="Follow a job that was submitted before.")
    ] = None,
) -> None:
    """Run a study on a Ray cluster, as a job on its head; submitting it again continues it.

    Ends with the exit code of mpn run. Ctrl-C ends the following only, the job goes on.

    mpn submit study.yaml --address http://127.0.0.1:8265 --home /shared/home
    """
    if sum(one is not None for one in (spec, stop, logs)) != 1:
        raise usage_error("STUDY", spec or "", "either a study, or --stop JOB, or --logs JOB")
    if stop is not None:
        was_running = _cluster(address).stop(stop)
        say(f"{stop} is told to stop" if was_running else f"{stop} had ended already")
        return
    if logs is not None:
        _follow(_cluster(address), logs, address, "")
    assert spec is not None
    words = _run_words(home, actors, set_ or [], options or [])
    variables = _variables(env or [])
    path = spec_path(spec)
    name = _study_name(path)
    cluster, job_id = _cluster(address), f"{name}-{secrets.token_hex(4)}"
    with tempfile.TemporaryDirectory(prefix="mpn-submit-") as folder:
        shutil.copyfile(path, Path(folder) / f"{name}.yaml")
        # exec: SIGTERM reaches mpn itself, not a shell before it
        command = "exec " + shlex.join(["mpn", "run", f"{name}.yaml", *words])
        cluster.submit(command, job_id, folder=Path(folder), environment=variables)
    again = shlex.join(["mpn", *context.obj])
    typer.echo(job_id)
    say(f"Submitted {name} as {job_id}. If it is stopped or dies, continue it with: {again}")
    say(f"Stop it with: mpn submit --stop {job_id} --address {address}")
    if wait:
        _follow(cluster, job_id, address, again)


def _follow(cluster: "ClusterJobs", job_id: str, address: str, again: str) -> NoReturn:
    """Show what a job writes, and end with its exit code."""
    try:
        end = cluster.follow(job_id, lambda text: typer.echo(text, nl=False))
    except KeyboardInterrupt:
        say(
            f"No longer following; {job_id} goes on. Follow it again with: "
            f"mpn submit --logs {job_id} --address {address}, stop it with --stop {job_id}"
        )
        raise typer.Exit(EXIT_INTERRUPTED) from None
    if end.exit_code:
        code = end.exit_code
    else:
        code = {"SUCCEEDED": 0, _STOPPED: EXIT_INTERRUPTED}.get(end.status, 1)
    if code:
        say(f"{job_id} {end.status}: {end.message}")
    if code and again:
        say(f"Continue with: {again}")
    raise typer.Exit(code)


def _cluster(address: str) -> "ClusterJobs":
    from orchestrator.cluster_jobs import ClusterJobs  # imports Ray, which takes seconds

    return ClusterJobs(address)


def _run_words(
    home: Path | None, actors: int | None, overrides: list[str], options: list[str]
) -> list[str]:
    """Return the options of ``mpn run`` on the head.

    Raises:
        InputError: If the home is no place on the cluster, or an option holds a password.
    """
    if home is None or not home.is_absolute():
        found = "" if home is None else str(home)
        raise usage_error("--home", found, "an absolute path, as the cluster's nodes see it")
    words = ["--address", "auto", "--home", str(home)]
    for name, uri in asked_services().items():
        words += [f"--{name}", uri]
    words += ["--actors", str(actors)] if actors is not None else []
    for override in overrides:
        words += ["--set", override]
    words += options
    for word in words:
        if _PASSWORD.search(word):
            raise usage_error(
                "the command",
                _PASSWORD.sub("://***@", word),
                "no passwords: a job's command is shown to everybody. Put it into a variable of "
                "the environment, and pass that on with --env NAME",
            )
    return words


def _variables(names: list[str]) -> dict[str, str]:
    """Return what the environment has under these names.

    Raises:
        InputError: If it has nothing there, or a value was written with a name.
    """
    problems = []
    for name in names:
        if not _VARIABLE.fullmatch(name):
            found = f"{name.partition('=')[0]}=..." if "=" in name else repr(name)
            wanted = "the name alone; the value is taken from this environment"
            problems.append(Problem("--env", None, found, wanted))
        elif name not in os.environ:
            problems.append(Problem("--env", None, f"{name} is not set", f"export {name}=..."))
    if problems:
        raise InputError("the command", problems, "Nothing was submitted.")
    return {name: os.environ[name] for name in names}


def _study_name(path: Path) -> str:
    """Return the name in a study file; everything else in it is checked on the cluster.

    Folders that it names are the cluster's, and need not be here.

    Raises:
        InputError: If it is no study file.
    """
    nothing_done = "Nothing was submitted."
    try:
        document = read(path.read_bytes())
    except OSError as error:
        problem = Problem("", None, f"cannot be read: {error.strerror}", "a study file")
        raise InputError(str(path), [problem], nothing_done) from error
    if document.problems:
        raise InputError(str(path), document.problems, nothing_done)
    name = document.value.get("study") if isinstance(document.value, dict) else None
    if not isinstance(name, str) or not is_study_name(name):
        problem = Problem("study", document.lines.get("study"), shown(name), STUDY_NAME_RULE)
        raise InputError(str(path), [problem], nothing_done)
    return name
