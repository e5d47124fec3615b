import copy

import pytest

from orchestrator.errors import InputError, Problem
from orchestrator.plan import MOST_CELLS, expand, get_path, set_path, trial_for
from orchestrator.spec import StudySpec

BASE = {"layer": 3, "memory": {"size": 4, "weight": 1.0}, "pairing": {"languages": 2}}
SEARCH = {
    "trials": 3,
    "sampler": "random",
    "space": {"layer": {"low": 0, "high": 9}, "pairing.languages": [0, 2]},
    "objectives": {"score": "maximize"},
}


class Fake:
    """Fills in ``memory.weight``; refuses negative layers, and four languages at layer 0."""

    name = "fake"
    metrics = {"score": "maximize"}  # noqa: RUF012

    def blocks(self, params):
        return tuple((stream,) for stream in range(params.get("streams", 1)))

    def resolve(self, params):
        params = copy.deepcopy(dict(params))
        problems = []
        if params.get("memory") is not None:
            params["memory"].setdefault("weight", 1.0)
        if params["layer"] < 0:
            problems.append(Problem("layer", None, f"{params['layer']} is below 0", "0 or more"))
        if params["layer"] == 0 and params["pairing"]["languages"] == 4:
            problems.append(Problem("", None, "too much at layer 0", "fewer languages"))
        if isinstance(params["memory"], dict) and params["memory"]["size"] == 0:
            problems.append(Problem("memory.size", None, "0 is no size", "1 or more"))
        return params, problems


def study(**sections):
    return StudySpec.model_validate(
        {
            "study": "a",
            "question": "Does it?",
            "objective": "fake",
            "base": copy.deepcopy(BASE),
            "measure": {"primary": "score"},
            **sections,
        }
    )


def trials_of(**sections):
    return expand(study(**sections), Fake())


def labels_of(**sections):
    return [trial.label for trial in trials_of(**sections)]


def problems_of(**sections):
    """What is wrong, as (place, found) pairs."""
    with pytest.raises(InputError) as caught:
        trials_of(**sections)
    return [(problem.place, problem.found) for problem in caught.value.problems]


def baselines_of(**sections):
    return [trial.label for trial in trials_of(**sections) if trial.baseline]


def test_without_sweep_and_ablate_the_base_is_the_one_trial():
    [trial] = trials_of()
    assert (trial.number, trial.label, trial.changes, trial.baseline) == (0, "base", {}, True)
    assert trial.params == BASE


def test_the_first_path_of_a_grid_varies_slowest():
    trials = trials_of(sweep={"pairing.languages": [1, 2], "layer": [5, 3, 4]})
    assert [trial.number for trial in trials] == [0, 1, 2, 3, 4, 5]
    assert [tuple(trial.changes.values()) for trial in trials] == [
        (1, 5), (1, 3), (1, 4), (2, 5), (2, 3), (2, 4)
    ]  # fmt: skip
    assert trials[0].params == BASE | {"layer": 5, "pairing": {"languages": 1}}


def test_each_ablation_is_the_base_with_its_own_changes_only_after_base_and_grid():
    trials = trials_of(
        sweep={"layer": [5]}, ablate={"mono": {"pairing.languages": 0}, "bare": {"memory": None}}
    )
    assert [trial.label for trial in trials] == ["base", "layer=5", "mono", "bare"]
    assert trials[2].params == BASE | {"pairing": {"languages": 0}}
    assert trials[3].params == BASE | {"memory": None}


def test_every_trial_has_the_value_of_every_path_that_varies_anywhere():
    trials = trials_of(
        sweep={"memory.size": [8], "layer": [5]},
        ablate={"bare": {"memory": None}, "other": {"layer": 1}},
    )
    assert [list(trial.changes) for trial in trials] == [["memory.size", "layer", "memory"]] * 4
    memory = {"size": 4, "weight": 1.0}
    assert [tuple(trial.changes.values()) for trial in trials] == [
        (4, 3, memory),
        (8, 5, memory | {"size": 8}),
        (None, 3, None),  # a path inside what is null here
        (4, 1, memory),
    ]


def test_cells_that_resolve_to_the_same_are_one_trial_under_the_first_label():
    # the weight is filled in; layer 3 is the base
    sweep = {"memory": [{"size": 4}, {"size": 4, "weight": 1.0}, {"size": 9}]}
    assert labels_of(sweep=sweep) == ['memory={"size":4}', 'memory={"size":9}']
    assert labels_of(sweep={"layer": [3, 5]}, ablate={"five": {"layer": 5}}) == ["base", "layer=5"]


