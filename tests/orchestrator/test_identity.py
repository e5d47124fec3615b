import collections
import enum
import math

import pytest

from orchestrator.identity import canonical_json, content_hash


class Colour(enum.StrEnum):
    RED = "red"


class Celsius(float):
    pass


class Row(list):
    pass


def test_keys_are_sorted_at_every_level_and_there_are_no_spaces():
    assert canonical_json({"b": [1, {"d": None, "c": True}], "a": "x y"}) == (
        '{"a":"x y","b":[1,{"c":true,"d":null}]}'
    )


def test_a_float_stays_a_float_and_a_boolean_is_no_number():
    assert canonical_json([1, 1.0, True]) == "[1,1.0,true]"
    assert len({content_hash(value) for value in (1, 1.0, True, "1")}) == 4


def test_floats_are_the_shortest_digits_that_read_back():
    assert canonical_json([0.1, 1e-3, 1e22, 0.1 + 0.2]) == "[0.1,0.001,1e+22,0.30000000000000004]"


def test_all_is_ascii():
    assert canonical_json("Русский\ud800") == (
        '"\\u0420\\u0443\\u0441\\u0441\\u043a\\u0438\\u0439\\ud800"'
    )


def test_the_hash_is_sha256_of_the_canonical_json():
    # printf '{"a":1}' | sha256sum
    expected = "015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862"
    assert content_hash({"a": 1}) == expected


def test_the_order_of_keys_does_not_count_and_that_of_items_does():
    assert content_hash({"a": 1, "b": 2}) == content_hash({"b": 2, "a": 1})
    assert content_hash([1, 2]) != content_hash([2, 1])


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            {"a": [0, (1, 2)]},
            "a[1]: type tuple has no canonical JSON; "
            "convert it to dict, list, str, int, float, bool or None",
        ),
        ({"a": {"b": {1: 2}}}, "a.b: the key 1 is of type int, not str"),
        ({1: 2}, "the top: the key 1 is of type int, not str"),
        (
            collections.OrderedDict(a=1),
            "the top: type collections.OrderedDict has no canonical JSON; "
            "convert it to dict, list, str, int, float, bool or None",
        ),
        *(
            (
                value,
                f"the top: type {__name__}.{type(value).__name__} has no canonical JSON; "
                "convert it to dict, list, str, int, float, bool or None",
            )
            for value in (Celsius(1), Row([1]))
        ),
        (
            {"c": Colour.RED},
            f"c: type {__name__}.Colour has no canonical JSON; "
            "convert it to dict, list, str, int, float, bool or None",
        ),
    ],
)
def test_other_types_are_refused_with_their_place(value, message):
    with pytest.raises(TypeError) as caught:
        canonical_json(value)
    assert str(caught.value) == message


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_not_finite_are_refused_with_their_place(value):
    with pytest.raises(ValueError, match=rf"^a\[0\]: {value} is not a finite number$"):
        canonical_json({"a": [value]})
