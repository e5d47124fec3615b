"""Errors that are the user's to mend, as opposed to faults of ours."""


class MpnInputError(ValueError):
    """Data, a model or a setting that cannot be edited as asked.

    Args:
        place: Where the problem stands: a path, a file with its line, a setting.
        found: What was found there.
        wanted: What would be right, or what to do.
    """

    def __init__(self, place: str, found: str, wanted: str) -> None:
        super().__init__(place, found, wanted)
        self.place = place
        self.found = found
        self.wanted = wanted

    def __str__(self) -> str:
        """Return the three parts as one sentence."""
        return f"{self.place}: {self.found}; {self.wanted}"


class ShapeError(MpnInputError):
    """A tensor of another shape than the function documents."""
