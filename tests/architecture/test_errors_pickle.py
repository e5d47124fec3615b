"""Exceptions cross processes: each comes out of a pickle as it went in."""

import importlib
import inspect
import pickle
import pkgutil

import pytest

import dashboards
import mpn
import orchestrator
import studies
from orchestrator.errors import Problem

PROBLEM = Problem("base.layer", 3, "99", "0 to 11")
ARGUMENTS = {  # of those that take more than one text
    "InputError": ("a.yaml", [PROBLEM, PROBLEM], "Look again."),
    "StudyBusyError": ("a", "mpn-home"),
    "MpnInputError": ("data.tsv:3", "5 columns", "4 columns"),
    "OutageError": ("the ledger", "OSError: full", 12.5),
    "ShapeError": ("queries", "[2, 3]", "[2, 4]"),
}


def exceptions():
    """Every exception class that one of the packages defines, private ones included."""
    found = {}
    for package in (mpn, orchestrator, studies, dashboards):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if module.name.endswith("__main__"):
                continue
            for _, kind in inspect.getmembers(
                importlib.import_module(module.name), inspect.isclass
            ):
                if issubclass(kind, BaseException) and kind.__module__.startswith(
                    f"{package.__name__}."
                ):
                    found[f"{kind.__module__}.{kind.__qualname__}"] = kind
    return list(found.values())


@pytest.mark.parametrize("kind", exceptions(), ids=lambda kind: kind.__name__)
def test_an_exception_survives_a_pickle(kind):
    error = kind(*ARGUMENTS.get(kind.__name__, ("something",)))
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert again.args == error.args
    assert str(again) == str(error)
    assert vars(again) == vars(error)


def test_there_are_exceptions_to_look_at():
    names = {kind.__name__ for kind in exceptions()}
    assert {"InputError", "MpnInputError", "WorkerLostError"} <= names
    assert set(ARGUMENTS) <= names
