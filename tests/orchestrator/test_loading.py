import copy
import textwrap

import pytest

from orchestrator.errors import InputError, Problem, suggestion
from orchestrator.loading import load_study
from orchestrator.strict_yaml import DEEPEST_NESTING, LARGEST_FILE, read

LANGUAGES = ("ar", "de", "en", "es", "sw", "zh")
DEFAULTS = {
    "stream": {"count": 5, "target_languages": ["es"]},
    "editor": {"layer": "last", "memory": {"size": 4, "top_k": 2, "ceiling": -3.0, "gap": 3.0}},
    "pairing": {"languages": 4, "draw": "per_step"},
}
METRICS = {"reliability": "maximize", "locality": "maximize", "seconds": "minimize"}
SOUND = """\
study: sound
question: Does it?
objective: fake
base: {}
measure: {primary: reliability}
"""
SEARCH = """\
search:
  trials: 3
  sampler: tpe
  space: {pairing.languages: {low: 0, high: 9}}
  objectives: {reliability: maximize}
"""


class Fake:
    """Knows the keys of DEFAULTS, languages by their tags, and up to nine of them to pair."""

    name = "fake"
    metrics = METRICS
    curves = ("locality", "reliability")

    def blocks(self, params):
        return ((0,),)

    def resolve(self, params):
        problems = []
        filled = self._filled(params, DEFAULTS, "", problems)
        for index, tag in enumerate(filled["stream"]["target_languages"]):
            if tag not in LANGUAGES:
                place = f"stream.target_languages[{index}]"
                wanted = f"languages are {' '.join(LANGUAGES)}"
                problems.append(Problem(place, None, f"{tag!r} is not a language tag", wanted))
        languages = filled["pairing"]["languages"]
        if type(languages) is not int or not 0 <= languages <= 9:
            place = "pairing.languages"
            problems.append(Problem(place, None, f"{languages!r} is no number", "0 to 9"))
        return filled, problems

    def _filled(self, params, defaults, place, problems):
        filled = copy.deepcopy(defaults)
        for key, value in params.items():
            if key not in defaults:
                wanted = suggestion(key, defaults)
                problems.append(Problem(f"{place}{key}", None, "unknown key", wanted))
            elif isinstance(value, dict):
                filled[key] = self._filled(value, defaults[key], f"{place}{key}.", problems)
            else:
                filled[key] = value
        return filled


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Load a study from text or bytes, as if its folder were the current one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "specs").mkdir()
    path = (tmp_path / "specs" / "a.yaml").relative_to(tmp_path)

    def load_text(text, *overrides):
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return load_study(path, {"fake": Fake()}, overrides)

    return load_text


@pytest.fixture
def problems(load):
    """What is wrong with a study, as (line or source, place, found) triples."""

    def problems_of(text, *overrides):
        with pytest.raises(InputError) as caught:
            load(text, *overrides)
        return [(p.line or p.source, p.place, p.found) for p in caught.value.problems]

    return problems_of


def test_every_mistake_is_reported_at_once_with_its_line_and_a_remedy(load):
    text = """\
        # three mistakes
        study: parallel-sampling
        question: Does it?
        objective: fake

        base:
          stream:
            target_languages:
              - es
              - zh
              - no
          editor:
            memory: {size: 4,
                     topk: 2}

        sweep:
          pairing.draw: [per_step, per_edit]
          pairing.languages: [1, 2, 4]

        ablate:
          monolingual: {pairing.languages: 0}
          no-memory-loss: {editor.memory: null}
          first-layer: {editor.layer: 0}

        measure: {primary: reliability}
        budget:
          max_trials: 8
        """
    with pytest.raises(InputError) as caught:
        load(textwrap.dedent(text))
    assert str(caught.value) == (
        "3 problems in specs/a.yaml\n"
        "\n"
        "  line 11  base.stream.target_languages[2]: 'no' is not a language tag\n"
        "           languages are ar de en es sw zh\n"
        "  line 14  base.editor.memory.topk: unknown key\n"
        "           did you mean 'top_k'? Known here: ceiling, gap, size, top_k\n"
        "  line 27  budget.max_trials: 8 is fewer than the 9 trials this study expands to\n"
        "           6 grid cells + 3 ablations = 9; raise it, or drop a value from sweep\n"
        "\n"
        "Nothing was launched. Re-check with: mpn plan specs/a.yaml"
    )


