"""What holds for every test."""

import pytest

pytest_plugins = ["model_fixtures", "service_fixtures"]


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """As in a replica: the order of a sum, and so its last bits, do not depend on the machine."""
    import torch

    torch.set_num_threads(1)
