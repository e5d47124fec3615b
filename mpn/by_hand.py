"""One edit by hand: what a model says before and after, in every language and beside the point."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch

from mpn.data.corpus import Corpus
from mpn.editors.protocol import EditBatch, EditSeed, Effort
from mpn.editors.settings import TransformerPatcherSettings
from mpn.editors.transformer_patcher import TransformerPatcher
from mpn.edits import ParallelEdit, Text
from mpn.memory import MemoryBank
from mpn.metrics.audience import Panel
from mpn.pairing import PairingSettings
from mpn.patches import Patches

Role = Literal["source", "paired", "unseen"]


@dataclass(frozen=True)
class Answer:
    """What a model says of one text before and after an edit.

    Attributes:
        language: The text's.
        role: Whether the edit was asked for in it, trained on it, or never saw it.
        text: The text.
        before: Probability of each label, ``n_labels``.
        after: Likewise.
    """

    language: str
    role: Role
    text: Text
    before: tuple[float, ...]
    after: tuple[float, ...]


@dataclass(frozen=True)
class ChangedLabel:
    """A label that changed on a text that the edit is not about."""

    language: str
    text: Text
    before: int
    after: int


@dataclass(frozen=True)
class SideEffects:
    """What an edit did to held-out texts.

    Attributes:
        n_texts: How many there are, by language.
        changes: Those whose label changed.
    """

    n_texts: dict[str, int]
    changes: tuple[ChangedLabel, ...]


@dataclass(frozen=True)
class HandOutcome:
    """An edit made by hand.

    Attributes:
        patches: Its neurons, one set.
        effort: What it took.
        answers: One for each language, the source first.
    """

    patches: Patches
    effort: Effort
    answers: tuple[Answer, ...]


def edit_by_hand(
    engine: Any,
    wish: ParallelEdit,
    paired: Sequence[str],
    memory: MemoryBank,
    editor: TransformerPatcherSettings,
    *,
    seed: int = 0,
) -> HandOutcome:
    """Make one edit.

    Args:
        engine: The model at the editor's layer.
        wish: Texts and the desired label.
        paired: Languages, of those it has, that are trained on beside the source.
        memory: What is to be left alone, none of it about the wish.
        editor: How the neurons are made.
        seed: Of everything random.
    """
    source = wish.source_language
    others = [language for language in wish.example.texts if language != source]
    languages = [source, *others]
    rows = engine.load([wish.example.texts[language] for language in languages])
    columns = torch.tensor([[0, *(languages.index(language) for language in paired)]])
    pairing = PairingSettings(languages="all", choice="fixed")
    batch = EditBatch(rows, columns, torch.tensor([wish.label]), [EditSeed(seed, 0, 0)])
    outcome = TransformerPatcher(editor, pairing).edit(engine, batch, memory)
    patches = outcome.change
    assert isinstance(patches, Patches)
    with torch.no_grad():
        before, after = (
            engine.logits(rows, change)[0].softmax(-1).tolist() for change in (None, patches)
        )
    roles: list[Role] = ["source"]
    roles += ["paired" if language in paired else "unseen" for language in others]
    answers = tuple(
        Answer(language, role, wish.example.texts[language], tuple(old), tuple(new))
        for language, role, old, new in zip(languages, roles, before, after, strict=True)
    )
    return HandOutcome(patches[0], outcome.efforts[0], answers)


def side_effects(engine: Any, panel: Panel, patches: Patches) -> SideEffects:
    """Compare a model's labels of held-out texts before and after an edit.

    Args:
        engine: The model at the edited layer.
        panel: The texts.
        patches: The edit's neurons, one set.
    """
    rows = engine.load(panel.texts)
    one = patches.mapped(lambda tensor: tensor[None])
    before, after = (engine.predictions(rows, p)[0].tolist() for p in (None, one))
    n_texts = dict(Counter(panel.languages))
    changes = tuple(
        ChangedLabel(language, text, old, new)
        for language, text, old, new in zip(
            panel.languages, panel.texts, before, after, strict=True
        )
        if old != new
    )
    return SideEffects(n_texts, changes)


def without(corpus: Corpus, wish: ParallelEdit) -> Corpus:
    """Return a corpus without what a wish is about: its group, and examples with its texts."""
    own = set(wish.example.texts.values())
    return replace(
        corpus,
        examples=tuple(
            example
            for example in corpus.examples
            if example.group != wish.example.group and own.isdisjoint(example.texts.values())
        ),
        fingerprint=f"{corpus.fingerprint} without {wish.edit_id}",
    )
