import copy
import json
from dataclasses import asdict

import pytest
from pydantic import ValidationError

from orchestrator.endurance import RetryPolicy
from orchestrator.errors import problems_in
from orchestrator.identity import content_hash
from orchestrator.spec import Range, StudySpec, definition_of

MINIMAL = {
    "study": "a",
    "question": "Does it?",
    "objective": "fake",
    "base": {"x": 1},
    "measure": {"primary": "score"},
}
SEARCH = {
    "trials": 3,
    "sampler": "tpe",
    "space": {"x": [1, 2]},
    "objectives": {"score": "maximize"},
}


def problems_of(**sections):
    """What is wrong with a study, as (place, found) pairs."""
    with pytest.raises(ValidationError) as caught:
        StudySpec.model_validate(copy.deepcopy(MINIMAL) | sections)
    return [(p.place, p.found) for p in problems_in(caught.value, StudySpec)]


def study(**sections):
    return StudySpec.model_validate(copy.deepcopy(MINIMAL) | sections)


def test_what_is_left_out_has_the_documented_defaults():
    spec = study()
    assert (spec.expect, spec.sweep, spec.ablate, spec.search) == (None, {}, {}, None)
    assert (spec.measure.guard, spec.measure.baseline, spec.measure.interval.level) == (
        [],
        None,
        0.95,
    )
    assert spec.budget.model_dump() == {"max_trials": 200, "max_failed_trials": None}
    assert spec.resources.model_dump() == {
        "actors": None,
        "gpus": None,
        "cpus": 1,
        "memory_gib": None,
        "custom": {},
        "labels": {},
        "strategy": "pack",
        "threads": 1,
        "checkpoint_every_s": 1.0,
        "cache_gib": 20.0,
        "cache": None,
    }
    assert spec.retry.model_dump() == asdict(RetryPolicy())
    search = study(search=SEARCH).search
    assert (search.seed, search.parallel) == (0, 4)


def test_a_spec_is_frozen_at_every_level():
    spec = study()
    for part, field in [(spec, "study"), (spec.budget, "max_trials")]:
        with pytest.raises(ValidationError):
            setattr(part, field, None)


@pytest.mark.parametrize("name", ["a", "0", "a" * 64, "a.b_c-d"])
def test_study_names_that_are_safe_in_paths_are_taken(name):
    assert study(study=name).study == name


@pytest.mark.parametrize("name", ["", "a" * 65, "A", "-a", ".a", "a/b", "a..b", "a\n", "é"])
def test_other_study_names_are_refused(name):
    [(place, found)] = problems_of(study=name)
    assert place == "study"
    assert found.endswith(" is not a study name")


def test_a_whole_number_is_taken_where_a_number_is_wanted_but_not_the_reverse():
    assert study(retry={"backoff_s": 2}).retry.backoff_s == 2.0
    assert problems_of(retry={"attempts": 2.0}) == [("retry.attempts", "2.0 is not a whole number")]
    assert problems_of(retry={"attempts": True, "backoff_s": True}) == [
        ("retry.attempts", "true is not a whole number"),
        ("retry.backoff_s", "true is not a number"),
    ]


@pytest.mark.parametrize(
    ("section", "field", "least", "too_small"),
    [
        ("budget", "max_trials", 1, 0),
        ("budget", "max_failed_trials", 0, -1),
        ("resources", "actors", 1, 0),
        ("resources", "gpus", 0, -0.5),
        ("resources", "cpus", 0.5, 0),
        ("resources", "threads", 1, 0),
        ("resources", "checkpoint_every_s", 0, -0.1),
        ("resources", "cache_gib", 0.5, 0),
        ("retry", "attempts", 1, 0),
        ("retry", "backoff_s", 0, -1),
    ],
)
def test_numbers_have_a_least_value(section, field, least, too_small):
    assert getattr(getattr(study(**{section: {field: least}}), section), field) == least
    assert problems_of(**{section: {field: too_small}}) == [
        (f"{section}.{field}", f"{too_small} is too small")
    ]


@pytest.mark.parametrize(
    ("field", "least", "too_small"), [("trials", 1, 0), ("seed", 0, -1), ("parallel", 1, 0)]
)
def test_numbers_of_a_search_have_a_least_value(field, least, too_small):
    assert getattr(study(search=SEARCH | {field: least}).search, field) == least
    assert problems_of(search=SEARCH | {field: too_small}) == [
        (f"search.{field}", f"{too_small} is too small")
    ]


def test_the_largest_seed_is_what_numpy_takes():
    assert study(search=SEARCH | {"seed": 2**32 - 1}).search.seed == 2**32 - 1
    assert problems_of(search=SEARCH | {"seed": 2**32}) == [
        ("search.seed", "4294967296 is too large")
    ]


@pytest.mark.parametrize("level", [0.01, 0.99])
def test_the_level_of_an_interval_can_be_any_number_within_its_limits(level):
    measure = {"primary": "score", "interval": {"level": level}}
    assert study(measure=measure).measure.interval.level == level


