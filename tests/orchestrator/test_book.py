import optuna
import pytest
import sqlalchemy
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from orchestrator.errors import InputError
from orchestrator.identity import content_hash
from orchestrator.plan import TrialPlan
from orchestrator.search.book import TrialBook
from orchestrator.spec import SearchSpec

DEFINITION = {"base": {"weight": 1}}
OTHER = {"base": {"weight": 2}}


def plan(number, **changes):
    """A planned trial; its id follows from its changes."""
    trial_id = content_hash({"changes": changes})
    return TrialPlan(number, trial_id, changes, changes, f"t{number}", number == 0)


def plans(n=3):
    return [plan(number, weight=number) for number in range(n)]


@pytest.fixture
def storage(optuna_db):
    return f"sqlite:///{optuna_db}"


def open_book(storage, definition=DEFINITION, directions=None, search=None):
    return TrialBook.open(
        storage,
        "a",
        definition=definition,
        directions=directions or {"score": "maximize"},
        search=search,
    )


def trials_in(storage, name="a"):
    return optuna.load_study(study_name=name, storage=storage).trials


def states_in(storage, name="a"):
    return [trial.state for trial in trials_in(storage, name)]


COMPLETE, FAIL, RUNNING = TrialState.COMPLETE, TrialState.FAIL, TrialState.RUNNING


# -- planned trials -----------------------------------------------------------------------


def test_registered_trials_run_under_their_labels_with_their_values(storage):
    open_book(storage).register([plan(0, weight=1, draw="a"), plan(1, weight=3, draw="b")])
    trials = trials_in(storage)
    assert [trial.state for trial in trials] == [RUNNING, RUNNING]
    assert [trial.params for trial in trials] == [
        {"weight": 1, "draw": "a"},
        {"weight": 3, "draw": "b"},
    ]
    assert [trial.user_attrs["label"] for trial in trials] == ["t0", "t1"]


def test_registering_again_changes_nothing(storage):
    open_book(storage).register(plans())
    book = open_book(storage)
    book.register(plans())
    book.register(plans())
    assert states_in(storage) == [RUNNING] * 3


def test_trials_are_told_by_their_number_in_the_study(storage):
    book = open_book(storage)
    book.register(plans())
    book.tell(2, [0.5])
    book.tell(0, None)
    book.tell(1, [0.25])
    assert states_in(storage) == [FAIL, COMPLETE, COMPLETE]
    assert [trial.values for trial in trials_in(storage)] == [None, [0.25], [0.5]]


def test_telling_again_changes_nothing(storage):
    book = open_book(storage)
    book.register(plans(1))
    book.tell(0, [0.5])
    book.tell(0, [0.75])
    book.tell(0, None)
    assert trials_in(storage)[0].values == [0.5]


def test_running_trials_of_an_earlier_driver_are_adopted(storage):
    open_book(storage).register(plans())
    book = open_book(storage)
    book.register(plans())
    for number in range(3):
        book.tell(number, [float(number)])
    assert states_in(storage) == [COMPLETE] * 3


def test_a_failed_trial_is_tried_again_as_a_new_one(storage):
    book = open_book(storage)
    book.register(plans())
    book.tell(0, [0.0])
    book.tell(1, None)
    book = open_book(storage)
    book.register(plans())
    assert states_in(storage) == [COMPLETE, FAIL, RUNNING, RUNNING]
    book.tell(1, [0.5])
    book.tell(2, [1.0])
    trials = trials_in(storage)
    assert [trial.state for trial in trials] == [COMPLETE, FAIL, COMPLETE, COMPLETE]
    assert [trial.params["weight"] for trial in trials] == [0, 1, 2, 1]
    assert trials[3].values == [0.5]


def test_a_trial_that_failed_and_then_went_well_is_not_tried_a_third_time(storage):
    for values in (None, [0.5]):
        book = open_book(storage)
        book.register(plans(1))
        book.tell(0, values)
    open_book(storage).register(plans(1))
    assert states_in(storage) == [FAIL, COMPLETE]


class Killed(BaseException):
    """As if the process were gone."""


@pytest.mark.parametrize("at", range(1, 31, 3))
def test_a_driver_killed_while_it_registers_leaves_nothing_that_the_next_cannot_mend(storage, at):
    n_statements = 0

    def deadly(connection, cursor, statement, *rest):
        nonlocal n_statements
        n_statements += 1
        if n_statements == at:
            raise Killed

    book = open_book(storage)
    sqlalchemy.event.listen(sqlalchemy.Engine, "before_cursor_execute", deadly)
    try:
        with pytest.raises(Killed):
            book.register(plans())
    finally:
        sqlalchemy.event.remove(sqlalchemy.Engine, "before_cursor_execute", deadly)

    book = open_book(storage)
    book.register(plans())
    for number in range(3):
        book.tell(number, [float(number)])
    trials = trials_in(storage)
    assert [trial.state for trial in trials] == [COMPLETE] * 3
    assert [(trial.params["weight"], trial.values) for trial in trials] == [
        (0, [0.0]), (1, [1.0]), (2, [2.0])
    ]  # fmt: skip


