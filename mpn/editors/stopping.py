"""When an edit has been trained enough."""

from typing import Literal

from pydantic import Field, NonNegativeFloat, PositiveInt

from mpn.settings import Settings


class StopSettings(Settings):
    """When an edit ends before ``max_steps``.

    Attributes:
        when: What must be right: the ``source`` row, ``all`` rows of the edit batch; ``never``
            always takes every step.
        min_steps: First step after which is checked.
        every: Steps between checks.
        confidence: What is right must also have this probability, so that later edits do not
            undo it; ``null`` asks for no more than that no other label has a higher one.
        improvement: An edit goes on while its held-out memory loss falls by more than this
            from one check to the next.
    """

    when: Literal["source", "all", "never"] = "source"
    min_steps: PositiveInt = 100
    every: PositiveInt = 25
    confidence: float | None = Field(default=None, gt=0, lt=1)
    improvement: NonNegativeFloat = 0.001

    def is_check(self, n_steps: int) -> bool:
        """Whether is looked after this many steps."""
        return n_steps >= self.min_steps and (n_steps - self.min_steps) % self.every == 0