def test_the_id_depends_on_the_objective_and_the_parameters_alone():
    [one] = trials_of()
    [same] = trials_of(study="b", question="Why?", resources={"gpus": 1}, sweep={"layer": [3]})
    [other] = trials_of(sweep={"layer": [4]})
    assert one.trial_id == same.trial_id != other.trial_id
    renamed = Fake()
    renamed.name = "renamed"
    assert expand(study(), renamed)[0].trial_id != one.trial_id


@pytest.mark.parametrize(
    ("sweep", "label"),
    [
        ({"pairing.languages": [2], "memory.weight": [0.2]}, "languages=2 weight=0.2"),
        ({"layer": ["last"]}, "layer=last"),
        ({"memory": [None]}, "memory=null"),
        ({"memory": [{"name": "ring", "size": 1}]}, "memory=ring"),
        ({"memory": [{"size": 1, "name": "x" * 41}]}, f"memory={'x' * 39}…"),
        ({"memory": [{"size": 1, "name": "x" * 40}]}, f"memory={'x' * 40}"),
    ],
)
def test_a_label_is_short(sweep, label):
    class Anything(Fake):
        def resolve(self, params):
            return dict(params), []

    assert [trial.label for trial in expand(study(sweep=sweep), Anything())] == [label]


def test_a_label_has_as_much_of_a_path_as_tells_it_from_the_others():
    base = {**BASE, "a": {"x": {"size": 1}}, "b": {"x": {"size": 1}}}
    sweep = {"memory.size": [1], "a.x.size": [2], "b.x.size": [3], "layer": [4]}
    assert labels_of(base=base, sweep=sweep) == ["memory.size=1 a.x.size=2 b.x.size=3 layer=4"]


def test_values_of_the_same_name_are_told_apart_by_what_differs():
    base = {**BASE, "layer": 3, "memory": {"name": "ring", "size": 1, "loss": {"weight": 2.0}}}
    values = [
        {"name": "ring", "size": 1},
        {"name": "ring", "size": 2},
        {"name": "ring", "size": 1, "loss": {"weight": 5.0}},
        {"name": "ring", "size": 1, "loss": {"weight": 6.0}, "stop": {"when": "all"}},
        {"name": "heap", "size": 1},
    ]
    assert labels_of(base=base, sweep={"memory": values, "layer": [4]}) == [
        "memory=ring{size=1} layer=4",
        "memory=ring{size=2} layer=4",
        "memory=ring{size=1 loss.weight=5.0} layer=4",
        "memory=ring{size=1 loss.weight=6.0 stop} layer=4",
        "memory=heap layer=4",
    ]


def test_labels_that_would_be_the_same_are_written_out():
    long = ["x" * 50 + "1", "x" * 50 + "2"]
    base = {**BASE, "memory": {**BASE["memory"], "name": "x"}}
    labels = labels_of(base=base, sweep={"memory.name": long})
    assert labels == [f'memory.name="{name}"' for name in long]


def test_the_baseline_is_the_base_where_it_is_a_trial_else_the_first_trial():
    assert baselines_of(sweep={"layer": [1, 3]}) == ["layer=3"]
    assert baselines_of(sweep={"layer": [1, 2]}) == ["layer=1"]
    assert baselines_of(ablate={"one": {"layer": 1}}) == ["base"]


def test_the_baseline_is_the_trial_that_measure_names():
    measure = {"primary": "score", "baseline": {"pairing.languages": 0}}
    ablate = {"one": {"layer": 1}, "mono": {"pairing.languages": 0}}
    assert baselines_of(measure=measure, ablate=ablate) == ["mono"]


def test_a_baseline_that_is_no_trial_is_a_problem():
    measure = {"primary": "score", "baseline": {"layer": 1, "pairing.languages": 0}}
    assert problems_of(measure=measure, sweep={"layer": [1, 2]}) == [
        ("measure.baseline", "no trial is base with layer=1 pairing.languages=0")
    ]


