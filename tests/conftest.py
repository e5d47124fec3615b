"""What holds for every test."""

import signal

import pytest

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in the background of a script
    signal.signal(signal.SIGINT, signal.default_int_handler)  # commands that tests start inherit it

pytest_plugins = ["model_fixtures", "service_fixtures"]


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """As in a replica: the order of a sum, and so its last bits, do not depend on the machine."""
    import torch

    torch.set_num_threads(1)
