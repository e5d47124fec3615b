"""What a study file can say of its data set."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from mpn.settings import Settings

Column = Literal["id", "group", "language", "label", "text", "text_pair", "rephrases"]
EditChoice = Literal["mistakes", "counterfactual"]


class DatasetSettings(Settings):
    """Which examples to edit, to remember and to evaluate on.

    Attributes:
        name: ``mini``, the embedded corpus; ``xnli``; ``pawsx``; ``fever``; ``xfever``, a parallel
            folder of FEVER claims; or ``files``, one's own.
        path: A file, a folder, or for ``fever`` and ``files`` a pattern with ``*``; ``null``, for
            ``xnli`` and ``pawsx``, reads the hub's.
        revision: For the hub: commit of the data set, 40 hexadecimal digits.
        split: Which part: ``train``, ``dev``, ``test``, or another that the files have.
        languages: Which languages to use; ``all`` that the corpus has.
        labels: Examples of other labels are left out; ``null`` keeps all.
        evidence: For FEVER: a text is the claim and its evidence, instead of the claim alone.
        columns: For ``files``: what the columns are called, where they have other names.
        verified: For parallel folders: ``any`` leaves out translations that a person rejected,
            ``only`` also those that a check flagged and nobody accepted.
        bad_rows: What is done about rows that cannot be used: ``refuse`` the corpus, or ``drop``
            their examples.
        max_characters: A longer text, or segment of a text pair, is a bad row.
        limit: Use only the first so many examples; ``null`` uses all.
        edits: Which examples are edited: ``mistakes`` of the base model, or all, each to a label
            that the model does not give (``counterfactual``).
        seed: Deals the examples to their roles, and draws counterfactual labels.
        evaluation_examples: Unrelated examples, each in every language, that locality is
            measured on; ``all`` that are set aside for it.
        evaluation_sample: How many of them, the same ones for every trial, at layers below the
            last, where each evaluation runs the rest of the model.
        neighbours: Examples near an edit that near locality is measured on.
    """

    name: Literal["mini", "xnli", "pawsx", "fever", "xfever", "files"] = "mini"
    path: str | None = None
    revision: str | None = None
    split: Annotated[str, Field(pattern=r"^\w+$")] = "test"
    languages: Literal["all"] | list[str] = "all"
    labels: Annotated[list[str], Field(min_length=1)] | None = None
    evidence: bool = False
    columns: dict[Column, str] = Field(default_factory=dict)
    verified: Literal["any", "only"] = "any"
    bad_rows: Literal["refuse", "drop"] = "refuse"
    max_characters: PositiveInt = 20_000
    limit: PositiveInt | None = None
    edits: EditChoice = "mistakes"
    seed: NonNegativeInt = 0
    evaluation_examples: PositiveInt | Literal["all"] = "all"
    evaluation_sample: PositiveInt = 48
    neighbours: NonNegativeInt = 4