def test_a_path_that_is_not_in_base_is_a_problem_with_a_suggestion():
    with pytest.raises(InputError) as caught:
        trials_of(sweep={"pairing.langauges": [1]})
    assert str(caught.value) == (
        "1 problem in a\n"
        "\n"
        "  sweep.pairing.langauges: not in base\n"
        "  did you mean 'pairing.languages'? In base: layer, memory, memory.size, memory.weight,"
        " pairing, pairing.languages\n"
        "\n"
        "Nothing was launched."
    )


@pytest.mark.parametrize(
    ("sections", "place"),
    [
        ({"sweep": {"layer.x": [1]}}, "sweep.layer.x"),
        ({"ablate": {"odd": {"nope": 1}}}, "ablate.odd.nope"),
        ({"measure": {"primary": "score", "baseline": {"nope": 1}}}, "measure.baseline.nope"),
        ({"search": SEARCH | {"space": {"nope.x": [1]}}}, "search.space.nope.x"),
    ],
)
def test_paths_of_every_section_must_be_in_base(sections, place):
    assert problems_of(**sections) == [(place, "not in base")]


def test_a_path_may_lead_to_a_default_that_base_leaves_out():
    base = BASE | {"memory": {"size": 4}}
    assert labels_of(base=base, sweep={"memory.weight": [2.0]}) == ["weight=2.0"]


def test_nothing_can_be_set_inside_null():
    base = BASE | {"memory": None}
    assert problems_of(base=base, sweep={"memory.size": [1], "layer": [1]}) == [
        ("sweep.memory.size", "memory is null in base, so nothing can be set inside it")
    ]


def test_paths_inside_one_another_cannot_both_be_changed():
    changes = {"memory": {"size": 1}, "memory.size": 2}
    assert problems_of(ablate={"odd": changes}) == [
        ("ablate.odd.memory.size", "lies inside memory, which is changed too")
    ]


def test_a_value_that_the_objective_refuses_is_reported_once_at_its_own_place():
    assert problems_of(
        sweep={"layer": [1, -1, -2], "pairing.languages": [0, 1]},
        ablate={"below": {"pairing.languages": 3, "layer": -1}},
    ) == [
        ("sweep.layer[1]", "-1 is below 0"),
        ("sweep.layer[2]", "-2 is below 0"),
        ("ablate.below.layer", "-1 is below 0"),
    ]


def test_a_problem_inside_a_value_keeps_the_way_to_it():
    assert problems_of(sweep={"memory": [{"size": 1}, {"size": 0}]}) == [
        ("sweep.memory[1].size", "0 is no size")
    ]


def test_a_problem_between_values_names_those_that_share_it():
    sweep = {"layer": [0, 1], "pairing.languages": [2, 4], "memory.size": [1, 2]}
    assert problems_of(sweep=sweep) == [
        ("sweep", "with layer=0 pairing.languages=4: too much at layer 0")
    ]
    assert problems_of(base=BASE | {"layer": 0}, sweep={"pairing.languages": [2, 4]}) == [
        ("sweep.pairing.languages[1]", "with pairing.languages=4: too much at layer 0")
    ]


def test_a_problem_of_the_base_is_not_repeated_by_every_trial():
    assert problems_of(base=BASE | {"layer": -1}, sweep={"pairing.languages": [1, 2]}) == [
        ("base.layer", "-1 is below 0")
    ]


def test_a_path_that_is_wrong_does_not_hide_a_value_that_is():
    assert problems_of(sweep={"nope": [1], "layer": [-1]}, budget={"max_trials": 1}) == [
        ("sweep.nope", "not in base"),
        ("sweep.layer[0]", "-1 is below 0"),
    ]


@pytest.mark.parametrize(
    ("sections", "count", "advice"),
    [
        (
            {"sweep": {"layer": [1, 2, 3]}},
            3,
            "3 grid cells = 3; raise it, or drop a value from sweep",
        ),
        (
            {"sweep": {"layer": [1, 3]}, "ablate": {"a": {"memory": None}}},
            3,  # the base is one of the grid's cells
            "2 grid cells + 1 ablation = 3; raise it, or drop a value from sweep",
        ),
        (
            {"sweep": {"layer": [1]}, "ablate": {"a": {"memory": None}}},
            3,
            "base + 1 grid cell + 1 ablation = 3; raise it, or drop a value from sweep",
        ),
        (
            {"ablate": {"a": {"layer": 1}, "b": {"layer": 2}}},
            3,
            "base + 2 ablations = 3; raise it, or drop an ablation",
        ),
        ({"search": SEARCH}, 3, "raise it, or lower search.trials"),
    ],
)
def test_a_budget_below_the_number_of_trials_is_a_problem(sections, count, advice):
    trials_of(budget={"max_trials": count}, **sections)
    with pytest.raises(InputError) as caught:
        trials_of(budget={"max_trials": count - 1}, **sections)
    found = f"{count - 1} is fewer than the {count} trials this study expands to"
    assert caught.value.problems == (Problem("budget.max_trials", None, found, advice),)


