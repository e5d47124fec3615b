import inspect
import pickle

import pytest
from pydantic import BaseModel, Field, ValidationError

from orchestrator import errors
from orchestrator.errors import (
    InputError,
    OrchestratorError,
    OutageError,
    Problem,
    ReplicaDirtyError,
    StudyBusyError,
    WorkerLostError,
    problems_in,
    suggestion,
)

LONG = Problem("base.editor.topk", 20, "unknown key", "did you mean 'top_k'?\nKnown here: top_k")
SHORT = Problem("base.languages", 7, "'two' is not a whole number", "a whole number")
FROM_COMMAND_LINE = Problem("base.layer", None, "99 is too large", "0 to 11", "--set")
NOWHERE = Problem("", None, "there is no such file", "check the path")

EXAMPLES = {
    OrchestratorError: OrchestratorError("something"),
    OutageError: OutageError("the ledger", "OSError: full", 12.5),
    InputError: InputError("a.yaml", [LONG, SHORT], "Look again."),
    ReplicaDirtyError: ReplicaDirtyError("layer 3 has changed"),
    StudyBusyError: StudyBusyError("sound", "runs"),
    WorkerLostError: WorkerLostError("killed"),
}


def test_places_found_and_wanted_are_aligned_whatever_the_lines():
    assert str(InputError("specs/a.yaml", [SHORT, LONG, FROM_COMMAND_LINE])) == (
        "3 problems in specs/a.yaml\n"
        "\n"
        "  line 7   base.languages: 'two' is not a whole number\n"
        "           a whole number\n"
        "  line 20  base.editor.topk: unknown key\n"
        "           did you mean 'top_k'?\n"
        "           Known here: top_k\n"
        "  --set    base.layer: 99 is too large\n"
        "           0 to 11\n"
        "\n"
        "Nothing was launched. Re-check with: mpn plan specs/a.yaml"
    )


def test_one_problem_is_singular_and_without_a_line_stands_at_the_margin():
    assert str(InputError("a.yaml", [NOWHERE], "")) == (
        "1 problem in a.yaml\n\n  there is no such file\n  check the path"
    )


def test_what_the_user_can_mend_exits_with_2_and_any_other_with_1():
    codes = {kind: kind.exit_code for kind in EXAMPLES}
    assert {kind for kind, code in codes.items() if code == 2} == {InputError, StudyBusyError}
    assert set(codes.values()) == {1, 2}


def test_a_busy_study_says_what_to_do():
    assert str(StudyBusyError("sound", "runs")) == (
        "study sound in runs is being run by another process\n"
        "Nothing was launched. Wait for it, stop it, help it with --join, or use another --home. "
        "Watch it with: mpn status sound --home runs"
    )


def test_the_fields_of_an_input_error_are_its_args():
    error = InputError("a.yaml", [SHORT])
    footer = "Nothing was launched. Re-check with: mpn plan a.yaml"
    assert error.args == ("a.yaml", (SHORT,), footer)
    assert (error.file, error.problems, error.footer) == error.args


@pytest.mark.parametrize(
    "kind",
    [
        kind
        for _, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, Exception) and kind.__module__ == errors.__name__
    ],
)
def test_every_exception_survives_pickling_with_its_fields(kind):
    before = EXAMPLES[kind]
    after = pickle.loads(pickle.dumps(before))
    assert type(after) is kind
    assert (after.args, vars(after), str(after)) == (before.args, vars(before), str(before))


def test_a_near_miss_is_suggested_and_the_known_names_are_sorted():
    assert suggestion("topk", ["top_k", "gap"]) == "did you mean 'top_k'? Known here: gap, top_k"


def test_nothing_is_suggested_when_nothing_is_near():
    assert suggestion("banana", ["gap"], "Metrics") == "Metrics: gap"
    assert suggestion("banana", []) == "Known here: nothing"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a", "'a'"),
        (False, "false"),
        (None, "null"),
        ([1, "é"], '[1, "é"]'),
        ({1}, "{1}"),
        (float("nan"), "NaN"),
        ("x" * 58, f"'{'x' * 58}'"),
        ("x" * 59, f"'{'x' * 58}…"),
    ],
)
def test_values_are_shown_as_they_are_written_and_cut_at_60(value, text):
    assert errors.shown(value) == text


class Inner(BaseModel):
    model_config = {"extra": "forbid", "strict": True}
    size: int = Field(ge=1, lt=10, description="a whole number from 1 to 9")
    name: str = Field("x", description="text")


class Outer(BaseModel):
    inner: Inner = Field(description="a mapping with size")
    many: dict[str, list[int]] = Field({}, description="lists of whole numbers")
    width: float = Field(1.0, description="a number", multiple_of=0.5)


@pytest.mark.parametrize(
    ("data", "place", "found", "wanted"),
    [
        ({"size": 0}, "inner.size", "0 is too small", "a whole number from 1 to 9"),
        ({"size": 10}, "inner.size", "10 is too large", "a whole number from 1 to 9"),
        ({"size": 1.5}, "inner.size", "1.5 is not a whole number", "a whole number from 1 to 9"),
        ({}, "inner.size", "missing", "add it: a whole number from 1 to 9"),
        (
            {"size": 1, "sise": 1},
            "inner.sise",
            "unknown key",
            "did you mean 'size'? Known here: name, size",
        ),
        (
            {"size": 1, "name": 3},
            "inner.name",
            "3 is not text",
            "text; in quotes, if it is meant as text",
        ),
        ([1], "inner", "[1] is not a mapping", "a mapping with size"),
    ],
)
def test_what_pydantic_finds_is_put_into_words(data, place, found, wanted):
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate({"inner": data})
    assert problems_in(caught.value, Outer) == [Problem(place, None, found, wanted)]


def test_a_free_key_and_an_index_belong_to_the_place():
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate({"inner": {"size": 1}, "many": {"inner.size": [1, []]}})
    [problem] = problems_in(caught.value, Outer)
    assert problem == Problem(
        "many.inner.size[1]", None, "[] is not a whole number", "lists of whole numbers"
    )


def test_what_has_no_words_of_its_own_keeps_those_of_pydantic():
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate({"inner": {"size": 1}, "width": 0.7})
    [problem] = problems_in(caught.value, Outer)
    assert problem.found == "0.7: Input should be a multiple of 0.5"
