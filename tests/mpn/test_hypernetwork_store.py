"""Trained hypernetworks on disk: once, whoever asks, and to the same bits after a kill."""

import multiprocessing

import hypernetwork_processes as other
import pytest
import torch
from tiny_models import save_tiny_model

from mpn.editors.hypernetworks import store
from mpn.editors.hypernetworks.settings import MendSettings
from mpn.editors.hypernetworks.store import ensure_trained, is_trained
from mpn.editors.hypernetworks.training import TrainingState, train


@pytest.fixture(scope="module")
def model(tokenizer, tmp_path_factory):
    return save_tiny_model("bert", tmp_path_factory.mktemp("model"), tokenizer)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def school(model, tmp_path, texts):
    return other.lessons(model, tmp_path, texts)


@pytest.fixture
def undisturbed(school):
    *_, last = train(school)
    return last.finished().to_bytes()


def never():
    raise AssertionError("it was to be read")


def ask_in_two_processes(folder, model, texts, **options):
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(2)
    started = [
        context.Process(target=other.ask, args=(model, folder, texts, barrier), kwargs=options)
        for _ in range(2)
    ]
    for process in started:
        process.start()
    for process in started:
        process.join(100)
    return sorted(process.exitcode for process in started)


def test_what_is_trained_is_read_and_not_trained_again(school, tmp_path, undisturbed):
    assert not is_trained(tmp_path, other.RECIPE)
    made = ensure_trained(tmp_path, other.RECIPE, lambda: school)
    assert is_trained(tmp_path, other.RECIPE)
    assert other.RECIPE.path(tmp_path).read_bytes() == made.to_bytes() == undisturbed
    read = ensure_trained(tmp_path, other.RECIPE, never)
    assert read.to_bytes() == undisturbed
    assert read.network.languages == ("en", "fr")
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.parametrize("at", [0, 1, 4])
def test_what_is_stopped_goes_on_to_the_same_bits(school, tmp_path, undisturbed, at):
    stopped = ensure_trained(tmp_path, other.RECIPE, lambda: school, lambda state: state.step < at)
    assert stopped is None and not is_trained(tmp_path, other.RECIPE)
    steps = []
    done = ensure_trained(
        tmp_path, other.RECIPE, lambda: school, lambda state: not steps.append(state.step)
    )
    assert steps == list(range(at, other.N_STEPS + 1))
    assert done.to_bytes() == undisturbed


def test_checkpoints_are_written_every_few_seconds(school, tmp_path, monkeypatch):
    written = []
    write = store._write
    monkeypatch.setattr(
        store, "_write", lambda path, data: (written.append((path.suffix, data)), write(path, data))
    )
    clock = iter(range(100))  # it is looked at once a step, and after writing
    ensure_trained(
        tmp_path, other.RECIPE, lambda: school, checkpoint_every_s=3, clock=lambda: next(clock)
    )
    steps = [(suffix, TrainingState.from_bytes(data).step) for suffix, data in written]
    assert steps == [(".partial", 2), (".partial", 5), (".safetensors", 6)]


def test_a_file_that_is_no_state_is_made_again(school, tmp_path, undisturbed):
    for suffix in (".partial", ".safetensors"):
        other.RECIPE.path(tmp_path).with_suffix(suffix).write_bytes(b"cut off")
    assert ensure_trained(tmp_path, other.RECIPE, lambda: school).to_bytes() == undisturbed


def test_of_two_processes_one_trains_and_the_other_waits(model, tmp_path, texts, undisturbed):
    assert ask_in_two_processes(tmp_path, model, texts) == [0, 0]
    lines = (tmp_path / "steps").read_text().split("\n")[:-1]
    assert len({line.split()[0] for line in lines}) == 1
    assert [int(line.split()[1]) for line in lines] == list(range(other.N_STEPS + 1))
    assert other.RECIPE.path(tmp_path).read_bytes() == undisturbed


def test_a_waiting_process_goes_on_where_one_was_killed(model, tmp_path, texts, undisturbed):
    assert ask_in_two_processes(tmp_path, model, texts, kill_at=3) == [-9, 0]
    steps = [int(line.split()[1]) for line in (tmp_path / "steps").read_text().split("\n")[:-1]]
    assert steps == [0, 1, 2, 3, 2, 3, 4, 5, 6]
    assert other.RECIPE.path(tmp_path).read_bytes() == undisturbed


@pytest.mark.parametrize(
    "change",
    [
        {"model": "other"},
        {"max_tokens": 64},
        {"labels": ("a", "b")},
        {"corpus": "other"},
        {"source_language": "fr"},
        {"seed": 1},
        {"settings": MendSettings()},
        {"settings": other.SETTINGS.model_copy(update={"hidden": 5})},
        {"settings": other.SETTINGS.model_copy(update={"masks": None})},
    ],
)
def test_whatever_changes_a_network_is_in_its_name(change, tmp_path):
    recipe = store.Recipe(**{**other.RECIPE.__dict__, **change})
    assert recipe.path(tmp_path) != other.RECIPE.path(tmp_path)


def test_the_version_is_in_the_name(monkeypatch):
    before = other.RECIPE.identity
    monkeypatch.setattr(store, "HYPERNETWORK_VERSION", store.HYPERNETWORK_VERSION + 1)
    assert other.RECIPE.identity != before
