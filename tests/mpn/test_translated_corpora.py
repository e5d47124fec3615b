import json
from dataclasses import replace

import datasets
import pytest
import yaml

from mpn.data.corpus import Corpus
from mpn.data.parallel_folder import FolderRow, read_rows, write
from mpn.edits import ParallelExample
from mpn.errors import MpnInputError
from mpn.translation.card import Facts, count, publish_card, recount
from mpn.translation.corpora import (
    all_rows,
    check_replaceable,
    source_rows,
    translated_rows,
    whole_folder,
)
from mpn.translation.lines import Line, from_bytes, order_of, shard, to_bytes
from mpn.translation.settings import CheckSettings, TranslatorSettings

TEXTS = ("Anna Berg was born in 1987.", "Oslo is a large city.")
CORPUS = Corpus(
    "small",
    ("en",),
    ("no", "yes"),
    (
        ParallelExample("a", "g1", 1, {"en": (TEXTS[0],)}, {"en": (("Ms Berg is of 1987.",),)}),
        ParallelExample("b", "g2", 0, {"en": (TEXTS[1],)}),
    ),
    "f" * 64,
)
LINES = [
    Line("a", ("Anna Berg est née en 1978.",), 71.5, False, (("Anna Berg, née en 1978",),)),
    Line("b", ("Oslo est une grande ville.",), 60.0, False),
]


def translated(lines=LINES, **settings):
    return translated_rows(CORPUS, "en", "fr", lines, CheckSettings(**settings), "m@1")


# -- lines --------------------------------------------------------------------------------


def test_lines_read_back_as_they_were():
    lines = [*LINES, Line("c", ("eins\n\u2028zwei", "中文"), None, True)]
    assert from_bytes(to_bytes(lines)) == lines
    assert from_bytes(b"") == []


def test_a_line_is_measured_against_its_source():
    wrong = Line("a", ("Berg est née en 1978.",), 50.0, False).measured((TEXTS[0],))
    assert wrong == {"intact": 0.0, "length_ratio": 31 / 37, "rephrased": 0.0, "round_trip": 0.5}
    right = Line("a", ("Berg est née en 1987.",), None, False, (("b",),)).measured((TEXTS[0],))
    assert right == {"intact": 1.0, "length_ratio": 31 / 37, "rephrased": 1.0}
    assert Line("a", TEXTS[:1], None, True).measured(TEXTS[:1])["intact"] == 0.0


def test_of_a_pair_the_ratio_farthest_from_one_counts():
    line = Line("a", ("b" * 30, "b" * 10), None, False)
    assert line.measured(("a" * 10, "a" * 50))["length_ratio"] == 20 / 60


def test_shards_have_every_row_once():
    shards = [list(shard(10, 4, number)) for number in range(3)]
    assert shards == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


def test_long_texts_come_first_and_equal_first_segments_together():
    texts = [("aa", "b"), ("cccc", "d"), ("aa", "e"), ("cccc", "a"), ("bb",)]
    assert order_of(texts) == [3, 1, 0, 2, 4]


# -- rows ---------------------------------------------------------------------------------


def test_ids_groups_and_labels_are_the_source_s():
    of_source = source_rows(CORPUS, "en", 2, ())
    rows = translated()
    for one, other in zip(rows, of_source, strict=True):
        assert (one.id, one.group, one.label) == (other.id, other.group, other.label)
    assert [row.label for row in rows] == ["yes", "no"]
    assert {row.language for row in rows} == {"fr"}
    assert {row.origin for row in rows} == {"machine"}
    assert {row.model for row in rows} == {"m@1"}
    assert [row.origin for row in of_source] == ["source", "source"]


def test_a_row_is_flagged_or_has_passed():
    first, second = translated()
    assert (first.status, first.flags, first.round_trip) == ("flagged", ("numbers",), 71.5)
    assert (second.status, second.flags) == ("passed", ())
    assert translated(round_trip=65)[1].flags == ("round_trip",)


def test_rephrases_say_where_they_come_from():
    first, second = translated()
    assert (first.rephrases_origin, second.rephrases_origin) == ("machine", None)
    made = [Line("a", TEXTS[:1], None, False), Line("b", TEXTS[1:], None, False, (("Big Oslo",),))]
    first, second = source_rows(CORPUS, "en", 2, made)
    assert (first.rephrases, first.rephrases_origin) == ((("Ms Berg is of 1987.",),), "source")
    assert (second.rephrases, second.rephrases_origin) == ((("Big Oslo",),), "machine")


@pytest.mark.parametrize("lines", [LINES[::-1], LINES[:1] * 2, [LINES[1]]])
def test_lines_out_of_place_are_a_fault_of_ours(lines):
    with pytest.raises(RuntimeError, match="lines in fr"):
        translated(lines)


def test_only_the_first_rows_can_be_asked_for():
    assert [row.id for row in translated(LINES[:1])] == ["a"]
    assert [row.id for row in source_rows(CORPUS, "en", 1, ())] == ["a"]


# -- folder and card ----------------------------------------------------------------------

