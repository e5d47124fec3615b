"""The mpn command line."""

import os
import sys
import traceback

import typer

from orchestrator.errors import OrchestratorError
from orchestrator.redaction import redact, redacted_logs
from studies.commands import (
    cluster,
    compare,
    data,
    edit,
    finetune,
    moving,
    study,
    submit,
    train_editor,
)
from studies.commands.options import EXIT_INTERRUPTED

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
app.add_typer(study.commands)
app.add_typer(submit.commands)
app.add_typer(cluster.commands)
app.add_typer(compare.commands)
app.add_typer(moving.commands)
app.add_typer(edit.commands)
app.add_typer(finetune.commands)
app.add_typer(train_editor.commands)
app.add_typer(data.commands, name="data")


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; errors of the user's are said in full and end with exit code 2.

    Whatever is said or logged is without credentials.

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
        with redacted_logs():
            app(arguments, obj=sys.argv[1:] if arguments is None else arguments)
    except OrchestratorError as error:
        typer.echo(redact(str(error)), err=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        typer.echo("stopped at once; what was checkpointed is kept", err=True)
        sys.exit(EXIT_INTERRUPTED)
    except Exception:  # a fault of ours: with its traceback, but without credentials
        typer.echo(redact(traceback.format_exc()), err=True)
        sys.exit(1)
