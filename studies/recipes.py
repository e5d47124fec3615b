"""From what a user asks of `mpn finetune` to a recipe; everything wrong with it is said at once."""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import ValidationError

from mpn.data.corpus import Corpus
from mpn.data.settings import DatasetSettings
from mpn.data.sources import load_corpus
from mpn.errors import MpnInputError
from mpn.finetuning.encoders import Encoder, open_encoder
from mpn.finetuning.publishing import read_record
from mpn.finetuning.recipe import Recipe, make_recipe
from mpn.finetuning.settings import FinetuneSettings
from mpn.model_sources import BackboneSettings, Progress, build_model, check_model, find_model
from mpn.settings import Settings
from orchestrator.errors import InputError, Problem, problems_in
from studies.finetuning import NOTHING_DONE

Languages = Literal["all"] | list[str]
_OWN_OPTIONS = {"name", "path", "split", "limit"}
_OPTIONS = {
    *FinetuneSettings.model_fields,
    *_OWN_OPTIONS,
    *("revision", "test_split", "test_path", "test_languages", "test_limit"),
}
_S = TypeVar("_S", bound=Settings)
_T = TypeVar("_T")


@dataclass(frozen=True)
class Request:
    """What a user asks for.

    Attributes:
        encoder: Folder, name on the hub, or a model made here.
        revision: Commit on the hub.
        out: Where the classifier shall go.
        dataset: Of :class:`mpn.data.sources.DatasetSettings`, but for its languages.
        training: Of :class:`mpn.finetuning.settings.FinetuneSettings`.
        test_split: Another split to test on; None holds groups out.
        test_path: Where it is, if elsewhere.
        test_languages: To test in.
        test_limit: Use only the first so many test examples of the other split.
        device: ``cpu`` or ``cuda``.
    """

    encoder: str
    revision: str | None
    out: Path
    dataset: Mapping[str, Any]
    training: Mapping[str, Any]
    test_split: str | None
    test_path: str | None
    test_languages: Languages
    test_limit: int | None
    device: str


def recipe_of(
    request: Request, cache: Path, progress: Progress, problems: Sequence[Problem] = ()
) -> Recipe:
    """Check a request and load what it names; only an encoder that must be fetched waits for all.

    Args:
        request: What is asked for.
        cache: The home's cache.
        progress: Told how far an encoder is that must be built or fetched.
        problems: What is known to be wrong already.

    Raises:
        InputError: With everything that is wrong.
    """
    noted = _Problems(list(problems))
    settings = noted.settings(FinetuneSettings, request.training)
    backbone = noted.settings(
        BackboneSettings,
        {
            "name": request.encoder,
            "revision": request.revision,
            **{key: value for key, value in request.training.items() if key == "max_tokens"},
        },
    )
    if backbone:
        noted.of(functools.partial(check_model, backbone))
    names = {key: f"--data {key}" for key in request.dataset if key not in _OWN_OPTIONS}
    names["name"] = "--dataset"
    options = {**request.dataset, "languages": _all_of(request)}
    data = noted.settings(DatasetSettings, options, names)
    corpus, test = _corpora(request, data, cache, noted)
    recipe = None
    if backbone and corpus:
        encoder = _encoder(backbone, corpus, cache, progress, noted)
        if settings and encoder and not noted.found:
            make = functools.partial(make_recipe, device=request.device)
            recipe = noted.of(lambda: make(encoder, settings, corpus, test, asked=_asked(request)))
    if request.out.exists():
        noted.of(lambda: _refuse_another(request.out, recipe))
    noted.fail_if_any()
    assert recipe is not None
    return recipe