def test_the_default_budget_says_that_it_is_the_default():
    [(_, found)] = problems_of(sweep={"layer": list(range(201))})
    assert found == "200 (the default) is fewer than the 201 trials this study expands to"


def test_a_grid_too_large_to_list_is_refused_before_it_is_listed():
    sweep = {"layer": list(range(101)), "memory.size": list(range(1, 101))}
    assert MOST_CELLS == 10_000
    assert problems_of(sweep=sweep) == [("sweep", "10,100 grid cells")]
    assert problems_of(sweep=sweep | {"layer": list(range(100))})[0][0] == "budget.max_trials"


def test_a_search_has_no_trials_yet():
    assert trials_of(search=SEARCH) == ()


def test_each_value_and_bound_of_a_space_is_tried_alone():
    space = {"layer": {"low": -2, "high": -1}, "memory.size": [1, 0]}
    assert problems_of(search=SEARCH | {"space": space}) == [
        ("search.space.layer.low", "-2 is below 0"),
        ("search.space.layer.high", "-1 is below 0"),
        ("search.space.memory.size[1]", "0 is no size"),
    ]


def test_what_depends_on_other_values_of_a_space_is_left_to_the_trial():
    space = {"layer": [1], "pairing.languages": [4]}
    assert trials_of(base=BASE | {"layer": 0}, search=SEARCH | {"space": space}) == ()


def test_a_trial_of_a_search_is_the_base_with_what_the_sampler_chose():
    values = {"pairing.languages": 0, "layer": 7}
    trial = trial_for(study(search=SEARCH), Fake(), 4, values)
    assert trial.params == BASE | {"layer": 7, "pairing": {"languages": 0}}
    assert list(trial.changes.items()) == [("layer", 7), ("pairing.languages", 0)]
    assert (trial.number, trial.label, trial.baseline) == (4, "layer=7 languages=0", False)
    [same] = trials_of(base=trial.params)
    assert trial.trial_id == same.trial_id


def test_the_baseline_of_a_search_is_its_first_trial_unless_measure_names_one():
    values = {"layer": 7, "pairing.languages": 0}
    unnamed = study(search=SEARCH)
    assert trial_for(unnamed, Fake(), 0, values).baseline
    measure = {"primary": "score", "baseline": {"pairing.languages": 0}}
    named = study(search=SEARCH, measure=measure)
    assert not trial_for(named, Fake(), 0, values).baseline
    assert trial_for(named, Fake(), 1, values | {"layer": 3}).baseline


def test_a_trial_of_a_search_that_the_objective_refuses_is_an_input_error():
    with pytest.raises(InputError) as caught:
        trial_for(study(search=SEARCH), Fake(), 4, {"layer": -1, "pairing.languages": 0})
    assert str(caught.value) == (
        "1 problem in trial 4 of a\n\n  layer: -1 is below 0\n  0 or more\n\nIt was not launched."
    )


def test_only_a_search_makes_trials_one_by_one():
    with pytest.raises(ValueError, match=r"^a is no search: its trials come from expand$"):
        trial_for(study(), Fake(), 0, {})


def test_set_path_leaves_the_original_as_it_is():
    before = copy.deepcopy(BASE)
    after = set_path(BASE, "memory.size", 9)
    assert before == BASE
    assert after == BASE | {"memory": {"size": 9, "weight": 1.0}}


@pytest.mark.parametrize("path", ["layer.x", "nope.x", "none.x"])
def test_set_path_refuses_to_set_inside_what_is_no_mapping(path):
    with pytest.raises(KeyError, match=path):
        set_path(BASE | {"none": None}, path, 1)


def test_get_path_finds_values_null_included_and_refuses_to_lead_nowhere():
    params = {"a": {"b": None}}
    assert get_path(params, "a") == {"b": None}
    assert get_path(params, "a.b") is None
    for path in ("x", "a.x", "a.b.c"):
        with pytest.raises(KeyError, match=path):
            get_path(params, path)
