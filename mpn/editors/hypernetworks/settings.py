"""What a study file can say of a hypernetwork editor, and of its training.

Source: Mitchell et al., Fast Model Editing at Scale (MEND, ICLR 2022); Xu et al., Language
Anisotropic Cross-Lingual Model Editing (LiME, Findings of ACL 2023; the authors' code at cc4c411).
"""

from collections.abc import Sequence
from typing import Literal

from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from mpn.editors.optimizer import OptimizerSettings
from mpn.editors.reach import Reach, Remembers
from mpn.errors import MpnInputError
from mpn.settings import Settings


class HypernetworkTraining(Settings):
    """How a hypernetwork is trained: on examples of the memory, which are never edited.

    Weights and clipping are the sources'; networks as small as ours train at a higher rate.

    Attributes:
        languages: Of the inner texts: the ``source``, ``all`` of the corpus, or a list.
        paired: How many other languages stand beside the inner text at most, in which its
            parallel texts have their factors beside its own, as paired ones have in an edit; how
            many, and which, is drawn at each step, from all of the corpus. 0: none.
        examples: Examples of the memory that are trained on.
        edits: Edits at each step.
        others: Texts at each step that each of them leaves alone.
        rephrases: Draw the outer text from all wordings of an example; false: always its own.
        edit_weight: Of the cross-entropy of the outer texts.
        locality_weight: Of the divergence on other texts.
        optimizer: Adam and its limits; ``max_steps`` are all taken.
        seed: Of everything random in the training.
    """

    languages: Literal["source", "all"] | list[str] = "source"
    paired: NonNegativeInt = 0
    examples: PositiveInt = 300
    edits: PositiveInt = 16
    others: PositiveInt = 16
    rephrases: bool = True
    edit_weight: NonNegativeFloat = 0.1
    locality_weight: NonNegativeFloat = 1.0
    optimizer: OptimizerSettings = OptimizerSettings(
        lr=1e-3, weight_decay=0.0, clip=100.0, max_steps=2000, plateau=None
    )
    seed: NonNegativeInt = 0

    def inner_languages(self, languages: Sequence[str]) -> tuple[str, ...]:
        """Return the languages that are trained in.

        Args:
            languages: Of the corpus, the source first.

        Raises:
            MpnInputError: If one is not there.
        """
        asked = tuple(languages) if self.languages == "all" else self.languages
        names = tuple(languages[:1]) if asked == "source" else tuple(asked)
        unknown = sorted(set(names) - set(languages))
        if unknown or not names:
            raise MpnInputError(
                "editor.training.languages",
                ", ".join(unknown) or "none",
                f"the corpus has {' '.join(languages)}",
            )
        return names


class GateSettings(Settings):
    """Which parts of the factors each language amplifies.

    Attributes:
        weight: Of the expected share of open gates, in the training.
    """

    weight: NonNegativeFloat = 1.0


class HypernetworkSettings(Settings):
    """What both editors have in common.

    Attributes:
        layer: Layer whose feed-forward weights are changed, counted from 0, or ``last``.
        rank: Pairs of factors that stand for the gradient of one text, where it has more than
            one: below the last layer, and where the head reads every position.
        hidden: Width of the networks between factors and factors.
        step: What the gradient is multiplied with before any training, for each of the two
            weights; then it is learned.
        training: How it is trained.
    """

    layer: int | Literal["last"] = "last"
    rank: PositiveInt = 4
    hidden: PositiveInt = 64
    step: PositiveFloat = 0.1
    training: HypernetworkTraining = HypernetworkTraining()

    @property
    def reach(self) -> Reach:
        """Where it changes a model."""
        return Reach(self.layer, changes="ffn")

    @property
    def remembers(self) -> Remembers | None:
        """What an edit leaves alone: nothing, that was learned."""
        return None

    @property
    def gates(self) -> GateSettings | None:
        """How languages amplify factors; None: they do not."""
        return None

    @property
    def crosses(self) -> bool:
        """Whether the outer text is in another language than the inner one."""
        return False


class MendSettings(HypernetworkSettings):
    """MEND: inner and outer text are in one language.

    Attributes:
        name: The editor's name.
    """

    name: Literal["mend"] = "mend"


class LimeSettings(HypernetworkSettings):
    """LiME: the outer text is in another language, and languages amplify factors by masks.

    Attributes:
        name: The editor's name.
        masks: Of the languages; ``null``: none, which leaves the cross-lingual training.
        training: See :class:`HypernetworkTraining`; ``languages`` are of the outer texts too.
    """

    name: Literal["lime"] = "lime"
    masks: GateSettings | None = GateSettings()
    training: HypernetworkTraining = HypernetworkTraining(languages="all")

    @property
    def gates(self) -> GateSettings | None:
        """See :class:`HypernetworkSettings`."""
        return self.masks

    @property
    def crosses(self) -> bool:
        """See :class:`HypernetworkSettings`."""
        return True