FACTS = Facts(
    corpus="small",
    fingerprint="f" * 64,
    source="en",
    targets=("fr",),
    licence="cc-by-4.0",
    models={"m@1": "e" * 64},
    translator=TranslatorSettings(name="m"),
    checks=CheckSettings(),
    rephrase_via=("de",),
)


def put(folder):
    rows = {("test", "en"): source_rows(CORPUS, "en", 2, ()), ("test", "fr"): translated()}
    for (split, language), found in rows.items():
        write(folder, split, language, found)
    publish_card(folder, FACTS, rows)
    return rows


def test_the_folder_is_a_data_set_of_the_hub_s_library(tmp_path):
    put(tmp_path / "made")
    datasets.disable_progress_bars()
    found = datasets.load_dataset(str(tmp_path / "made"), "fr", cache_dir=str(tmp_path / "cache"))
    assert list(found) == ["test"]
    assert found["test"]["text"][1] == "Oslo est une grande ville."
    assert found["test"]["flags"][0] == ["numbers"]


def test_the_card_says_where_the_texts_come_from(tmp_path):
    put(tmp_path)
    _, front, text = (tmp_path / "README.md").read_text().split("---\n", 2)
    about = yaml.safe_load(front)
    assert about["license"] == "cc-by-4.0"
    assert about["language"] == ["en", "fr"]
    assert about["task_categories"] == ["text-classification"]
    assert [config["config_name"] for config in about["configs"]] == ["en", "fr"]
    for fact in ("f" * 64, "| m@1 | `" + "e" * 64, "4 beams", "through de and back"):
        assert fact in text
    assert "| fr | 2 | 0 | 1 | 1 | 0 | 0 | 0 | 65.8 | 1 |" in text
    assert "- `fr`: numbers 1" in text


def test_languages_are_counted_the_source_first():
    rows = {("test", "fr"): translated(), ("test", "zh"): source_rows(CORPUS, "zh", 0, ())}
    of_source = source_rows(CORPUS, "en", 2, ())
    counts = count({**rows, ("dev", "en"): of_source, ("test", "en"): of_source})
    assert [(one.language, one.n_rows) for one in counts] == [("en", 4), ("fr", 2), ("zh", 0)]
    assert counts[1].round_trip == (71.5 + 60) / 2
    assert counts[0].round_trip is None


def test_a_card_is_counted_again_and_keeps_what_people_wrote(tmp_path):
    rows = put(tmp_path)
    card = tmp_path / "README.md"
    card.write_text(card.read_text().replace("# small", "# Our small corpus", 1))
    rows["test", "fr"] = [replace(row, status="accepted") for row in rows["test", "fr"]]
    before = card.read_text()
    recount(tmp_path, rows)
    after = card.read_text()
    assert "# Our small corpus" in after
    assert "| fr | 2 | 0 | 0 | 0 | 2 | 0 | 0 |" in after
    assert before.partition("<!-- counts")[0] == after.partition("<!-- counts")[0]
    assert before.partition("of counts -->")[2] == after.partition("of counts -->")[2]


@pytest.mark.parametrize("card", [None, "no front matter", "---\na: [\n---\n", "---\na: 1\n---\nx"])
def test_a_card_that_is_not_ours_is_not_counted(tmp_path, card):
    rows = put(tmp_path)
    (tmp_path / "README.md").unlink()
    if card is not None:
        (tmp_path / "README.md").write_text(card)
    with pytest.raises(MpnInputError, match=r"README\.md"):
        recount(tmp_path, rows)


def test_a_folder_is_there_whole_or_as_it_was(tmp_path):
    final = tmp_path / "made"
    put(final)
    before = json.dumps([row.id for row in read_rows(final, "test", "fr")])
    with pytest.raises(RuntimeError), whole_folder(final) as folder:
        put(folder)
        raise RuntimeError
    assert json.dumps([row.id for row in read_rows(final, "test", "fr")]) == before
    with whole_folder(final) as folder:
        write(folder, "dev", "fr", translated())
    assert list(all_rows(final)) == [("dev", "fr")]
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


def test_what_people_reviewed_is_not_written_over(tmp_path):
    check_replaceable(tmp_path / "new")
    rows = put(tmp_path)
    check_replaceable(tmp_path)
    decided = [replace(row, status="rejected") for row in rows["test", "fr"]]
    write(tmp_path, "test", "fr", decided)
    with pytest.raises(MpnInputError, match="2 rows that people have reviewed"):
        check_replaceable(tmp_path)


def test_a_folder_with_something_else_is_not_written_over(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(MpnInputError, match="no parallel folder"):
        check_replaceable(tmp_path)
    with pytest.raises(MpnInputError, match="no parallel folder"):
        check_replaceable(tmp_path / "notes.txt")
    with pytest.raises(MpnInputError, match="is no parallel folder"):
        all_rows(tmp_path)


def test_a_row_is_what_the_parallel_folder_keeps(tmp_path):
    rows = translated()
    write(tmp_path, "test", "fr", rows)
    assert read_rows(tmp_path, "test", "fr") == rows
    assert isinstance(rows[0], FolderRow)
