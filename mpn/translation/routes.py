"""Which model translates in which direction, and where it lies."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mpn import pretrained
from mpn.errors import MpnInputError
from mpn.pretrained import check_pinned
from mpn.translation.settings import TranslatorSettings

Kind = Literal["marian", "m2m_100"]
"""The ``model_type`` of a configuration; NLLB is of M2M100's."""

Locate = Callable[[str], Path]
"""From a model's name to its folder."""

_CHOICES = "a folder of a Marian, M2M100 or NLLB model, or a name on the hub"


@dataclass(frozen=True)
class Route:
    """A model for one direction.

    Attributes:
        model: Its name, as the user gave it.
        directory: Where it lies.
        source: Language tag.
        target: Language tag.
    """

    model: str
    directory: Path
    source: str
    target: str


@dataclass(frozen=True)
class Routes:
    """All that a target language needs.

    Attributes:
        forward: From the source; None where the source language itself is the target.
        back: To the source again; None if no model does that.
        detours: From the target to another language, and back.
    """

    forward: Route | None
    back: Route | None
    detours: tuple[tuple[Route, Route], ...]

    def __iter__(self) -> Iterator[Route]:
        """Iterate over all of them."""
        yield from filter(None, (self.forward, self.back))
        for there, and_back in self.detours:
            yield from (there, and_back)


class ModelMissingError(Exception):
    """A model is not on this machine yet."""


def plan_routes(
    settings: TranslatorSettings, *, source: str, target: str, via: Sequence[str], locate: Locate
) -> Routes:
    """Find the models for a target language.

    Args:
        settings: Names of the models.
        source: Language of the corpus.
        target: Language to translate to; ``source`` for its rephrases alone.
        via: Languages that rephrases go through. A Marian model rephrases in the source language
            only.
        locate: Finds or fetches a model.

    Raises:
        MpnInputError: If a model is of a kind that does not translate, or no model makes the
            rephrases in the source language.
    """

    def route(a: str, b: str) -> Route | None:
        if b == source and settings.back is not None:
            name = settings.back
        elif a == source or is_template(settings.name) or serves_all:
            name = settings.name
        else:
            return None
        name = named(name, settings, a, b)
        directory = locate(name)
        kind_of(directory)
        return Route(name, directory, a, b)

    serves_all = not is_template(settings.name) and kind_of(locate(settings.name)) == "m2m_100"
    detours = []
    for other in via if serves_all or target == source else ():
        there, and_back = route(target, other), route(other, target)
        if other != target and there is not None and and_back is not None:
            detours.append((there, and_back))
        elif other != target:
            raise MpnInputError(
                "translator.back",
                f"no model translates from {other} back to {target}",
                "give one with --back-model, or one model for all directions",
            )
    if target == source:
        return Routes(None, None, tuple(detours))
    return Routes(route(source, target), route(target, source), tuple(detours))


def check_names(
    settings: TranslatorSettings, *, source: str, target: str, via: Sequence[str]
) -> None:
    """Refuse models that are neither folders nor pinned to a commit of the hub.

    Raises:
        MpnInputError: Then, or if a name has other gaps than ``{source}`` and ``{target}``.
    """
    others = [target] if target != source else list(via)
    for name in filter(None, (settings.name, settings.back)):
        for other in others:
            back_only = name == settings.back
            directions = [(other, source)] if back_only else [(source, other)]
            if is_template(name) and not back_only and settings.back is None:
                directions.append((other, source))
            for a, b in directions:
                place = "translator.back" if back_only else "translator.name"
                full = named(name, settings, a, b)
                places = (place, f"translator.revisions.{full}")
                check_pinned(full, settings.revisions.get(full), places=places, choices=_CHOICES)


def is_template(name: str) -> bool:
    """Whether a name stands for a model of each direction."""
    return "{" in name


def named(name: str, settings: TranslatorSettings, source: str, target: str) -> str:
    """Fill the languages of a direction into a name.

    Raises:
        MpnInputError: If it has other gaps.
    """
    codes = settings.codes
    try:
        return name.format(source=codes.get(source, source), target=codes.get(target, target))
    except (KeyError, IndexError, ValueError, AttributeError):
        raise MpnInputError(
            "translator.name", repr(name), "the gaps in a name are {source} and {target}"
        ) from None


def kind_of(directory: Path) -> Kind:
    """Return how a model is spoken to.

    Raises:
        MpnInputError: If it is no translation model that is known here.
    """
    try:
        kind = json.loads((directory / "config.json").read_text(encoding="utf-8"))["model_type"]
    except (OSError, ValueError, KeyError, TypeError):
        kind = None
    if kind not in ("marian", "m2m_100"):
        found = "has no config.json of a model" if kind is None else f"is of the type {kind!r}"
        raise MpnInputError("translator.name", f"{directory} {found}", f"give {_CHOICES}")
    return kind  # type: ignore[no-any-return]


def find(settings: TranslatorSettings) -> Locate:
    """Return what finds models that are on this machine; it raises ModelMissingError for others."""

    def locate(name: str) -> Path:
        found = pretrained.find(name, settings.revisions.get(name))
        if found is None:
            raise ModelMissingError(name)
        return found

    return locate


def fetch(settings: TranslatorSettings) -> Locate:
    """Return what finds models, or downloads them; it raises MpnInputError if it cannot."""

    def locate(name: str) -> Path:
        revision = settings.revisions.get(name)
        return pretrained.fetch(name, revision, place="translator.name", choices=_CHOICES)

    return locate
