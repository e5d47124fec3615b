"""The base of all settings: frozen, and strict about what they are given."""

from typing import Any

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """A frozen set of named values; an unknown name or a wrong type is refused.

    Settings are written in study files, so a field's name is what a user types, and its
    default is the reference's unless its docstring says otherwise.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    def to_json(self) -> dict[str, Any]:
        """Return the values as plain JSON types, nested as the settings are."""
        return self.model_dump(mode="json")
