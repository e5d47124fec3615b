"""What the base of a translation study can say."""

from pydantic import Field, PositiveInt

from mpn.data.settings import DatasetSettings
from mpn.settings import Settings
from mpn.translation.routes import Locate, Routes, plan_routes
from mpn.translation.settings import TranslatorSettings
from orchestrator.objective import Params


class TargetSettings(Settings):
    """What is made.

    Attributes:
        language: Language to translate to; the source language, to make its rephrases alone.
        rephrase_via: Languages through which texts are translated and back, for rephrases.
    """

    language: str = "en"
    rephrase_via: list[str] = Field(default_factory=list)


class TranslationSettings(Settings):
    """The ``base`` of a translation study.

    Attributes:
        dataset: The corpus; its texts in the source language are translated.
        source_language: Which language that is.
        rows: How many rows of the corpus to translate, from its first.
        shard_size: Rows a block: what a worker takes on at once.
        target: What is made; ``target.language`` is what a study sweeps.
        translator: The models.
    """

    dataset: DatasetSettings = DatasetSettings()
    source_language: str = "en"
    rows: int = Field(100, gt=0, le=1_000_000)
    shard_size: PositiveInt = 256
    target: TargetSettings = TargetSettings()
    translator: TranslatorSettings = TranslatorSettings()

    @property
    def corpus(self) -> DatasetSettings:
        """The corpus, in the source language alone."""
        changes = {"languages": [self.source_language], "limit": None}
        return self.dataset.model_copy(update=changes)

    def routes(self, locate: Locate) -> Routes:
        """Find the models; raises as :func:`mpn.translation.routes.plan_routes` does."""
        return plan_routes(
            self.translator,
            source=self.source_language,
            target=self.target.language,
            via=self.target.rephrase_via,
            locate=locate,
        )


def settings_of(params: Params) -> TranslationSettings:
    """Return checked parameters as settings."""
    return TranslationSettings.model_validate(dict(params))
