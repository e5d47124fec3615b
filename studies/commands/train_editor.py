"""`mpn train-editor`: the editors of a study that are trained, ahead of its run."""

from typing import TYPE_CHECKING, Annotated

import typer

from studies.commands.launching import say
from studies.commands.options import (
    HomeOption,
    SetOption,
    at_home,
    home_of,
    load_spec,
)

if TYPE_CHECKING:
    from studies.editor_training import TrainedEditor

commands = typer.Typer()


@commands.command("train-editor")
@at_home
def train_editor(
    spec: Annotated[
        str, typer.Argument(help="A study file, or the name of one that comes with mpn.")
    ],
    home: HomeOption = None,
    set_: SetOption = None,
) -> None:
    """Train what a study's mend and lime editors need, ahead of mpn run, which does it otherwise.

    The same command continues an interrupted training.

    Exit codes: 0 done, or there is nothing to train, 2 bad input, 130 interrupted by Ctrl-C, 143
    by SIGTERM.
    """
    study = load_spec(spec, set_ or [])
    from orchestrator.surroundings import StopRequest
    from studies.editor_training import settings_to_train, train_editors
    from studies.progress import StageProgress
    from studies.stopping import stopping_on_signals

    if not settings_to_train(study):
        typer.echo(f"{study.study} has no editor that is trained first: nothing to train.")
        return
    stop = StopRequest()
    with StageProgress() as progress, stopping_on_signals(stop) as stopped:
        for one in train_editors(study, home_of(home), progress, stop):
            if not one.whole:
                say(
                    f"Interrupted at step {one.steps} of {one.total} of {one.name}; everything "
                    "done is kept. Continue with the same command."
                )
                raise typer.Exit(stopped.exit_code)
            typer.echo(_line(one))


def _line(one: "TrainedEditor") -> str:
    edit, locality, gates = one.losses
    took = "was there" if one.took_s is None else f"{one.took_s:.0f} s"
    opened = f", open gates {100 * gates:.0f} %" if gates else ""
    return (
        f"{one.name}: {one.path}, {one.steps} steps, edit loss {edit:.3f}, locality loss "
        f"{locality:.4f}{opened}, {took}"
    )
