import signal

import pytest

from orchestrator.surroundings import StopRequest
from studies.stopping import stopping_on_signals


@pytest.fixture
def asked():
    """How often a sweep was asked to stop, and the request."""
    stop, times = StopRequest(), []
    stop.listeners.append(lambda: times.append(1))
    return stop, times


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_first_signal_asks_to_stop_and_decides_the_exit_code(asked, number, code):
    stop, times = asked
    with stopping_on_signals(stop) as stopped:
        assert not stop.asked
        signal.raise_signal(number)
    assert (stop.asked, len(times), stopped.exit_code) == (True, 1, code)


def test_a_second_ctrl_c_stops_at_once(asked):
    stop, times = asked
    with pytest.raises(KeyboardInterrupt), stopping_on_signals(stop):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
    assert len(times) == 1


def test_a_scheduler_that_is_impatient_does_not_cost_the_checkpoint(asked):
    stop, times = asked
    with stopping_on_signals(stop) as stopped:
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT, signal.SIGTERM):
            signal.raise_signal(number)
    assert (len(times), stopped.exit_code) == (1, 143)


def test_afterwards_signals_mean_what_they_did(asked):
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    with stopping_on_signals(asked[0]):
        assert all(signal.getsignal(number) != handler for number, handler in before.items())
    assert {number: signal.getsignal(number) for number in before} == before
