"""What `mpn finetune` can be told about the training itself."""

import math
from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from mpn.settings import Settings

_RESOLVED = {"languages", "epochs", "steps", "precision"}
_WITHOUT_EFFECT = {"save_every", "log_every"}


class FinetuneSettings(Settings):
    """How a classifier is trained: AdamW, linear warm-up, linear decay to zero.

    Attributes:
        languages: Languages to train on, the source first: one for zero-shot transfer, several
            or ``all`` for translate-train.
        epochs: How often every training text is seen.
        steps: Gradient steps, instead of epochs.
        batch: Texts a step, of similar length.
        lr: The highest learning rate, reached at the end of the warm-up.
        warmup: Share of the steps over which it rises.
        weight_decay: Decoupled; biases and normalisations are left alone.
        max_gradient_norm: Gradients longer than this are scaled down to it.
        max_tokens: Longer texts are truncated to this many word pieces.
        seed: Of the head's first weights, the order of the texts, the dropout and the held-out
            part.
        precision: ``float32``; ``bfloat16``: mixed, with weights kept in float32; ``auto`` is
            mixed where a GPU can do it.
        save_every: Steps from one checkpoint to the next.
        log_every: Steps over which a logged loss is averaged.
    """

    languages: Literal["all"] | list[str] = Field(default_factory=lambda: ["en"], min_length=1)
    epochs: PositiveFloat = 3.0
    steps: PositiveInt | None = None
    batch: PositiveInt = 32
    lr: PositiveFloat = 2e-5
    warmup: Annotated[NonNegativeFloat, Field(le=1)] = 0.06
    weight_decay: NonNegativeFloat = 0.01
    max_gradient_norm: PositiveFloat = 1.0
    max_tokens: Annotated[PositiveInt, Field(ge=4)] = 128
    seed: NonNegativeInt = 0
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    save_every: PositiveInt = 500
    log_every: PositiveInt = 10

    def n_steps(self, n_rows: int) -> int:
        """Return how many steps train on ``n_rows`` texts; the last of an epoch may be smaller."""
        if self.steps is not None:
            return self.steps
        return math.ceil(self.epochs * math.ceil(n_rows / self.batch))

    def optimisation(self) -> dict[str, Any]:
        """Return what shapes the weights and means the same with any corpus and machine."""
        left_out = _RESOLVED | _WITHOUT_EFFECT
        return {key: value for key, value in self.to_json().items() if key not in left_out}