# -- another definition -------------------------------------------------------------------


@pytest.mark.parametrize("unfinished", ["running", "waiting"])
def test_another_definition_begins_anew_and_keeps_the_old_under_its_hash(storage, unfinished):
    book = open_book(storage)
    book.register(plans())
    book.tell(0, [0.5])
    if unfinished == "waiting":  # killed between writing a trial down and starting it
        optuna.load_study(study_name="a", storage=storage).enqueue_trial({})
    open_book(storage, OTHER).register(plans(1))

    kept = f"a@{content_hash(DEFINITION)[:12]}"
    names = {summary.study_name for summary in optuna.get_all_study_summaries(storage)}
    assert names == {"a", kept}
    assert states_in(storage) == [RUNNING]
    assert states_in(storage, kept)[:3] == [COMPLETE, FAIL, FAIL]
    assert not {RUNNING, TrialState.WAITING} & set(states_in(storage, kept))
    assert trials_in(storage, kept)[0].values == [0.5]


def test_going_back_and_forth_keeps_one_archive_of_each(storage):
    for definition in (DEFINITION, OTHER, DEFINITION, OTHER):
        open_book(storage, definition).register(plans(1))
    names = {summary.study_name for summary in optuna.get_all_study_summaries(storage)}
    archives = {f"a@{content_hash(one)[:12]}" for one in (DEFINITION, OTHER)}
    assert names == {"a"} | archives
    assert states_in(storage) == [RUNNING]


def test_a_trial_that_is_planned_no_more_does_not_stay_unfinished(storage):
    open_book(storage).register(plans(3))
    optuna.load_study(study_name="a", storage=storage).enqueue_trial({})
    open_book(storage).register(plans(1))
    assert states_in(storage) == [RUNNING, FAIL, FAIL, FAIL]


# -- what Optuna sees of the values -------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "distribution"),
    [
        ([4, 1, 2], IntDistribution(1, 4)),
        ([2, 2], IntDistribution(2, 2)),
        ([0.5, 2], FloatDistribution(0.5, 2.0)),
        (["b", "a", "b"], CategoricalDistribution(("b", "a"))),
        ([1, None], CategoricalDistribution((1, None))),
        ([1, "last"], CategoricalDistribution((1, "last"))),
        ([True, False], CategoricalDistribution((True, False))),
        ([[1, 2], {"b": 1, "a": None}], CategoricalDistribution(("[1,2]", '{"a":null,"b":1}'))),
    ],
)
def test_numbers_are_numbers_and_everything_else_a_choice(storage, values, distribution):
    book = open_book(storage)
    book.register([TrialPlan(i, f"id{i}", {}, {"x": v}, "", False) for i, v in enumerate(values)])
    trials = trials_in(storage)
    assert {repr(trial.distributions["x"]) for trial in trials} == {repr(distribution)}
    if isinstance(distribution, IntDistribution | FloatDistribution):
        assert [trial.params["x"] for trial in trials] == values


def test_a_study_of_one_unchanged_trial_has_no_values(storage):
    book = open_book(storage)
    book.register([plan(0)])
    book.tell(0, [1.0])
    assert trials_in(storage)[0].params == {}


# -- searches -----------------------------------------------------------------------------

SPACE = {
    "n": {"low": 1, "high": 9},
    "draw": ["per_step", None, [1, 2]],
    "x": {"low": 0.0, "high": 1.0},  # last: no two choices of it are equal by chance
}


def search_spec(**changes):
    settings = {
        "trials": 13,  # the sampler draws at random for ten, then learns
        "sampler": "tpe",
        "space": SPACE,
        "parallel": 2,
        "objectives": {"score": "maximize"},
    }
    return SearchSpec.model_validate(settings | changes)


def score(values):
    return -((values["x"] - 0.3) ** 2) - values["n"] / 9


def search_through(storage, search, *, pause=lambda book: book):
    """Ask and tell as the sweep does; ``pause`` comes after each, and returns the next book."""
    book = pause(open_book(storage, search=search))
    asked = dict(book.asked())
    told = 0
    while told < search.trials:
        if len(asked) < min(search.trials, told + search.parallel):
            number, values = book.ask()
            asked[number] = values
        else:
            book.tell(told, [score(asked[told])])
            told += 1
        book = pause(book)
    return [asked[number] for number in range(search.trials)]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    path = tmp_path_factory.mktemp("uninterrupted") / "optuna.db"
    return search_through(f"sqlite:///{path}", search_spec())


