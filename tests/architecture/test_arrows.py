"""Who may import whom, and how the rooms are kept: read from the sources."""

import ast
import functools
import graphlib
import importlib
import os
import random
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("mpn", "orchestrator", "studies", "dashboards")
MOST_LINES = 400
RAY_AT_HOME = (
    "orchestrator.executors.ray_pool",
    "orchestrator.executors.ray_starting",
    "orchestrator.executors.ray_loopback",
    "orchestrator.executors.ray_telemetry",
    "orchestrator.cluster",
    "orchestrator.cluster_jobs",
)
SHAPELESS = {"utils", "helpers", "common", "core", "base", "manager", "types"}


@dataclass(frozen=True)
class Import:
    """One imported module, as far as the sources tell; ``lazy`` if within a function."""

    module: str
    lazy: bool


@dataclass(frozen=True)
class Module:
    """One source file."""

    name: str
    path: Path

    @functools.cached_property
    def tree(self):
        return ast.parse(self.path.read_text(encoding="utf-8"))

    @functools.cached_property
    def imports(self):
        return tuple(_imports_in(self.tree, lazy=False))


def _imports_in(node, *, lazy):
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (Import(alias.name, lazy) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, "imports are absolute"
            for alias in child.names:
                inner = f"{child.module}.{alias.name}"
                yield Import(inner if inner in _names() else str(child.module), lazy)
        else:
            inside = lazy or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from _imports_in(child, lazy=inside)


@functools.cache
def modules():
    return [
        Module(
            ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"), path
        )
        for room in ROOMS
        for path in sorted((ROOT / room).rglob("*.py"))
    ]


@functools.cache
def _names():
    return {module.name for module in modules()}


def is_in(name, *packages):
    """Whether a module is one of the packages, or lies within one."""
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def wrong_arrows(allowed):
    """Imports that ``allowed(module name, import)`` refuses, as ``who -> whom``."""
    return [
        f"{module.name} -> {one.module}"
        for module in modules()
        for one in module.imports
        if not allowed(module.name, one)
    ]


def test_the_sources_are_read():
    assert len(modules()) > 50
    assert {"mpn.data.mini.world", "orchestrator", "studies.cli", "dashboards.report"} <= _names()
    by_name = {module.name: module for module in modules()}
    assert Import("ray", False) in by_name["orchestrator.executors.ray_pool"].imports
    assert Import("ray", True) in by_name["studies.doctor"].imports
    assert Import("orchestrator.ledger", False) in by_name["orchestrator.sweep"].imports


# -- rooms --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("room", "others"),
    [
        ("mpn", ("orchestrator", "studies", "dashboards")),
        ("orchestrator", ("mpn", "studies", "dashboards")),
        ("dashboards", ("mpn", "studies")),
    ],
)
def test_a_room_does_not_know_the_rooms_above_and_beside_it(room, others):
    assert (
        wrong_arrows(lambda name, one: not (is_in(name, room) and is_in(one.module, *others))) == []
    )


def test_dashboards_only_read_results():
    readable = ("orchestrator.results", "orchestrator.ledger", "orchestrator.objective")
    assert wrong_arrows(
        lambda name, one: not is_in(name, "dashboards")
        or not is_in(one.module, "orchestrator")
        or one.module in readable
    ) == []  # fmt: skip


def test_nobody_imports_tests():
    assert wrong_arrows(lambda name, one: not is_in(one.module, "tests", "benchmarks")) == []


def test_modules_of_a_room_import_each_other_in_one_direction():
    graph = {
        module.name: {
            one.module
            for one in module.imports
            if one.module in _names() and one.module != module.name
        }
        for module in modules()
    }
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        pytest.fail(f"a cycle: {' -> '.join(error.args[1])}")


# -- libraries ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("library", "at_home", "lazily"),
    [
        ("ray", RAY_AT_HOME, ("studies.doctor",)),
        ("optuna", ("orchestrator.search",), ()),
        ("mlflow", ("orchestrator.tracking",), ()),
        ("datasets", ("mpn.data",), ()),
        ("torch", ("mpn", "studies.objectives"), ("studies.doctor", "studies.pools")),
    ],
)
def test_a_heavy_library_is_named_only_where_it_is_at_home(library, at_home, lazily):
    assert wrong_arrows(
        lambda name, one: not is_in(one.module, library)
        or is_in(name, *at_home)
        or (one.lazy and is_in(name, *lazily))
    ) == []  # fmt: skip


# -- files --------------------------------------------------------------------------------


def test_no_file_is_longer_than_can_be_read_in_one_go():
    lengths = {
        module.name: len(module.path.read_text(encoding="utf-8").splitlines())
        for module in modules()
    }
    assert {name: n for name, n in lengths.items() if n > MOST_LINES} == {}


def test_no_module_has_a_name_that_could_hold_anything():
    assert {name for name in _names() if SHAPELESS & set(name.split("."))} == set()


def test_all_that_is_public_says_what_it_is_for():
    assert [place for module in modules() for place in _undocumented(module)] == []


def _undocumented(module):
    """Public modules, classes, functions and methods without a docstring."""
    if not ast.get_docstring(module.tree):
        yield module.name
    kinds = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    waiting = [(module.name, module.tree)]
    while waiting:
        place, node = waiting.pop()
        for child in node.body:
            if not isinstance(child, kinds) or child.name.startswith("_"):
                continue
            here = f"{place}.{child.name}"
            if not ast.get_docstring(child) and not _is_overload(child):
                yield here
            if isinstance(child, ast.ClassDef):
                waiting.append((here, child))


def _is_overload(node):
    return any(isinstance(mark, ast.Name) and mark.id == "overload" for mark in node.decorator_list)


def test_every_package_is_shipped():
    import tomllib

    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    packages = {module.name for module in modules() if module.path.name == "__init__.py"}
    assert set(settings["tool"]["setuptools"]["packages"]) == packages


# -- imports ------------------------------------------------------------------------------


def test_importing_has_no_effects(monkeypatch):
    import torch

    importable = [name for name in sorted(_names()) if not name.endswith("__main__")]
    for name in importable:  # first what the libraries do when they are imported
        importlib.import_module(name)
    for name in list(sys.modules):
        if is_in(name, *ROOMS):
            monkeypatch.delitem(sys.modules, name)

    def state():
        return (
            random.getstate(),
            str(np.random.get_state()),  # noqa: NPY002
            torch.random.get_rng_state().tolist(),
            torch.get_num_threads(),
            dict(os.environ),
            Path.cwd(),
        )

    random.random(), np.random.random(), torch.rand(1)  # noqa: NPY002  else a seed shows no more
    before = state()
    for name in importable:
        importlib.import_module(name)
    assert state() == before
    for name in list(sys.modules):  # the copies made here; monkeypatch brings back the first
        if is_in(name, *ROOMS):
            del sys.modules[name]
