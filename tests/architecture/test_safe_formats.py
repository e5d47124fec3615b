"""Nothing that is read can run: no pickle, no eval, no shell; YAML and arrays safely only."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted(
    path
    for room in ("mpn", "orchestrator", "studies", "dashboards")
    for path in (ROOT / room).rglob("*.py")
)
MODULES = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
CALLS = {
    "eval", "exec", "os.system", "os.popen", "torch.load", "torch.save", "torch.jit.load",
    "yaml.load", "yaml.load_all", "yaml.full_load", "yaml.unsafe_load", "yaml.unsafe_load_all",
    "pandas.read_pickle", "pd.read_pickle",
}  # fmt: skip
ARGUMENTS = {"allow_pickle": True, "shell": True, "trust_remote_code": True}


def dangers(source):
    """What of a source could run what it reads, with its line."""
    found = []
    for node in ast.walk(ast.parse(source)):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)]
        found += [(node.lineno, name) for name in names if name.partition(".")[0] in MODULES]
        found += [(node.lineno, name) for name in names if name in CALLS]
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            loader = [ast.unparse(a) for a in node.args[1:2]] + [
                ast.unparse(k.value) for k in node.keywords if k.arg == "Loader"
            ]
            is_safe = called == "yaml.load" and loader and loader[0].endswith("SafeLoader")
            found += [(node.lineno, called)] * (called in CALLS and not is_safe)
            for keyword in node.keywords:
                if keyword.arg in ARGUMENTS and not (
                    isinstance(keyword.value, ast.Constant) and keyword.value.value is False
                ):
                    found.append((node.lineno, str(keyword.arg)))
    return sorted(set(found))


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from pickle import loads",
        "from torch import load",
        "import dill as d",
        "torch.load(path)",
        "numpy.load(path, allow_pickle=True)",
        "yaml.load(text)",
        "yaml.load(text, Loader=yaml.Loader)",
        "subprocess.run(text, shell=anything)",
        "x = eval(text)",
    ],
)
def test_what_could_run_is_found(source):
    assert dangers(source)


@pytest.mark.parametrize(
    "source",
    ["model.eval()", "yaml.load(t, Loader=yaml.SafeLoader)", "np.load(p, allow_pickle=False)"],
)
def test_what_cannot_run_is_let_through(source):
    assert dangers(source) == []


def test_no_source_reads_what_could_run():
    assert len(SOURCES) > 150
    found = {
        str(path.relative_to(ROOT)): wrong
        for path in SOURCES
        if (wrong := dangers(path.read_text(encoding="utf-8")))
    }
    assert found == {}
