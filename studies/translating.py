"""Builds a corpus by machine translation: from a wish to a study, from its lines to a folder."""

from dataclasses import dataclass, field
from pathlib import Path

from mpn.data.corpus import Corpus
from mpn.data.parallel_folder import FolderRow, write
from mpn.data.settings import DatasetSettings
from mpn.data.sources import corpus_fingerprint, load_corpus
from mpn.model_sources import fingerprint
from mpn.translation.card import Facts, Rows, publish_card
from mpn.translation.corpora import source_rows, translated_rows, whole_folder
from mpn.translation.lines import Line, from_bytes
from mpn.translation.routes import ModelMissingError, Route, find
from mpn.translation.settings import CheckSettings, TranslatorSettings
from orchestrator.errors import Problem
from orchestrator.home import Home
from orchestrator.identity import content_hash
from orchestrator.ledger import Ledger
from orchestrator.plan import expand
from orchestrator.spec import StudySpec, definition_of
from orchestrator.study_record import plan_blocks
from studies.objectives.method_errors import input_errors
from studies.objectives.translation import TranslationObjective
from studies.objectives.translation_settings import (
    TargetSettings,
    TranslationSettings,
    settings_of,
)

OBJECTIVE = TranslationObjective()


@dataclass(frozen=True)
class Wish:
    """What a translated corpus shall be.

    Attributes:
        dataset: The corpus.
        source: Its language.
        targets: Languages to translate to.
        translator: The models.
        checks: When a row is flagged.
        licence: Of the source.
        rephrase_via: Languages that rephrases go through.
        shard_size: Rows a block.
    """

    dataset: DatasetSettings
    source: str
    targets: tuple[str, ...]
    translator: TranslatorSettings
    licence: str
    checks: CheckSettings = field(default_factory=CheckSettings)
    rephrase_via: tuple[str, ...] = ()
    shard_size: int = 256

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages in which something is made."""
        return (*((self.source,) if self.rephrase_via else ()), *self.targets)

    def settings(self, language: str, rows: int) -> TranslationSettings:
        """Return what one language asks of the objective."""
        return TranslationSettings(
            dataset=self.dataset,
            source_language=self.source,
            rows=rows,
            shard_size=self.shard_size,
            target=TargetSettings(language=language, rephrase_via=list(self.rephrase_via)),
            translator=self.translator,
        )


def problems_of(wish: Wish) -> list[Problem]:
    """Return what is wrong with a wish, as far as can be told before anything runs.

    Languages that a model does not know are found if it is on this machine.
    """
    found: list[Problem] = []
    for language in wish.languages:
        settings = wish.settings(language, rows=1)
        found += OBJECTIVE.resolve(settings.to_json())[1]
    return list(dict.fromkeys(found))


def check_models(wish: Wish) -> None:
    """Refuse models that do not know the languages; those that are not here yet are not asked.

    Raises:
        MpnInputError: For the first.
    """
    routes: list[Route] = []
    for language in wish.languages:
        try:
            routes += wish.settings(language, rows=1).routes(find(wish.translator))
        except ModelMissingError:
            continue
    from mpn.translation.translator import check_languages  # takes seconds

    check_languages(dict.fromkeys(routes), wish.translator.codes)


def load_source(wish: Wish, home: Home) -> tuple[Corpus, int]:
    """Load the corpus in the source language; return it, and how many rows of it are wanted.

    Raises:
        MpnInputError: If it cannot be loaded.
    """
    corpus = load_corpus(wish.settings(wish.source, rows=1).corpus, home.cache / "datasets")
    n_rows = len(corpus.examples)
    return corpus, min(n_rows, wish.dataset.limit or n_rows)


def study_of(wish: Wish, n_rows: int) -> StudySpec:
    """Return the study that makes the lines; the same wish is the same study."""
    first, *_ = wish.languages
    spec = StudySpec.model_validate(
        {
            "study": "translate",
            "question": f"What becomes of {wish.dataset.name} in other languages?",
            "objective": OBJECTIVE.name,
            "base": wish.settings(first, n_rows).to_json(),
            "sweep": {"target.language": list(wish.languages)},
            "measure": {"primary": "intact", "guard": ["round_trip", "rephrased"]},
        }
    )
    name = f"translate-{wish.dataset.name}-{content_hash(definition_of(spec))[:8]}"
    return spec.model_copy(update={"study": name})


def publish(wish: Wish, spec: StudySpec, corpus: Corpus, home: Home, folder: Path) -> Rows:
    """Write the folder of a study that is done.

    Returns:
        Its rows, by split and language.

    Raises:
        FileNotFoundError: If a block is not complete.
    """
    ledger = Ledger(home.ledger)
    n_rows = settings_of(spec.base).rows
    split = wish.dataset.split
    lines: dict[str, list[Line]] = {}
    models: dict[str, str] = {}
    rows: dict[tuple[str, str], list[FolderRow]] = {}
    for trial in expand(spec, OBJECTIVE):
        settings = settings_of(trial.params)
        blocks = plan_blocks(OBJECTIVE, trial, home.cache)
        language = settings.target.language
        lines[language] = [
            line
            for block in blocks
            for line in from_bytes(ledger.attachment(block.block_id) or b"")
        ]
        routes = settings.routes(find(wish.translator))
        models |= {_version(wish, route): fingerprint(route.directory) for route in routes}
        if routes.forward is not None:
            rows[split, language] = translated_rows(
                corpus,
                wish.source,
                language,
                lines[language],
                wish.checks,
                _version(wish, routes.forward),
            )
    of_source = source_rows(corpus, wish.source, n_rows, lines.get(wish.source, ()))
    rows = {(split, wish.source): of_source, **rows}
    facts = Facts(
        corpus=corpus.name,
        fingerprint=corpus_fingerprint(settings_of(spec.base).corpus),
        source=wish.source,
        targets=wish.targets,
        licence=wish.licence,
        models=models,
        translator=wish.translator,
        checks=wish.checks,
        rephrase_via=wish.rephrase_via,
    )
    with input_errors("the output", "The translations are kept; run the command again."):
        with whole_folder(folder) as made:
            for (part, language), found in rows.items():
                write(made, part, language, found)
            publish_card(made, facts, rows)
    return rows


def _version(wish: Wish, route: Route) -> str:
    """Return a model's name with its commit, or with the digest of its files."""
    revision = wish.translator.revisions.get(route.model)
    name = route.directory.name if Path(route.model).is_dir() else route.model
    return f"{name}@{revision or fingerprint(route.directory)[:12]}"