@pytest.mark.parametrize(("level", "found"), [(0, "0 is too small"), (1, "1 is too large")])
def test_the_level_of_an_interval_lies_between_0_and_1(level, found):
    assert problems_of(measure={"primary": "score", "interval": {"level": level}}) == [
        ("measure.interval.level", found)
    ]


@pytest.mark.parametrize("gpus", [0, 0.25, 1, 2, 2.0])
def test_a_fraction_of_a_gpu_or_whole_gpus_are_taken(gpus):
    assert study(resources={"gpus": gpus}).resources.gpus == gpus


def test_more_than_one_gpu_and_a_fraction_is_refused():
    assert problems_of(resources={"gpus": 1.5}) == [("resources.gpus", "1.5 is no number of GPUs")]


@pytest.mark.parametrize(
    ("sections", "place", "found"),
    [
        ({"sweep": {"x": []}}, "sweep.x", "no values"),
        ({"sweep": {"x": 3}}, "sweep.x", "3 is not a list"),
        ({"sweep": {"x": [1, 2, 1]}}, "sweep.x", "1 is listed twice"),
        ({"sweep": {"x": [{"b": 1, "a": 2}, {"a": 2, "b": 1}]}}, "sweep.x",
         '{"a": 2, "b": 1} is listed twice'),
        ({"ablate": {"no-x": {}}}, "ablate.no-x", "empty"),
        ({"ablate": {"base": {"x": 1}}}, "ablate.base",
         "'base' is what the unchanged trial is called"),
        ({"ablate": {"a b": {"x": 1}}}, "ablate.a b", "'a b' is not a name for an ablation"),
        ({"question": " "}, "question", "nothing is said here"),
        ({"expect": ""}, "expect", "nothing is said here"),
        ({"measure": {"primary": "score", "baseline": {}}}, "measure.baseline", "empty"),
        ({"search": SEARCH | {"sampler": "tpee"}}, "search.sampler", "'tpee' is not a choice here"),
        ({"search": SEARCH | {"objectives": {}}}, "search.objectives", "empty"),
        ({"search": SEARCH | {"objectives": {"score": "up"}}}, "search.objectives.score",
         "'up' is not a choice here"),
        ({"search": SEARCH | {"space": {}}}, "search.space", "empty"),
        ({"search": SEARCH | {"space": {"x": []}}}, "search.space.x", "no values"),
        ({"search": SEARCH | {"space": {"x": 3}}}, "search.space.x", "3 is not a mapping"),
    ],
)  # fmt: skip
def test_other_contents_are_refused_at_their_place(sections, place, found):
    assert problems_of(**sections) == [(place, found)]


def test_one_and_one_point_zero_are_two_values():
    assert study(sweep={"x": [1, 1.0, True]}).sweep == {"x": [1, 1.0, True]}


@pytest.mark.parametrize(
    "others",
    [
        {"sweep": {"x": [1]}},
        {"ablate": {"no-x": {"x": None}}},
        {"sweep": {"x": [1]}, "ablate": {"no-x": {"x": None}}},
    ],
)
def test_a_search_stands_alone(others):
    assert problems_of(search=SEARCH, **others) == [
        ("search", f"together with {' and '.join(others)}")
    ]


def test_a_search_beside_a_sweep_that_is_wrong_itself_is_still_refused():
    places = [place for place, _ in problems_of(search=SEARCH, sweep={"x": []})]
    assert places == ["sweep.x", "search"]


def test_a_range_is_whole_only_if_both_bounds_are():
    assert Range(low=1, high=3).whole
    assert not Range(low=1, high=3.0).whole
    assert not Range(low=1.0, high=3).whole


@pytest.mark.parametrize(
    "bounds",
    [
        {"low": 0.0, "high": 0.3, "step": 0.1},  # not a multiple in binary
        {"low": 1, "high": 9, "step": 4},
        {"low": 0.1, "high": 10, "log": True},
    ],
)
def test_a_range_with_a_matching_step_or_a_logarithm_is_taken(bounds):
    assert study(search=SEARCH | {"space": {"x": bounds}}).search.space["x"].low == bounds["low"]


@pytest.mark.parametrize(
    ("bounds", "place", "found"),
    [
        ({"low": 2, "high": 2}, "x", "low 2 is not below high 2"),
        ({"low": 0, "high": 2, "log": True}, "x", "a logarithmic scale from low 0"),
        ({"low": 1, "high": 2, "log": True, "step": 1}, "x", "both log and step"),
        ({"low": 1, "high": 2, "step": 0}, "x", "step 0"),
        ({"low": 1, "high": 2, "step": 0.5}, "x", "step 0.5"),
        ({"low": 1.0, "high": 2, "step": -0.5}, "x", "step -0.5"),
        ({"low": 1, "high": 4, "step": 2}, "x", "step 2 does not lead from 1 to 4"),
        ({"low": 1}, "x.high", "missing"),
        ({"low": True, "high": 2}, "x.low", "true is not a number"),
        ({"low": 1, "hihg": 2, "high": 3}, "x.hihg", "unknown key"),
    ],
)
def test_a_range_that_makes_no_sense_is_refused(bounds, place, found):
    assert problems_of(search=SEARCH | {"space": {"x": bounds}}) == [
        (f"search.space.{place}", found)
    ]


