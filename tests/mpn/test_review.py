import csv
import io

import pytest

from mpn.data.parallel_folder import FolderRow
from mpn.translation.review import (
    COLUMNS,
    Decision,
    decided,
    export_flagged,
    read_decisions,
)

EN, FR = ("test", "en"), ("test", "fr")


def source(id_, *text):
    return FolderRow(id_, "g", "en", "yes", text)


def translation(id_, *text, status="flagged", language="fr"):
    return FolderRow(
        id_,
        "g",
        language,
        "yes",
        text,
        status=status,
        origin="machine",
        flags=("names", "length") if status == "flagged" else (),
        round_trip=12.345,
        model="m@1",
    )


@pytest.fixture
def rows():
    return {
        EN: [source("a", "=2+3 is five."), source("b", "two\nlines", "or"), source("c", "fine")],
        FR: [
            translation("a", "'-cinq"),
            translation("b", "deux", "ou"),
            translation("c", "bon", status="passed"),
        ],
        ("test", "sw"): [translation("a", "tano", language="sw")],
    }


def exported(rows, language="fr"):
    return export_flagged(rows, language)[0]


def table(text):
    return list(csv.DictReader(io.StringIO(text, newline="")))


def filled(rows, **changes):
    """The export with cells changed: ``a={"decision": "accept"}``."""
    found = table(exported(rows))
    for row in found:
        row.update(changes.get(row["id"], {}))
    file = io.StringIO()
    writer = csv.DictWriter(file, COLUMNS)
    writer.writeheader()
    writer.writerows(found)
    return file.getvalue()


def problems(text, rows):
    _, found = read_decisions(text, rows)
    return [(one.line, one.column, one.found) for one in found]


# -- out ----------------------------------------------------------------------------------


def test_only_flagged_rows_go_out(rows):
    text, n_rows = export_flagged(rows, None)
    assert n_rows == 3
    assert [(row["language"], row["id"]) for row in table(text)] == [
        ("fr", "a"),
        ("fr", "b"),
        ("sw", "a"),
    ]
    assert [row["language"] for row in table(exported(rows, "sw"))] == ["sw"]


def test_a_row_shows_what_is_needed_to_decide(rows):
    row = table(exported(rows))[1]
    assert row == {
        "split": "test",
        "id": "b",
        "language": "fr",
        "source": "two\nlines",
        "source_pair": "or",
        "translation": "deux",
        "translation_pair": "ou",
        "flags": "names length",
        "round_trip": "12.3",
        "decision": "",
        "correction": "",
        "correction_pair": "",
    }


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "'=", "''-"])
def test_no_cell_is_a_formula_and_all_of_them_come_back(rows, start):
    rows[EN][0] = source("a", f"{start}2")
    rows[FR][0] = translation("a", f"{start}3")
    cells = table(exported(rows))[0]
    assert cells["source"] == f"'{start}2"
    assert cells["translation"][0] == "'"
    decisions, found = read_decisions(filled(rows, a={"decision": "accept"}), rows)
    assert found == []
    assert decisions["test", "fr", "a"] == Decision("accepted", (f"{start}3",))


def test_an_apostrophe_alone_is_left_alone(rows):
    rows[FR][0] = translation("a", "'tis")
    assert table(exported(rows))[0]["translation"] == "'tis"


# -- back ---------------------------------------------------------------------------------


def test_an_untouched_file_decides_nothing(rows):
    assert read_decisions(exported(rows), rows) == ({}, [])


def test_people_accept_correct_and_reject(rows):
    text = filled(
        rows,
        a={"decision": " Accept "},
        b={"decision": "CORRECT", "correction": " deux lignes ", "correction_pair": ""},
    )
    decisions, found = read_decisions(text, rows)
    assert found == []
    changed = decided(rows, decisions)
    assert list(changed) == [FR]
    first, second, third = changed[FR]
    assert (first.status, first.text) == ("accepted", ("'-cinq",))
    assert (second.status, second.text) == ("corrected", ("deux lignes", "ou"))
    assert third == rows[FR][2]
    assert second.flags == ("names", "length")  # why it was looked at stays

    [[rejected, _, _]] = decided(
        rows, read_decisions(filled(rows, a={"decision": "reject"}), rows)[0]
    ).values()
    assert (rejected.status, rejected.text) == ("rejected", ("'-cinq",))


