"""A model folder is built by one process of a machine, or copied from where it is already."""

import multiprocessing

import pytest
from building_processes import build

SPAWN = multiprocessing.get_context("spawn")
N_ACTORS = 4


@pytest.fixture
def final(tmp_path):
    return tmp_path / "models" / "tiny"


def run_together(final, *options):
    """Start a process for each options, all at once; return their exit codes."""
    barrier = SPAWN.Barrier(len(options))
    processes = [SPAWN.Process(target=build, args=(final, barrier), kwargs=o) for o in options]
    for process in processes:
        process.start()
    for process in processes:
        process.join(90)
    return [process.exitcode for process in processes]


def builds(final):
    path = final.parent.parent / "builds"
    return path.read_text().splitlines() if path.exists() else []


def test_one_actor_of_a_node_builds_and_the_others_wait(final):
    assert run_together(final, *[{}] * N_ACTORS) == [0] * N_ACTORS
    assert len(builds(final)) == 1


def test_what_the_driver_has_is_copied_to_the_byte_and_not_built(final, tmp_path):
    origin = tmp_path / "home" / "tiny"
    (origin / "deeper").mkdir(parents=True)
    (origin / "model").write_text("the driver's")
    (origin / "deeper" / "part").write_text("its part")
    assert run_together(final, {"origin": origin}, {"origin": origin}) == [0, 0]
    assert builds(final) == []
    assert (final / "model").read_text() == "the driver's"
    assert (final / "deeper" / "part").read_text() == "its part"
    assert [path.name for path in final.parent.iterdir() if path.is_dir()] == ["tiny"]


def test_a_driver_without_it_or_out_of_sight_is_no_hindrance(final, tmp_path):
    assert run_together(final, {"origin": tmp_path / "nowhere"}) == [0]
    assert len(builds(final)) == 1


def test_whoever_waits_for_a_builder_that_is_killed_builds(final):
    assert sorted(run_together(final, {"dies": True})) == [-9]
    assert run_together(final, {}) == [0]
    assert len(builds(final)) == 2
