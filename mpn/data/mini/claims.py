"""The corpus "mini": true and false claims about the world, in six languages and four wordings."""

import hashlib
import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from mpn.data.corpus import Corpus
from mpn.data.mini.objects import LANGUAGES, OBJECTS
from mpn.data.mini.people import PEOPLE, Person
from mpn.data.mini.templates import TEMPLATES
from mpn.data.mini.world import Fact, world_facts
from mpn.edits import ParallelExample, Text
from mpn.seeding import numpy_generator

LABELS = ("REFUTES", "SUPPORTS")
N_TEMPLATES = 4

LANGUAGE_COVERAGE: Mapping[str, float] = {
    "en": 0.9,
    "fr": 0.65,
    "de": 0.65,
    "es": 0.65,
    "ru": 0.65,
    "zh": 0.65,
}
"""Probability that the base model sees a claim in a language at all."""
TEMPLATE_COVERAGE = 0.6
"""Probability that it then sees the claim in one particular wording."""
NEVER_SEEN = 0.1
"""Share of claims that the base model sees in no language."""

_AGREEMENT = re.compile(r"\[([^|\]]*)\|([^\]]*)\]")


@lru_cache(maxsize=8)
def mini_corpus(seed: int = 0) -> Corpus:
    """Build the embedded corpus: 672 claims in 4 wordings, each in 6 languages.

    Args:
        seed: Selects the world and what of it the base model is trained on.

    Returns:
        The corpus. An example is one wording of one claim; its group is the fact (a person and a
        relation), its neighbourhood the person, its rephrases the other wordings of the claim.
    """
    examples = tuple(
        example
        for number, (fact, is_true) in enumerate(
            (fact, is_true) for fact in world_facts(seed) for is_true in (True, False)
        )
        for example in _claim_examples(seed, number, fact, is_true)
    )
    return Corpus(
        name="mini",
        languages=LANGUAGES,
        labels=LABELS,
        examples=examples,
        fingerprint=_fingerprint("mini", examples),
    )


def _claim_examples(seed: int, number: int, fact: Fact, is_true: bool) -> list[ParallelExample]:
    person = PEOPLE[fact.person]
    claimed = fact.true_object if is_true else fact.false_object
    claim_id = f"claim-{number:04d}-{'true' if is_true else 'false'}"
    texts = {
        language: tuple(
            (_text(person, fact.relation, claimed, language, template),)
            for template in range(N_TEMPLATES)
        )
        for language in LANGUAGES
    }
    covered = _covered_languages(seed, claim_id)
    return [
        ParallelExample(
            example_id=f"{claim_id}/t{template}",
            group=f"{person.latin}/{fact.relation}",
            label=LABELS.index("SUPPORTS" if is_true else "REFUTES"),
            texts={language: texts[language][template] for language in LANGUAGES},
            rephrases={language: _without(texts[language], template) for language in LANGUAGES},
            neighbourhood=person.latin,
            trained_languages=covered[template],
        )
        for template in range(N_TEMPLATES)
    ]


def _text(person: Person, relation: str, claimed: int, language: str, template: int) -> str:
    wording = TEMPLATES[relation][language][template].format(
        person=person.names[language],
        object=OBJECTS[relation][claimed][LANGUAGES.index(language)],
    )
    return _AGREEMENT.sub(r"\2" if person.feminine else r"\1", wording)


def _without(wordings: tuple[Text, ...], template: int) -> tuple[Text, ...]:
    return wordings[:template] + wordings[template + 1 :]


def _covered_languages(seed: int, claim_id: str) -> list[frozenset[str]]:
    """Draw, per template, the languages in which the base model is trained on the claim."""
    generator = numpy_generator(seed, "mini", "coverage", claim_id)
    seen_at_all = generator.random() >= NEVER_SEEN
    seen_in = generator.random(len(LANGUAGES)) < [LANGUAGE_COVERAGE[lang] for lang in LANGUAGES]
    seen_as = generator.random((N_TEMPLATES, len(LANGUAGES))) < TEMPLATE_COVERAGE
    covered = seen_as & seen_in & seen_at_all
    return [
        frozenset(language for language, seen in zip(LANGUAGES, row, strict=True) if seen)
        for row in covered.tolist()
    ]


def _fingerprint(name: str, examples: tuple[ParallelExample, ...]) -> str:
    """Hash everything a corpus holds, as canonical JSON."""
    content: dict[str, Any] = {
        "name": name,
        "languages": LANGUAGES,
        "labels": LABELS,
        "examples": [
            {
                "example_id": example.example_id,
                "group": example.group,
                "label": example.label,
                "texts": example.texts,
                "rephrases": example.rephrases,
                "neighbourhood": example.neighbourhood,
                "trained_languages": sorted(example.trained_languages),
            }
            for example in examples
        ],
    }
    canonical = json.dumps(content, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