def test_the_second_segment_alone_can_be_corrected(rows):
    text = filled(rows, b={"decision": "correct", "correction_pair": "ou bien"})
    decisions, _ = read_decisions(text, rows)
    assert decisions == {("test", "fr", "b"): Decision("corrected", ("deux", "ou bien"))}


def test_the_same_file_can_be_filled_further_and_taken_back_again(rows):
    first = filled(rows, a={"decision": "correct", "correction": "cinq"})
    rows[FR] = decided(rows, read_decisions(first, rows)[0])[FR]
    assert decided(rows, read_decisions(first, rows)[0]) == {}

    lines = first.replace("correct,cinq", "accept,")
    assert read_decisions(lines, rows) == (
        {("test", "fr", "a"): Decision("accepted", ("'-cinq",))},
        [],
    )


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_spreadsheets_of_any_country_are_read(rows, delimiter):
    file = io.StringIO()
    writer = csv.DictWriter(file, COLUMNS, delimiter=delimiter)
    writer.writeheader()
    writer.writerows({**row, "decision": "accept"} for row in table(exported(rows)))
    decisions, found = read_decisions(file.getvalue(), rows)
    assert (len(decisions), found) == (2, [])


def test_line_ends_within_a_cell_may_change(rows):
    text = filled(rows, b={"source": "two\r\nlines", "decision": "accept"})
    assert problems(text, rows) == []


def test_all_problems_are_said_at_once_with_their_lines(rows):
    text = filled(
        rows,
        a={"decision": "yes", "source": "=2+3 is six.", "correction": "x"},
        b={"decision": "correct", "translation": "trois"},
    )
    text += "test,a,fr,,,,,,,accept,,\r\ntest,z,fr,,,,,,,,,\r\ntest,a,en,,,,,,,,,\r\n"
    assert problems(text, rows) == [
        (2, "source", "is not the source's text"),
        (2, "decision", "'yes'"),
        (2, "correction", "a text, and the decision 'yes'"),
        (3, "translation", "is not the translation's text"),
        (3, "correction", "is missing"),
        (5, "id", "'a' in 'fr' of 'test' a second time; first on line 2"),  # line 4: a text's
        (6, "id", "'z' in 'fr' of 'test' is no translation of this folder"),
        (7, "id", "'a' in 'en' of 'test' is no translation of this folder"),
    ]


@pytest.mark.parametrize("decision", ["", "accept", "reject"])
def test_a_correction_needs_the_decision_to_correct(rows, decision):
    text = filled(rows, b={"decision": decision, "correction": "deux lignes"})
    assert problems(text, rows) == [
        (3, "correction", f"a text, and the decision {decision!r}"),
    ]


def test_nothing_cannot_be_accepted(rows):
    rows[FR][0] = translation("a", " ")
    wrong = filled(rows, a={"decision": "accept"})
    assert problems(wrong, rows) == [(2, "decision", "an empty translation is accepted")]
    for right in ({"decision": "reject"}, {"decision": "correct", "correction": "cinq"}):
        assert problems(filled(rows, a=right), rows) == []


def test_a_single_text_has_no_second_segment(rows):
    text = filled(rows, a={"decision": "correct", "correction_pair": "x"})
    assert problems(text, rows) == [(2, "correction_pair", "a second segment")]


def test_a_file_without_its_columns_is_refused_as_a_whole(rows):
    assert problems("id,decision\r\na,accept\r\n", rows)[0][:2] == (1, "")
    assert problems("", rows)[0][2].startswith("no column split")