def test_a_search_chooses_within_its_space(uninterrupted):
    assert len(uninterrupted) == 13
    for values in uninterrupted:
        assert list(values) == ["n", "draw", "x"]
        assert 0 <= values["x"] <= 1
        assert values["n"] in range(1, 10)
        assert values["draw"] in ("per_step", None, [1, 2])
    assert len({values["x"] for values in uninterrupted}) == 13
    assert [1, 2] in [values["draw"] for values in uninterrupted]


def test_another_seed_chooses_otherwise(storage, uninterrupted):
    found = search_through(storage, search_spec(seed=1, trials=1, parallel=1))
    assert found[0] != uninterrupted[0]


def test_a_search_resumed_after_every_step_chooses_as_an_uninterrupted_one(storage, uninterrupted):
    search = search_spec()

    def killed(book):
        again = open_book(storage, search=search)
        again.asked()
        return again

    assert search_through(storage, search, pause=killed) == uninterrupted
    assert states_in(storage) == [COMPLETE] * 13


@pytest.mark.parametrize("number", [0, 12])  # one drawn at random, one learnt
@pytest.mark.parametrize("n_chosen", [0, 1, 2])
def test_a_search_killed_between_two_values_of_a_trial_chooses_the_rest_as_it_would_have(
    storage, monkeypatch, uninterrupted, number, n_chosen
):
    search = search_spec()
    suggest = optuna.Trial._suggest
    chosen = 0

    def deadly(trial, *args):
        nonlocal chosen
        if trial.number == number:
            if chosen == n_chosen:
                raise Killed
            chosen += 1
        return suggest(trial, *args)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(optuna.Trial, "_suggest", deadly)
        search_through(storage, search)
    assert len(trials_in(storage)[number].params) == n_chosen
    found = open_book(storage, search=search).asked()
    assert found == list(enumerate(uninterrupted[: number + 1]))


def test_a_random_search_resumes_to_the_same_values(storage, tmp_path):
    search = search_spec(sampler="random", trials=3)
    whole = search_through(f"sqlite:///{tmp_path / 'other.db'}", search)
    open_book(storage, search=search).ask()
    assert search_through(storage, search) == whole


def test_a_search_may_weigh_several_objectives(storage):
    search = search_spec(trials=2, objectives={"score": "maximize", "cost": "minimize"})
    book = open_book(storage, directions=search.objectives, search=search)
    book.ask()
    book.ask()
    book.tell(0, [0.5, 3.0])
    book.tell(1, None)
    study = optuna.load_study(study_name="a", storage=storage)
    assert [direction.name for direction in study.directions] == ["MAXIMIZE", "MINIMIZE"]
    assert study.metric_names == ["score", "cost"]
    assert study.trials[0].values == [0.5, 3.0]
    assert states_in(storage) == [COMPLETE, FAIL]


@pytest.mark.parametrize("times", [1, 2])  # twice: killed before the first trial was asked for
def test_a_search_may_begin_with_given_values(storage, times):
    first = {"x": 0.25, "n": 3, "draw": [1, 2]}
    search = search_spec(trials=2)
    for _ in range(times):
        book = open_book(storage, search=search)
        book.begin_with(first)
        assert book.asked() == []
    assert book.ask() == (0, first)
    number, values = book.ask()
    assert number == 1
    assert values != first
    book.begin_with(first)  # there are trials already
    assert len(trials_in(storage)) == 2


@pytest.mark.parametrize("wrong", [{"x": 1.001}, {"x": "half"}, {"n": 0}, {"draw": "per_edit"}])
def test_values_outside_the_space_are_no_beginning(storage, wrong):
    book = open_book(storage, search=search_spec())
    with pytest.raises(InputError) as caught:
        book.begin_with({"x": 1.0, "n": 3, "draw": None} | wrong)
    [path] = wrong
    assert [one.place for one in caught.value.problems] == [f"measure.baseline.{path}"]
    assert trials_in(storage) == []


@pytest.mark.parametrize(
    ("dimension", "distribution"),
    [
        ({"low": 1, "high": 9, "step": 2}, IntDistribution(1, 9, step=2)),
        ({"low": 1, "high": 64, "log": True}, IntDistribution(1, 64, log=True)),
        ({"low": 1e-3, "high": 1.0, "log": True}, FloatDistribution(1e-3, 1.0, log=True)),
        ({"low": 0.0, "high": 1.0, "step": 0.5}, FloatDistribution(0.0, 1.0, step=0.5)),
        ([3, "a"], CategoricalDistribution((3, "a"))),
    ],
)
def test_a_dimension_is_searched_as_the_study_file_says(storage, dimension, distribution):
    open_book(storage, search=search_spec(space={"x": dimension})).ask()
    assert trials_in(storage)[0].distributions == {"x": distribution}
