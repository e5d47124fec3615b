"""What a translation can be told: which models, how they decode, and when a row is flagged."""

from pydantic import Field, PositiveFloat, PositiveInt

from mpn.settings import Settings


class TranslatorSettings(Settings):
    """The models that translate, and how.

    Attributes:
        name: A model folder or a name on the hub: M2M100 or NLLB, which serve all directions, or
            Marian, which serves one. ``{source}`` and ``{target}`` in it stand for the codes of a
            direction: ``Helsinki-NLP/opus-mt-{source}-{target}``.
        back: For a Marian model of one direction: the model that translates back, so that the
            round trip can be scored.
        revisions: Commit of each model that comes from the hub, by its name.
        codes: What the model calls a language, where that cannot be found out: ``{zh: cmn_Hans}``.
        beams: Width of the beam search; 1 is greedy.
        batch: Rows translated together; their padding decides last bits.
        max_tokens: Longer texts are truncated to this, or to what the model can take, and
            flagged; so are translations that do not end before it.
    """

    name: str = "facebook/m2m100_418M"
    back: str | None = None
    revisions: dict[str, str] = Field(default_factory=dict)
    codes: dict[str, str] = Field(default_factory=dict)
    beams: PositiveInt = 4
    batch: PositiveInt = 16
    max_tokens: PositiveInt = 256


class CheckSettings(Settings):
    """Where checks draw the line; changing it translates nothing again.

    Attributes:
        round_trip: chrF in [0, 100] below which a round trip is flagged.
        shortest: Least ratio of lengths, translation to source.
        longest: Greatest ratio of lengths.
    """

    round_trip: PositiveFloat = 30.0
    shortest: PositiveFloat = 0.4
    longest: PositiveFloat = 2.5