@pytest.mark.parametrize(("low", "kind"), [(1, "a whole number"), (1.0, "a number")])
def test_the_step_of_a_range_of_whole_numbers_is_whole(low, kind):
    with pytest.raises(ValidationError) as caught:
        Range(low=low, high=2, step=0)
    [problem] = problems_in(caught.value, Range)
    assert problem.wanted == f"{kind} above 0"


def test_numbers_are_finite():
    assert problems_of(resources={"cpus": float("inf")}) == [
        ("resources.cpus", "Infinity: Input should be a finite number")
    ]


def definition_hash(**sections):
    return content_hash(definition_of(study(**sections)))


@pytest.mark.parametrize(
    "change",
    [
        {"study": "b"},
        {"question": "Or not?"},
        {"expect": "It does."},
        {"measure": {"primary": "score", "guard": ["other"]}},
        {"budget": {"max_trials": 7}},
        {"resources": {"gpus": 4, "checkpoint_every_s": 0.0, "cache_gib": 1.0}},
        {"retry": {"attempts": 9}},
    ],
)
def test_what_does_not_decide_which_trials_exist_is_not_in_the_definition(change):
    assert definition_hash(**change) == definition_hash()


@pytest.mark.parametrize(
    "change",
    [
        {"objective": "other"},
        {"base": {"x": 2}},
        {"sweep": {"x": [1, 2]}},
        {"sweep": {"x": [2, 1]}},
        {"ablate": {"no-x": {"x": None}}},
        {"search": SEARCH},
        {"search": SEARCH | {"parallel": 2}},
        {"search": SEARCH | {"seed": 1}},
        {"search": SEARCH | {"space": {"x": {"low": 1, "high": 2}}}},
    ],
)
def test_what_decides_which_trials_exist_is_in_the_definition(change):
    assert definition_hash(**change) != definition_hash()


def test_the_order_of_paths_is_part_of_the_definition_since_it_numbers_the_trials():
    one, other = {"x": [1], "y": [2]}, {"y": [2], "x": [1]}
    assert definition_hash(sweep=one) != definition_hash(sweep=other)
    assert definition_hash(ablate={"a": one, "b": other}) != definition_hash(
        ablate={"b": other, "a": one}
    )
    assert definition_hash(search=SEARCH | {"space": one}) != definition_hash(
        search=SEARCH | {"space": other}
    )


def test_what_actors_need_of_nodes_is_checked():
    resources = {
        "memory_gib": 0,
        "custom": {"GPU": 1, "a100": 0},
        "labels": {"zone": "in(a", "tier": True},
        "strategy": "scatter",
        "cache": "scratch",
    }
    assert problems_of(resources=resources) == [
        ("resources.memory_gib", "0 is too small"),
        ("resources.custom.GPU", "'GPU' is Ray's own"),
        ("resources.custom.a100", "0 is too small"),
        ("resources.labels.zone", "'in(a' selects no label"),
        ("resources.labels.tier", "true is not text"),
        ("resources.strategy", "'scatter' is not a choice here"),
        ("resources.cache", "'scratch' is not an absolute path"),
    ]


@pytest.mark.parametrize("selector", ["b", "!b", "in(a, b)", "!in(a,b)", "in(H100)"])
def test_labels_are_selected_in_rays_words_but_without_its_trap(selector):
    labels = study(resources={"labels": {"zone": selector}}).resources.labels
    assert labels == {"zone": selector.replace(" ", "")}


def test_resources_say_nothing_of_which_trials_there_are():
    resources = {"gpus": 1.0, "memory_gib": 4, "custom": {"a100": 1}, "cache": "/scratch"}
    assert content_hash(definition_of(study(resources=resources))) == content_hash(
        definition_of(study())
    )


def test_a_pruner_decides_which_trials_there_are_and_none_leaves_definitions_as_they_were():
    median = SEARCH | {"pruner": {"name": "median"}}
    halving = SEARCH | {"pruner": {"name": "successive_halving"}}
    hashes = {definition_hash(search=search) for search in (SEARCH, median, halving)}
    assert len(hashes) == 3
    assert "pruner" not in definition_of(study(search=SEARCH))["search"]


def test_a_study_is_the_same_after_it_was_remembered():
    space = {"n": {"low": 0, "high": 5, "step": 1}, "x": {"low": 0.0, "high": 1}, "one": [1, 2.0]}
    spec = study(search=SEARCH | {"space": space})
    again = StudySpec.model_validate(json.loads(json.dumps(spec.model_dump(mode="json"))))
    assert again.search.space["n"].whole and not again.search.space["x"].whole
    assert content_hash(definition_of(again)) == content_hash(definition_of(spec))
