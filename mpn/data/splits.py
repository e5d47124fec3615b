"""Who plays which part: examples to edit, to remember, and to evaluate on."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from mpn.data.corpus import Corpus
from mpn.edits import ParallelEdit, ParallelExample
from mpn.errors import MpnInputError
from mpn.seeding import torch_generator

ROLE_SHARES = {"edit": 0.6, "memory": 0.2, "evaluation": 0.2}


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


def choose_edits(
    examples: Sequence[ParallelExample],
    predictions: Sequence[int],
    *,
    source_language: str,
    seed: int,
) -> tuple[ParallelEdit, ...]:
    """Make edits of the base model's mistakes, at most one of a group, in random order.

    Args:
        examples: Candidates; those that the model was trained on in the source language are
            left out.
        predictions: The base model's label for each in the source language.
        source_language: Language of the requests.
        seed: Of the data.

    Returns:
        Edits whose desired label is the true one, which the base model does not give.
    """
    chosen: dict[str, ParallelEdit] = {}
    for i in permutation(len(examples), seed, "edits"):
        example = examples[i]
        editable = source_language not in example.trained_languages
        if editable and predictions[i] != example.label and example.group not in chosen:
            chosen[example.group] = ParallelEdit(
                example.example_id, example.label, source_language, example
            )
    return tuple(chosen.values())


def deal_stream(
    edits: Sequence[ParallelEdit], *, stream: int, n_edits: int
) -> tuple[ParallelEdit, ...]:
    """Return the edits of one stream; streams share none.

    Raises:
        MpnInputError: If there are not enough edits.
    """
    if (stream + 1) * n_edits > len(edits):
        raise MpnInputError(
            "streams",
            f"stream {stream} with {n_edits} edits needs {(stream + 1) * n_edits} mistakes of "
            f"the base model, the data has {len(edits)}",
            f"with {n_edits} edits a stream ask for at most {len(edits) // n_edits} streams",
        )
    return tuple(edits[stream * n_edits : (stream + 1) * n_edits])


def permutation(n: int, *seed: str | int) -> list[int]:
    """Return a seeded order of ``range(n)``."""
    order: list[int] = torch.randperm(n, generator=torch_generator(*seed)).tolist()
    return order
