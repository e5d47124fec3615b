"""A world to make claims about: people of hidden types, and what is true of each.

A person's hidden type decides what is typical of them, so that most facts can be inferred from
the others; a few are exceptions, which can only be remembered. That is where a small model errs.
"""

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mpn.data.mini.objects import OBJECTS
from mpn.data.mini.people import PEOPLE
from mpn.seeding import numpy_generator

N_TYPES = 8
EXCEPTION_RATE = 0.15


@dataclass(frozen=True)
class Fact:
    """What is true of one person in one relation, and what is falsely claimed.

    Attributes:
        person: Index into ``PEOPLE``.
        relation: Key of ``OBJECTS`` and ``TEMPLATES``.
        true_object: Index into the relation's objects.
        false_object: Another index into the relation's objects.
        stereotype: Index of the object that is typical of the person's hidden type.
    """

    person: int
    relation: str
    true_object: int
    false_object: int
    stereotype: int

    @property
    def is_exception(self) -> bool:
        """Whether the truth differs from what is typical of the person's hidden type."""
        return self.true_object != self.stereotype


def hidden_types(seed: int) -> tuple[int, ...]:
    """Return the hidden type of every person; each type has equally many people."""
    balanced = np.arange(len(PEOPLE)) % N_TYPES
    return tuple(numpy_generator(seed, "mini", "types").permutation(balanced).tolist())


def world_facts(seed: int) -> tuple[Fact, ...]:
    """Draw one world: a fact for every relation and person, in that order.

    In every relation each object stands in as many false claims as true ones, so the object
    alone says nothing about the label. Where the fact is an exception, the false object is the
    stereotype: there the typical answer is the wrong one.

    Args:
        seed: Selects the world; equal seeds give equal worlds on every machine.

    Returns:
        ``len(OBJECTS) * len(PEOPLE)`` facts.
    """
    types = hidden_types(seed)
    return tuple(fact for relation in OBJECTS for fact in _relation_facts(seed, relation, types))


def _relation_facts(seed: int, relation: str, types: Sequence[int]) -> list[Fact]:
    """Draw one relation, again and again until its false claims can be balanced."""
    draws = (
        _draw_relation(relation, types, numpy_generator(seed, "mini", "facts", relation, attempt))
        for attempt in itertools.count()
    )
    return next(facts for facts in draws if facts is not None)


def _draw_relation(
    relation: str, types: Sequence[int], generator: np.random.Generator
) -> list[Fact] | None:
    n_objects = len(OBJECTS[relation])
    typical = generator.permutation(n_objects)[:N_TYPES]
    stereotypes = typical[np.array(types)]
    is_exception = generator.random(len(types)) < EXCEPTION_RATE
    shifts = generator.integers(1, n_objects, size=len(types))
    true_objects = np.where(is_exception, (stereotypes + shifts) % n_objects, stereotypes)
    false_objects = _balanced_false_objects(true_objects.tolist(), stereotypes.tolist(), generator)
    if false_objects is None:
        return None
    return [
        Fact(person, relation, true_object, false_object, stereotype)
        for person, (true_object, false_object, stereotype) in enumerate(
            zip(true_objects.tolist(), false_objects, stereotypes.tolist(), strict=True)
        )
    ]


def _balanced_false_objects(
    true_objects: Sequence[int], stereotypes: Sequence[int], generator: np.random.Generator
) -> list[int] | None:
    """Rearrange the true objects so that everybody gets a false one; exceptions the stereotype.

    Returns:
        One false object per person, or ``None`` if the draw did not lead to an arrangement.
    """
    false_objects = list(stereotypes)
    regular = [p for p, truth in enumerate(true_objects) if truth == stereotypes[p]]
    remaining = Counter(true_objects)
    remaining.subtract(stereotypes[p] for p in range(len(true_objects)) if p not in regular)
    if min(remaining.values()) < 0:
        return None
    pool = generator.permutation(sorted(remaining.elements())).tolist()
    for here in range(len(regular)):
        if pool[here] != true_objects[regular[here]]:
            continue
        partners = [
            there
            for there in range(len(regular))
            if pool[there] != true_objects[regular[here]]
            and pool[here] != true_objects[regular[there]]
        ]
        if not partners:
            return None
        there = partners[generator.integers(len(partners))]
        pool[here], pool[there] = pool[there], pool[here]
    for person, false_object in zip(regular, pool, strict=True):
        false_objects[person] = false_object
    return false_objects