def test_a_sound_study_comes_with_the_defaults_of_its_objective_filled_in(load):
    spec = load(SOUND.replace("{}", "{pairing: {draw: per_edit}}"))
    assert spec.study == "sound"
    assert spec.base == DEFAULTS | {"pairing": {"languages": 4, "draw": "per_edit"}}


def test_order_in_the_file_is_kept(load):
    spec = load(SOUND + "sweep: {pairing.languages: [2, 1], pairing.draw: [b, a]}\n")
    assert list(spec.sweep.items()) == [("pairing.languages", [2, 1]), ("pairing.draw", ["b", "a"])]


@pytest.mark.parametrize(
    ("addition", "line", "place", "found"),
    [
        ("sweeep: {}\n", 6, "sweeep", "unknown key"),
        ("budget: {max_trials: eight}\n", 6, "budget.max_trials", "'eight' is not a whole number"),
        ("sweep:\n  pairing.draw: []\n", 7, "sweep.pairing.draw", "no values"),
        ("sweep:\n  pairing.draw:\n  - a\n  - a\n", 7, "sweep.pairing.draw", "'a' is listed twice"),
        ("sweep: {nope: [1]}\n", 6, "sweep.nope", "not in base"),
        (
            "sweep:\n  pairing.languages:\n  - 1\n  - 10\n",
            9,
            "sweep.pairing.languages[1]",
            "10 is no number",
        ),
        (
            "ablate:\n  many:\n    pairing.languages: 10\n",
            8,
            "ablate.many.pairing.languages",
            "10 is no number",
        ),
        (SEARCH.replace("9", "10"), 9, "search.space.pairing.languages.high", "10 is no number"),
        (SEARCH + "sweep: {pairing.draw: [a]}\n", 6, "search", "together with sweep"),
        (SEARCH + "budget:\n  max_trials: 2\n", 12, "budget.max_trials",
         "2 is fewer than the 3 trials this study expands to"),
        (SEARCH.replace("reliability", "reliabilty"), 10, "search.objectives.reliabilty",
         "'reliabilty' is not a metric of fake"),
        (SEARCH.replace("maximize", "minimize"), 10, "search.objectives.reliability",
         "'minimize' makes reliability worse"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_section_is_at_its_line(problems, addition, line, place, found):
    assert problems(SOUND + addition) == [(line, place, found)]


@pytest.mark.parametrize(
    ("before", "after", "line", "place", "found"),
    [
        ("objective: fake", "objective: fke", 3, "objective", "'fke' is not an objective"),
        ("question: Does it?\n", "", 1, "question", "missing"),
        ("primary", "guard: [locality, nope], primary", 5, "measure.guard[1]",
         "'nope' is not a metric of fake"),
        ("reliability", "reliabilty", 5, "measure.primary", "'reliabilty' is not a metric of fake"),
        ("primary: reliability", "guard: []", 5, "measure.primary", "missing"),
        ("reliability}", "reliability, baseline: {pairing.languages: 1}}", 5, "measure.baseline",
         "no trial is base with pairing.languages=1"),
        ("{}", "{pairing: {langs: 1}}", 4, "base.pairing.langs", "unknown key"),
        ("{}", "[1]", 4, "base", "[1] is not a mapping"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_required_section_is_at_its_line(
    problems, before, after, line, place, found
):
    assert problems(SOUND.replace(before, after)) == [(line, place, found)]


def test_the_names_that_were_probably_meant_are_suggested(load):
    text = SOUND.replace("reliability", "reliabilty").replace("fake", "fakes")
    with pytest.raises(InputError) as caught:
        load(text)
    [objective] = caught.value.problems  # whose metrics are judged once it is known
    assert objective.wanted == "did you mean 'fake'? Objectives: fake"
    with pytest.raises(InputError) as caught:
        load(text.replace("fakes", "fake"))
    [metric] = caught.value.problems
    assert metric.wanted == "did you mean 'reliability'? Metrics: locality, reliability, seconds"


def test_a_section_that_is_wrong_does_not_hide_what_is_wrong_in_the_others(problems):
    text = SOUND.replace("sound", "Not Sound").replace("{}", "{pairing: {languages: 10}}")
    text += "sweep: {pairing.draw: [], nope: [1], stream.count: [1, 2]}\nretry: {attempts: 0}\n"
    text += "budget: {max_trials: 1}\nwhat: 1\nmeasure: again\n"
    assert problems(text) == [
        (1, "study", "'Not Sound' is not a study name"),
        (4, "base.pairing.languages", "10 is no number"),
        (6, "sweep.pairing.draw", "no values"),
        (6, "sweep.nope", "not in base"),
        (7, "retry.attempts", "0 is too small"),
        (9, "what", "unknown key"),
        (10, "measure", "given again; it is on line 5 already"),
    ]


def test_paths_are_not_judged_while_base_is_no_mapping(problems):
    text = SOUND.replace("{}", "[1]") + "sweep: {pairing.langs: [1]}\n"
    assert problems(text) == [(4, "base", "[1] is not a mapping")]


@pytest.mark.parametrize("fills", [True, False])
def test_what_base_lacks_is_reported_whether_or_not_it_is_filled_in(fills, tmp_path):
    class Demanding(Fake):
        def resolve(self, params):
            filled, problems = super().resolve(params)
            if "count" not in params.get("stream", {}):
                problems.append(Problem("stream.count", None, "missing", "say how many"))
            return (filled if fills else dict(params)), problems

    path = tmp_path / "a.yaml"
    path.write_text(SOUND.replace("{}", "{pairing: {draw: x}}") + "sweep: {stream.count: [1]}\n")
    with pytest.raises(InputError) as caught:
        load_study(path, {"fake": Demanding()})
    assert caught.value.problems == (Problem("base.stream.count", 4, "missing", "say how many"),)


def test_a_path_that_is_no_default_either_is_reported_beside_a_problem_of_base(problems):
    text = SOUND.replace("{}", "{pairing: {languages: 10}}") + "sweep: {pairing.langs: [1]}\n"
    assert problems(text) == [
        (4, "base.pairing.languages", "10 is no number"),
        (6, "sweep.pairing.langs", "not in base"),
    ]


def test_the_number_of_trials_is_not_judged_while_a_section_that_makes_them_is_wrong(problems):
    text = SOUND + "sweep: {pairing.draw: [], stream.count: [1, 2]}\nbudget: {max_trials: 1}\n"
    assert problems(text) == [(6, "sweep.pairing.draw", "no values")]
    assert problems(text.replace("pairing.draw: [], ", "")) == [
        (7, "budget.max_trials", "1 is fewer than the 2 trials this study expands to")
    ]


def test_what_is_wrong_in_yaml_is_collected_with_the_rest_and_not_judged_again(problems):
    text = """\
study: sound
question: Does it?
objective: &o fake
base:
  pairing:
    languages: .inf
    languages: 2
    draw: !!str per_step
  editor: {layer: *o, memory: {topk: 1}}
measure: {primary: reliability}
1: 2
"""
    assert problems(text) == [
        (3, "objective", "anchor &o"),
        (6, "base.pairing.languages", ".inf is not a finite number"),
        (7, "base.pairing.languages", "given again; it is on line 6 already"),
        (8, "base.pairing.draw", "tag !!str"),
        (9, "base.editor.layer", "alias *o"),
        (9, "base.editor.memory.topk", "unknown key"),
        (11, "", "the key 1 is not text"),
    ]


@pytest.mark.parametrize(
    ("content", "line", "found", "wanted"),
    [
        (b"", 1, "nothing in it", "a mapping of keys to values"),
        (b"# only this\n", 1, "nothing in it", "a mapping of keys to values"),
        (
            b"\n- 1\n",
            2,
            "a list at the top of the file",
            "a mapping of keys to values: study, question, objective, base, measure ...",
        ),
        (
            b"word",
            1,
            "'word' at the top of the file",
            "a mapping of keys to values: study, question, objective, base, measure ...",
        ),
        (b"\nb: \xff\n", 2, "byte 0xff is not UTF-8", "save the file as UTF-8"),
        (b"\nb: \x07\n", 2, "unprintable character U+0007", "remove it"),
        (b"a: 1\n---\nb: 2\n", 2, "a second document", "one document a file: remove the '---'"),
        (
            b"a: why: not\n",
            1,
            "not YAML: mapping values are not allowed here",
            "put text that contains ': ' in quotes",
        ),
        (
            b"a:\n\t- 1\n",
            2,
            "not YAML: while scanning for the next token "
            "found character '\\t' that cannot start any token",
            "indent with spaces; quote text that starts with a mark",
        ),
        (
            b"a: [1\nb: 2\n",
            2,
            "not YAML: while parsing a flow sequence expected ',' or ']', but got ':'",
            "check that every [ and { is closed, with commas between",
        ),
        (
            b"%YAML 3.0\n---\na: 1\n",
            1,
            "not YAML: found incompatible YAML document (version 1.* is required)",
            "correct the YAML",
        ),
        (b'a: 1\nb: "\\U00110000"\n', 2, "an escape that is no character", "correct it"),
    ],
)
def test_a_file_that_cannot_be_read_is_an_input_error(load, content, line, found, wanted):
    with pytest.raises(InputError) as caught:
        load(content)
    assert caught.value.problems == (Problem("", line, found, wanted),)


def test_a_file_that_is_not_there_is_an_input_error_with_a_suggestion(load, tmp_path):
    load(SOUND)
    with pytest.raises(InputError) as caught:
        load_study(tmp_path / "specs" / "aa.yaml", {})
    wanted = f"did you mean {tmp_path / 'specs' / 'a.yaml'}?"
    assert caught.value.problems == (Problem("", None, "there is no such file", wanted),)
    with pytest.raises(InputError) as caught:
        load_study(tmp_path / "elsewhere.yaml", {})
    assert caught.value.problems[0].wanted == "check the path"
    with pytest.raises(InputError) as caught:
        load_study(tmp_path, {})
    assert caught.value.problems[0].found == "cannot be read: Is a directory"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("on", "on"),
        ("Yes", "Yes"),
        ("off", "off"),
        ("true", True),
        ("True", True),
        ("FALSE", False),
        ("tRue", "tRue"),
        ("~", None),
        ("null", None),
        ("", None),
        ("1e-3", 0.001),
        ("1E3", 1000.0),
        ("1.", 1.0),
        (".5", 0.5),
        ("-.5e+1", -5.0),
        (".", "."),
        ("+12", 12),
        ("010", 10),
        ("0o17", "0o17"),
        ("0x1f", "0x1f"),
        ("0b1", "0b1"),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("2026-01-31", "2026-01-31"),
        ("'1'", "1"),
        ('"true"', "true"),
        ("inf", "inf"),
        ("9223372036854775807", 2**63 - 1),
        ("-9223372036854775807", 1 - 2**63),
    ],
)
def test_plain_scalars_are_those_of_yaml_1_2(text, value):
    document = read(f"a: {text}\n".encode())
    assert document.problems == []
    assert document.value == {"a": value}
    assert type(document.value["a"]) is type(value)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (".inf", ".inf is not a finite number"),
        ("-.Inf", "-.Inf is not a finite number"),
        (".NaN", ".NaN is not a finite number"),
        ("1e999", "1e999 is not a finite number"),
        ("9223372036854775808", "9223372036854775808 is too large"),
        ("1" * 5000, f"{'1' * 40} is too large"),
        ('"\\ud800"', "half of a surrogate pair"),
        ("&a 1", "anchor &a"),
        ("!!python/object:os.system {}", "tag !!python/object:os.system"),
        ("! 1", "tag !"),
        ("!own 1", "tag !own"),
        ("*a", "alias *a"),
    ],
)
def test_values_that_json_or_a_reader_cannot_rely_on_are_refused(text, found):
    document = read(f"ok: 1\nx: {text}\n".encode())
    assert [(p.place, p.line, p.found) for p in document.problems] == [("x", 2, found)]
    assert document.spoilt == {"x"}


@pytest.mark.parametrize("key", ["1", "true", "null", "1.5", "? [a]\n"])
def test_keys_must_be_text(key):
    [problem] = read(f"{key}: {{b: 1}}\nb: 2\n".encode()).problems
    assert problem.found.endswith(" is not text")


def test_a_mark_of_byte_order_is_no_part_of_the_first_key():
    assert read(b"\xef\xbb\xbfa: 1").value == {"a": 1}


def test_lines_are_those_of_keys_and_items():
    document = read(b"# note\na:\n  - 1\n  -\n    b.c: 2\n  - [3,\n     4]\nd: >\n  x\n\ne: 5\n")
    assert document.lines == {
        "": 2,
        "a": 2,
        "a[0]": 3,
        "a[1]": 5,  # of its first key
        "a[1].b.c": 5,
        "a[2]": 6,
        "a[2][0]": 6,
        "a[2][1]": 7,
        "d": 8,
        "e": 11,
    }


def test_nesting_has_a_limit_and_is_not_followed_beyond_it():
    deepest = "[" * DEEPEST_NESTING + "]" * DEEPEST_NESTING
    assert read(deepest.encode()).problems == []
    [problem] = read(f"[{deepest}]".encode()).problems
    assert problem.found == "nested too deeply"
    assert len(read(b"[" * 100_000).problems) == 1
    deepest = "{a: " * DEEPEST_NESTING + "}" * DEEPEST_NESTING
    assert read(deepest.encode()).problems == []
    assert read(f"{{b: {deepest}}}".encode()).problems[0].found == "nested too deeply"


def test_a_file_has_a_largest_size():
    assert read(b"#" * LARGEST_FILE).problems[0].found == "nothing in it"
    [problem] = read(b"#" * (LARGEST_FILE + 1)).problems
    assert problem.found == "more than 250,000 bytes"


@pytest.mark.parametrize(
    ("override", "get", "value"),
    [
        ("base.pairing.languages=2", lambda s: s.base["pairing"]["languages"], 2),
        ("base.editor.memory=null", lambda s: s.base["editor"]["memory"], None),
        ("base.stream.target_languages=[es, zh]",
         lambda s: s.base["stream"]["target_languages"], ["es", "zh"]),
        ("study=other", lambda s: s.study, "other"),
        ("question=a=b", lambda s: s.question, "a=b"),
        ("sweep.pairing.draw=[a, b]", lambda s: s.sweep, {"pairing.draw": ["a", "b"]}),
        ("ablate.mono.pairing.languages=0", lambda s: s.ablate, {"mono": {"pairing.languages": 0}}),
        ("ablate.mono={pairing.draw: a}", lambda s: s.ablate, {"mono": {"pairing.draw": "a"}}),
        ("measure.baseline.pairing.languages=4", lambda s: s.measure.baseline,
         {"pairing.languages": 4}),
        ("resources.gpus=0.5", lambda s: s.resources.gpus, 0.5),
    ],
)  # fmt: skip
def test_an_override_lies_over_the_file(load, override, get, value):
    assert get(load(SOUND, override)) == value


def test_an_override_reaches_into_what_a_path_names(load):
    spec = load(SOUND + SEARCH, "search.space.pairing.languages.high=5", "search.trials=2")
    assert (spec.search.space["pairing.languages"].high, spec.search.trials) == (5, 2)
    assert load(SOUND, "study=b", "study=c").study == "c"


@pytest.mark.parametrize(
    ("override", "place", "found"),
    [
        ("base.pairing.languages=10", "base.pairing.languages", "10 is no number"),
        ("base.nope.deep=10", "base.nope", "unknown key"),
        ("sweep.pairing.languages=[1, 10]", "sweep.pairing.languages[1]", "10 is no number"),
        ("retry.attempts=0", "retry.attempts", "0 is too small"),
        ("study", "", "'study' is not path=value"),
        ("=1", "", "'=1' is not path=value"),
        ("base..x=1", "", "'base..x=1' is not path=value"),
        ("study=", "study", "no value"),
        ("study=- 1", "study", "'- 1' is in block style"),
        ("study=a: 1", "study", "'a: 1' is in block style"),
        ("study=[.inf]", "study[0]", ".inf is not a finite number"),
        ("study=*a", "study", "alias *a"),
        ("study.x=1", "study.x", "nothing can be set inside 'sound', which study is"),
    ],
)
def test_what_is_wrong_with_an_override_names_it_and_not_a_line(problems, override, place, found):
    assert problems(SOUND, override) == [("--set", place, found)]


def test_problems_of_overrides_come_last_and_the_check_repeats_them(load):
    with pytest.raises(InputError) as caught:
        load(SOUND + "what: 1\n", "retry.attempts=0", "question=Does it?")
    assert str(caught.value) == (
        "2 problems in specs/a.yaml\n"
        "\n"
        "  line 6  what: unknown key\n"
        "          Known here: ablate, base, budget, expect, measure, objective, question, "
        "resources, retry, search, study, sweep\n"
        "  --set   retry.attempts: 0 is too small\n"
        "          a whole number, at least 1\n"
        "\n"
        "Nothing was launched. Re-check with: mpn plan specs/a.yaml "
        "--set retry.attempts=0 --set 'question=Does it?'"
    )


def test_an_override_replaces_a_value_and_what_was_wrong_inside_it(load, problems):
    text = SOUND.replace("{}", "\n  pairing:\n    languages: 10")
    assert problems(text) == [(6, "base.pairing.languages", "10 is no number")]
    assert load(text, "base.pairing={languages: 1}").base["pairing"]["languages"] == 1
    assert problems(text, "base.pairing={languages: 11}") == [
        ("--set", "base.pairing.languages", "11 is no number")
    ]


def test_an_override_mends_nothing_in_the_file_and_is_judged_itself(problems):
    text = SOUND.replace("{}", "\n  pairing:\n    languages: .inf")
    assert problems(text, "base.pairing={languages: 11}") == [
        (6, "base.pairing.languages", ".inf is not a finite number"),
        ("--set", "base.pairing.languages", "11 is no number"),
    ]


def test_an_override_of_a_short_path_reaches_into_it_too(problems):
    text = SOUND + SEARCH.replace("pairing.languages: {low: 0, high: 9}", "editor: [{}]")
    assert problems(text, "search.space.editor.low=1") == [
        (
            "--set",
            "search.space.editor.low",
            "nothing can be set inside [{}], which search.space.editor is",
        )
    ]


# -- pruners ------------------------------------------------------------------------------


PRUNED = SEARCH + "  pruner: {name: median, warmup_steps: 3}\n"


def test_a_search_can_have_a_pruner(load):
    pruner = load(SOUND + PRUNED).search.pruner
    assert (pruner.name, pruner.startup_trials, pruner.warmup_steps) == ("median", 5, 3)
    halving = load(SOUND + PRUNED, "search.pruner={name: successive_halving}").search.pruner
    assert (halving.min_resource, halving.reduction_factor) == (1, 4)
    assert load(SOUND + PRUNED, "search.pruner=null").search.pruner is None


@pytest.mark.parametrize(
    ("before", "after", "line", "place", "found"),
    [
        ("name: median", "name: mean", 11, "search.pruner", "'mean' is not a choice here"),
        ("name: median, ", "", 11, "search.pruner.name", "missing"),
        ("{name: median, warmup_steps: 3}", "median", 11, "search.pruner",
         "'median' is not a mapping"),
        ("warmup_steps: 3", "warmup: 3", 11, "search.pruner.warmup", "unknown key"),
        ("warmup_steps: 3", "interval: 0", 11, "search.pruner.interval", "0 is too small"),
        ("name: median, warmup_steps: 3", "name: successive_halving, reduction_factor: 1", 11,
         "search.pruner.reduction_factor", "1 is too small"),
        ("maximize}", "maximize, locality: maximize}", 11, "search.pruner",
         "a pruner with 2 objectives"),
        ("reliability: maximize", "seconds: minimize", 11, "search.pruner",
         "'seconds' has no running value to prune by"),
    ],
)  # fmt: skip
def test_a_pruner_that_cannot_be_is_refused(problems, before, after, line, place, found):
    assert problems(SOUND + PRUNED.replace(before, after)) == [(line, place, found)]


def test_what_could_be_pruned_by_is_named(load):
    with pytest.raises(InputError, match="search for one of these: locality, reliability"):
        load(SOUND + PRUNED.replace("reliability: maximize", "seconds: minimize"))


def test_credentials_have_no_place_in_a_study(problems):
    found = "holds a password, or another credential"
    text = SOUND + "expect: Yes, says https://me:secret@there/x\n"
    assert problems(text) == [(6, "expect", found)]
    assert ("--set", "base.x", found) in problems(SOUND, "base.x=password=abc")
