"""A study that is small enough to be run, killed and run again in a test."""

from pathlib import Path
from typing import Any

import yaml


def write_study(
    folder: Path,
    *,
    steps: int,
    name: str = "small",
    backbone: object = "scratch",
    streams: dict[str, Any] | None = None,
    pairing: dict[str, Any] | None = None,
    sweep: dict[str, Any] | None = None,
    **more: object,
) -> Path:
    """Write a study of two streams of six edits, each of so many training steps.

    Args:
        folder: Where its file goes.
        steps: Training steps of an edit, all of which are made.
        name: Its name, and its file's.
        backbone: The model that is edited.
        streams: What to say of streams in place of, or beside, what stands here.
        pairing: Likewise of pairing.
        sweep: Its cells.
        more: Further keys of the file; ``resources`` in place of a checkpoint after every edit.
    """
    study = {
        "study": name,
        "question": "Does anything change when nothing should?",
        "objective": "edit_stream",
        "base": {
            "backbone": {"name": str(backbone)},
            "dataset": {"evaluation_examples": 6, "neighbours": 1},
            "streams": {
                "count": 2,
                "edits": 6,
                "protocol": "sequential",
                "side_by_side": 1,
                **(streams or {}),
            },
            "editor": {
                "memory": {"weight": 0.001, "size": 60},
                "optimizer": {"lr": 0.05, "max_steps": steps},
                "stop": {"when": "never"},
                "value_init": "zero",
                "dropout": None,
            },
            "pairing": {"languages": 0, **(pairing or {})},
        },
        "sweep": sweep or {"pairing.languages": [0, 2]},
        "measure": {"primary": "cross_lingual_generality", "guard": ["locality", "edit_retention"]},
        "resources": {"gpus": 0, "checkpoint_every_s": 0.0},
        **more,
    }
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(study, sort_keys=False, default_flow_style=None))
    return path