def _corpora(
    request: Request, data: DatasetSettings | None, cache: Path, noted: "_Problems"
) -> tuple[Corpus | None, Corpus | None]:
    """Load what is trained on, and what is tested on if that is another split."""
    if data is None:
        return None, None
    folder = cache / "datasets"
    corpus = noted.of(
        lambda: _training_corpus(data, folder, "split" in request.dataset),
        {"dataset.languages": "--languages"},
    )
    if request.test_split is None:
        for option in ("test_path", "test_limit"):
            if getattr(request, option) is not None:
                noted.found.append(
                    Problem(option_of(option), None, "without --test-split", "give both, or none")
                )
        return corpus, None
    if data.name == "mini":
        noted.found.append(Problem("--test-split", None, "mini has no splits", "leave it out"))
        return corpus, None
    options = {
        "path": request.test_path or request.dataset.get("path"),
        "split": request.test_split,
        "languages": request.test_languages,
        "limit": request.test_limit,
    }
    names = {key: f"--test-{key}" for key in options}
    other = noted.settings(DatasetSettings, {**request.dataset, **options}, names)
    names = {f"dataset.{key}": name for key, name in names.items()}
    return corpus, None if other is None else noted.of(lambda: load_corpus(other, folder), names)


def _training_corpus(data: DatasetSettings, folder: Path, split_is_given: bool) -> Corpus:
    """Load what is trained on: ``train``, where the corpus has splits and none is named."""
    if split_is_given:
        return load_corpus(data, folder)
    try:
        return load_corpus(data.model_copy(update={"split": "train"}), folder)
    except MpnInputError as error:
        if error.place != "dataset.split":
            raise
        return load_corpus(data, folder)


def _encoder(
    backbone: BackboneSettings,
    corpus: Corpus,
    cache: Path,
    progress: Progress,
    noted: "_Problems",
) -> Encoder | None:
    directory = find_model(backbone, corpus.fingerprint, cache)
    if directory is None and not noted.found:
        directory = noted.of(
            lambda: build_model(backbone, corpus, corpus.fingerprint, cache, progress)
        )
    return None if directory is None else noted.of(lambda: open_encoder(backbone, directory))


def _asked(request: Request) -> dict[str, Any]:
    """Return how the data was asked for, for the record."""
    asked = dict(request.dataset)
    if request.test_split is not None:
        asked |= {key: getattr(request, key) for key in ("test_split", "test_path", "test_limit")}
    return {key: value for key, value in asked.items() if value is not None}


def _all_of(request: Request) -> Languages:
    """Return the languages to load the training corpus in."""
    trained: Languages = request.training.get("languages", ["en"])
    if request.test_split is not None or trained == "all":
        return trained
    if request.test_languages == "all":
        return "all"
    return list(dict.fromkeys([*trained, *request.test_languages]))


def _refuse_another(out: Path, recipe: Recipe | None) -> None:
    record = read_record(out)
    if record is None:
        raise MpnInputError("--out", f"{out} exists already", "name another, or remove it")
    if recipe is not None and record.get("identity") != recipe.identity:
        raise MpnInputError(
            "--out", f"{out} holds a model of another recipe", "name another folder, or remove it"
        )


@dataclass
class _Problems:
    """Collects what is wrong, under the names of the options."""

    found: list[Problem] = field(default_factory=list)

    def settings(
        self, kind: type[_S], values: Mapping[str, Any], names: Mapping[str, str] | None = None
    ) -> _S | None:
        """Return checked settings, or None."""
        try:
            return kind.model_validate(dict(values))
        except ValidationError as error:
            for problem in problems_in(error, kind):
                self._note(problem.place, problem.found, problem.wanted, names or {})
            return None

    def of(self, call: Callable[[], _T], names: Mapping[str, str] | None = None) -> _T | None:
        """Return what a call returns, or None if the input is wrong."""
        try:
            return call()
        except MpnInputError as error:
            self._note(error.place, error.found, error.wanted, names or {})
            return None

    def fail_if_any(self) -> None:
        """Raise what was found."""
        if self.found:
            raise InputError("the command", list(dict.fromkeys(self.found)), NOTHING_DONE)

    def _note(self, place: str, found: str, wanted: str, names: Mapping[str, str]) -> None:
        self.found.append(Problem(names.get(place) or option_of(place), None, found, wanted))


def option_of(place: str) -> str:
    """Return the option behind a setting's place; other places stay as they are."""
    if place in ("backbone.name", "dataset.name", "name"):
        return "--dataset" if place == "dataset.name" else "ENCODER"
    key = place.removeprefix("backbone.").removeprefix("dataset.")
    if key in _OPTIONS and place != "dataset.revision":  # --revision is the encoder's
        return "--" + key.replace("_", "-")
    return f"--data {key}" if key in DatasetSettings.model_fields else place
