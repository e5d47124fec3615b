"""The manifests that come along, for clusters of several kinds."""

import importlib.resources
from typing import Annotated

import typer

from orchestrator.errors import suggestion
from studies.commands.options import usage_error

commands = typer.Typer()

TEMPLATES = {
    "kuberay": "kuberay-rayjob.yaml",
    "slurm": "slurm.sbatch",
    "ray-up": "ray-cluster.yaml",
}


@commands.command("cluster-template")
def cluster_template(
    kind: Annotated[str, typer.Argument(help=f"{', '.join(TEMPLATES)}.")],
) -> None:
    """Print a manifest that runs studies on a cluster, to be edited where it says EDIT.

    mpn cluster-template slurm > study.sbatch
    """
    if kind not in TEMPLATES:
        raise usage_error("KIND", kind, suggestion(kind, TEMPLATES, "There are"))
    manifest = importlib.resources.files("studies.cluster") / TEMPLATES[kind]
    typer.echo(manifest.read_text(encoding="utf-8"), nl=False)
