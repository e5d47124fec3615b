"""Study files that mean harm; run as a program, loads each in little memory and time."""

import json
import resource
import sys
import tempfile
from pathlib import Path

from toy_objective import ToyObjective

from orchestrator.errors import InputError
from orchestrator.loading import load_study

SOUND = "study: sound\nquestion: Does it?\nobjective: toy\nbase: {}\nmeasure: {primary: score}\n"
FILLER = "".join(f"k{number}: 1\n" for number in range(4_000))
BILLION = "a: &a [x, x]\n" + "".join(
    f"{new}: &{new} [*{old}, *{old}]\n" for old, new in zip("abcdefg", "bcdefgh", strict=True)
)
MOST_MIB = 1024  # of address space; an interpreter with pydantic maps some 300


def grid(*lengths):
    names = ("weight", "seed", "wait_ms", "units", "per_block", "streams")
    lists = (
        f"  {name}: {list(range(1, n + 1))}\n" for name, n in zip(names, lengths, strict=False)
    )
    return SOUND + "sweep:\n" + "".join(lists)


FILES = {  # name: what is in it, the line of the first problem, what is found
    "aliases that double": (BILLION, 1, "anchor &a"),
    "a python object": (SOUND + "x: !!python/object/apply:os.system [id]\n", 6,
                        "tag !!python/object/apply:os.system"),
    "a tag of its own": (SOUND + "x: !boom 1\n", 6, "tag !boom"),
    "a file too large": ("#" * 1_000_000 + "\n" + SOUND, 1, "more than 250,000 bytes"),
    "deep lists": ("a: " + "[" * 200_000, 1, "nested too deeply"),
    "deep mappings": ("a: " + "{a: " * 50_000, 1, "nested too deeply"),
    "deep keys": ("? " * 100_000, 1, "nested too deeply"),
    "many values": (SOUND + f"x: [{'1,' * 100_000}]\n", 6, "more than 10,000 values"),
    "many keys": (SOUND + "x: {" + "".join(f"k{n}: 1, " for n in range(20_000)) + "}\n", 6,
                  "more than 10,000 values"),
    "many unknown keys": (SOUND + FILLER, 6, "unknown key"),
    "many problems": (SOUND + "x: {" + "a: 1, " * 30_000 + "}\n", 6,
                      "given again; it is on line 6 already"),
    "a long key": (SOUND + "x" * 201 + ": 1\n", 6, "the key 'x"),
    "long keys in long keys": (
        SOUND.replace(" {}", "".join(f"\n{'  ' * n}{'k' * 199}:" for n in range(1, 8)) + " 1"), 9,
        "the way to a key is too long"),
    "a long value": (SOUND.replace("sound", "x" * 100_000), 1, "'xxx"),
    "two keys": (SOUND + "study: other\n", 6, "given again; it is on line 1 already"),
    "a control character": (SOUND + "x: \x1b[2J\n", 6, "unprintable character U+001B"),
    "an escaped control character": (SOUND + '"x\\e[2J": 1\n', 6, "unknown key"),
    "no text": (b"\x7fELF\x02\x01\x01\x00\x00", 1, "unprintable character U+007F"),
    "no UTF-8": (SOUND.encode() + b"x: \xc3\x28\n", 6, "byte 0xc3 is not UTF-8"),
    "UTF-16": (SOUND.encode("utf-16"), 1, "byte 0xff is not UTF-8"),
    "a huge grid": (grid(90, 90, 90, 90), 6, "65,610,000 grid cells"),
    "a huge grid of few values": (grid(*[20] * 6), 6, "64,000,000 grid cells"),
    "a grid beyond the budget": (
        grid(100, 99), 1, "200 (the default) is fewer than more than 1,000 trials"),
    "a huge search": (SOUND + "search: {trials: 999999999999, sampler: tpe, space: {weight: "
        "[1.0, 2.0]}, objectives: {score: maximize}}\nbudget: {max_trials: 9999999999999}\n", 6,
        "999,999,999,999 trials"),
    "a step too small": (SOUND + "search: {trials: 3, sampler: tpe, space: {weight: {low: 0, "
        "high: 1.0e300, step: 1.0e-300}}, objectives: {score: maximize}}\n", 6, "step 1e-300"),
    "many blocks": (SOUND.replace("{}", "{streams: 100000}") + "sweep: {weight: [1.0, 2.0, 3.0]}\n",
                    4, "more than 200,000 blocks"),
    "a number too large": (SOUND + f"retry: {{attempts: {'9' * 5000}}}\n", 6, "9999999"),
    "not a finite number": (SOUND + "retry: {backoff_s: 1e9999}\n", 6, "1e9999 is not a finite"),
}  # fmt: skip
NAMES = [
    "../x", "..", ".", "/etc/passwd", "a/b", "a\\b", "~root", "$HOME", "-rf", "a..b", "x" * 65,
    "A", "а", "ａ", "a\u200b", "a\u0301", "a b", "a\n", "con", "nul.txt", "lpt1", "a:b", "a%2fb",
]  # fmt: skip
OVERRIDES = {
    "base.x=&a [1]": "anchor &a",
    "base.x=*a": "alias *a",
    "base.x=!!python/name:os.system": "tag !!python/name:os.system",
    "base.x=" + "[" * 50_000: "nested too deeply",
    f"base.x=[{'1,' * 50_000}]": "more than 10,000 values",
    "base.x=" + "y" * 300_000: "more than 250,000 bytes",
    "a." * 60_000 + "a=1": "the path 'a.a.a",
    "base." + "y" * 300 + "=1": "the path 'base.yyy",
    "study=../x": "'../x' is not a study name",
    "base.x=\x1b[2J": "unprintable character U+001B",
    "base.x=\udcff": "",
    "sweep.weight=[1, 1]": "1 is listed twice",
}


def written(name):
    """A sound study of that name, or with an ablation of it: JSON is YAML."""
    return SOUND.replace("sound", json.dumps(name))


def refused(path, *overrides):
    """Lines, what is found, and the message of a study that is refused."""
    try:
        load_study(path, {"toy": ToyObjective()}, overrides)
    except InputError as error:
        return error.problems[0].line, error.problems[0].found, str(error)
    raise AssertionError(f"{path}: taken")


def load_all(folder):
    found = {}
    path = folder / "a.yaml"
    for name, (content, _, _) in FILES.items():
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        found[name] = refused(path)
    path.write_text(SOUND)
    for override in OVERRIDES:
        found[override] = refused(path, override)
    return found


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MIB * 2**20,) * 2)
    with tempfile.TemporaryDirectory() as name:
        json.dump(load_all(Path(name)), sys.stdout)
