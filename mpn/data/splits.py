"""Who plays which part: examples to edit, to remember, and to evaluate on."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from mpn.data.corpus import Corpus
from mpn.data.settings import EditChoice
from mpn.edits import ParallelEdit, ParallelExample
from mpn.errors import MpnInputError
from mpn.seeding import torch_generator

ROLE_SHARES = {"edit": 0.6, "memory": 0.2, "evaluation": 0.2}
_WORDS: dict[EditChoice, tuple[str, str]] = {
    "mistakes": ("mistakes of the base model", ", or set dataset.edits: counterfactual"),
    "counterfactual": ("examples to edit", ""),
}


@dataclass(frozen=True)
class Roles:
    """A partition of a corpus; no group stands in two roles.

    Attributes:
        edit: Examples out of which edits are taken.
        memory: Examples that the memory loss keeps quiet.
        evaluation: Unrelated examples, for locality.
    """

    edit: tuple[ParallelExample, ...]
    memory: tuple[ParallelExample, ...]
    evaluation: tuple[ParallelExample, ...]


def split_roles(corpus: Corpus, *, seed: int) -> Roles:
    """Deal the groups of a corpus to the three roles, by :data:`ROLE_SHARES`.

    Args:
        corpus: The corpus.
        seed: Of the data; other seeds deal other groups.

    Returns:
        The roles, each in shuffled order of groups.
    """
    groups = sorted({example.group for example in corpus.examples})
    shuffled = [groups[i] for i in permutation(len(groups), seed, "roles")]
    n_edit = round(len(groups) * ROLE_SHARES["edit"])
    n_memory = round(len(groups) * ROLE_SHARES["memory"])
    members: dict[str, list[ParallelExample]] = defaultdict(list)
    for example in corpus.examples:
        members[example.group].append(example)

    def examples_of(chosen: Sequence[str]) -> tuple[ParallelExample, ...]:
        return tuple(example for group in chosen for example in members[group])

    return Roles(
        examples_of(shuffled[:n_edit]),
        examples_of(shuffled[n_edit : n_edit + n_memory]),
        examples_of(shuffled[n_edit + n_memory :]),
    )


def hold_out(corpus: Corpus, share: float, *, seed: int) -> tuple[Corpus, Corpus]:
    """Set a share of a corpus's groups aside, to test on what was not trained on.

    Args:
        corpus: The corpus.
        share: Of its groups, rounded, but one at least; in (0, 1).
        seed: Other seeds hold out other groups.

    Returns:
        What is left and what is held out, both in the order of the corpus.
    """
    groups = sorted({example.group for example in corpus.examples})
    n_held_out = max(1, round(len(groups) * share))
    chosen = permutation(len(groups), seed, "held out")[:n_held_out]
    held_out = {groups[i] for i in chosen}

    def part(name: str, is_held_out: bool) -> Corpus:
        return replace(
            corpus,
            examples=tuple(e for e in corpus.examples if (e.group in held_out) == is_held_out),
            fingerprint=f"{corpus.fingerprint}:{name}:{share}:{seed}",
        )

    return part("left", False), part("held out", True)


def choose_edits(
    examples: Sequence[ParallelExample],
    predictions: Sequence[int],
    *,
    source_language: str,
    seed: int,
    choice: EditChoice = "mistakes",
    labels: Sequence[int] = (),
) -> tuple[ParallelEdit, ...]:
    """Make edits, at most one of a group, in random order.

    Args:
        examples: Candidates; those that the model was trained on in the source language are
            left out.
        predictions: The base model's label for each in the source language.
        source_language: Language of the requests.
        seed: Of the data.
        choice: ``mistakes``: of the base model, to the true label. ``counterfactual``: every
            candidate, to one of the other labels than the model's, each as likely.
        labels: Those that a counterfactual edit may ask for.

    Returns:
        Edits whose desired label the base model does not give.
    """
    chosen: dict[str, ParallelEdit] = {}
    for i in permutation(len(examples), seed, "edits"):
        example = examples[i]
        if source_language in example.trained_languages or example.group in chosen:
            continue
        wanted: tuple[int, ...] = (example.label,)
        if choice == "counterfactual":
            order = permutation(len(labels), seed, "counterfactual", example.example_id)
            wanted = tuple(labels[j] for j in order)
        label = next((label for label in wanted if label != predictions[i]), None)
        if label is not None:
            chosen[example.group] = ParallelEdit(
                example.example_id, label, source_language, example
            )
    return tuple(chosen.values())


def deal_stream(
    edits: Sequence[ParallelEdit],
    *,
    stream: int,
    n_edits: int,
    choice: EditChoice = "mistakes",
) -> tuple[ParallelEdit, ...]:
    """Return the edits of one stream; streams share none.

    Raises:
        MpnInputError: If there are not enough edits; ``choice`` says in which words.
    """
    if (stream + 1) * n_edits > len(edits):
        what, more = _WORDS[choice]
        n_streams = len(edits) // n_edits
        most = (
            f"with {n_edits} edits a stream ask for at most {n_streams} streams"
            if n_streams
            else f"ask for at most {len(edits)} edits a stream"
        )
        raise MpnInputError(
            "streams",
            f"stream {stream} with {n_edits} edits needs {(stream + 1) * n_edits} {what}, "
            f"the data has {len(edits)}",
            f"{most}{more}",
        )
    return tuple(edits[stream * n_edits : (stream + 1) * n_edits])


def permutation(n: int, *seed: str | int) -> list[int]:
    """Return a seeded order of ``range(n)``."""
    order: list[int] = torch.randperm(n, generator=torch_generator(*seed)).tolist()
    return order
