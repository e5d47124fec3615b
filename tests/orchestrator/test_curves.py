import pytest

from orchestrator.curves import RunningValue
from orchestrator.ledger import Ledger
from orchestrator.objective import Point, Segment


@pytest.fixture
def ledger(tmp_path):
    return Ledger(str(tmp_path))


def note(ledger, block, position, *points, after=0):
    """Write a checkpoint with points of ``(stream, step, value)``, value None for undefined."""
    measured = [Point(stream, "other", step, 0.5) for stream, step, _ in points]
    measured += [Point(n, "score", step, v) for n, step, v in points if v is not None]
    segment = Segment(position, 9, (), tuple(measured), bytes)
    ledger.checkpoint(block, segment, 1000, after=after)


def running(ledger, **blocks):
    streams = [stream for own in blocks.values() for stream in own]
    return RunningValue(ledger, list(blocks), streams, "score")


def read(value):
    value.read()
    return list(value.steps())


def test_the_value_is_the_mean_over_streams_of_their_means_so_far(ledger):
    value = running(ledger, a=[0], b=[1])
    note(ledger, "a", 3, (0, 0, 1.0), (0, 1, 0.0), (0, 2, 0.5))
    note(ledger, "b", 3, (1, 0, 0.0), (1, 1, 0.5), (1, 2, 1.0))
    assert read(value) == [(0, 0.5), (1, 0.375), (2, 0.5)]


def test_a_step_waits_for_all_streams_and_comes_once(ledger):
    value = running(ledger, a=[0, 1], b=[2])
    note(ledger, "a", 4, (0, 0, 1.0), (1, 0, 0.0), (0, 1, 1.0), (1, 1, 0.0))
    assert read(value) == []
    note(ledger, "b", 1, (2, 0, 1.0))
    assert read(value) == [(0, pytest.approx(2 / 3))]
    assert read(value) == []
    note(ledger, "b", 2, (2, 1, 0.0), after=1)
    assert read(value) == [(1, 0.5)]


def test_a_value_does_not_depend_on_how_often_one_looks(ledger):
    often, once = running(ledger, a=[0]), running(ledger, a=[0])
    found = []
    for step, score in enumerate([0.1, 0.2, 0.7, 0.4]):
        note(ledger, "a", step + 1, (0, step, score), after=step)
        found += read(often)
    ledger.complete("a", [], {0: {}}, {})
    assert read(often) == []
    assert read(once) == found
    assert len(found) == 4


def test_what_is_undefined_at_a_step_is_left_out_of_the_mean(ledger):
    value = running(ledger, a=[0], b=[1])
    note(ledger, "a", 3, (0, 0, None), (0, 1, 1.0), (0, 2, None))
    note(ledger, "b", 3, (1, 0, 0.5), (1, 1, 0.5), (1, 2, 0.5))
    assert read(value) == [(1, 0.75), (2, 0.75)]


def test_points_that_are_measured_again_count_once(ledger):
    value = running(ledger, a=[0])
    note(ledger, "a", 2, (0, 0, 1.0), (0, 1, 0.0))
    assert read(value) == [(0, 1.0), (1, 0.5)]
    note(ledger, "a", 1, (0, 0, 1.0))
    note(ledger, "a", 3, (0, 1, 0.0), (0, 2, 0.5), after=1)
    assert read(value) == [(2, 0.5)]


def test_nothing_is_said_beyond_a_step_whose_points_are_lost(ledger, tmp_path):
    value = running(ledger, a=[0])
    for step in range(3):
        note(ledger, "a", step + 1, (0, step, 1.0), after=step)
    (tmp_path / "work" / "a" / "points-00000002.json").unlink()
    assert read(value) == [(0, 1.0)]
