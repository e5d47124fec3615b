"""The folder of Parquet files that translations are kept in."""

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mpn.data.parallel_folder import (
    SCHEMA,
    FolderRow,
    contents,
    file_of,
    read_rows,
    write,
    write_card,
)
from mpn.errors import MpnInputError

ENGLISH = FolderRow(
    "1", "g", "en", "SUPPORTS", ("Milk is white.", "It is."), rephrases=(("White milk.", "It is."),)
)
ARABIC = FolderRow(
    "1",
    "g",
    "ar",
    "SUPPORTS",
    ("الحليب \u200fأبيض.", "It is."),
    status="flagged",
    rephrases_origin="machine",
    origin="machine",
    flags=("length_ratio", "round_trip"),
    round_trip=41.5,
    model="made@0",
)


def test_a_language_may_have_no_rows(tmp_path):
    write(tmp_path, "test", "fr", [])
    assert read_rows(tmp_path, "test", "fr") == []


def test_rows_come_back_as_they_were_written(tmp_path):
    write(tmp_path, "test", "en", [ENGLISH])
    write(tmp_path, "test", "ar", [ARABIC])
    assert read_rows(tmp_path, "test", "en") == [ENGLISH]
    assert read_rows(tmp_path, "test", "ar") == [ARABIC]
    assert contents(tmp_path) == {"test": ("ar", "en")}


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    path = write(tmp_path, "test", "en", [ENGLISH])

    def broken():
        yield ENGLISH
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(tmp_path, "test", "en", broken())
    assert read_rows(tmp_path, "test", "en") == [ENGLISH]
    assert list(path.parent.iterdir()) == [path]


def test_the_card_lets_datasets_load_a_language_by_name(tmp_path):
    write(tmp_path, "test", "en", [ENGLISH])
    write(tmp_path, "test", "no", [])
    write_card(tmp_path, {"license": "cc-by-sa-3.0"}, "# Claims\n")
    loaded = datasets.load_dataset(str(tmp_path), "en", cache_dir=str(tmp_path / "cache"))
    assert loaded["test"][0]["text"] == "Milk is white."
    assert list(loaded) == ["test"]
    assert datasets.get_dataset_config_names(str(tmp_path)) == ["en", "no"]


@pytest.mark.parametrize("language", ["", "../en", "English"])
def test_a_language_that_is_no_tag_names_no_file(tmp_path, language):
    with pytest.raises(MpnInputError, match="is not a language tag"):
        file_of(tmp_path, "test", language)


def test_a_split_that_would_lie_elsewhere_names_no_file(tmp_path):
    with pytest.raises(MpnInputError, match=r"'\.\./test' is not the name of a split"):
        file_of(tmp_path, "../test", "en")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (ARABIC, "row '1' is in 'ar', with texts of 2 segments; give rows in en"),
        (FolderRow("1", "g", "en", "A", ()), "with texts of 0 segments"),
        (FolderRow("1", "g", "en", "A", ("a", "b", "c")), "with texts of 3 segments"),
        (FolderRow("1", "g", "en", "A", ("a",), (("a", "b", "c"),)), "texts of 1 and 3 segments"),
    ],
)
def test_a_row_that_does_not_belong_is_not_written(tmp_path, row, message):
    with pytest.raises(MpnInputError, match=message):
        write(tmp_path, "test", "en", [row])
    assert contents(tmp_path) == {}


def test_what_is_there_is_named_where_a_file_is_missing(tmp_path):
    with pytest.raises(MpnInputError, match="name a parallel folder"):
        read_rows(tmp_path, "test", "en")
    write(tmp_path, "test", "en", [ENGLISH])
    with pytest.raises(MpnInputError, match=r"has no data/test/fr\.parquet; test has en"):
        read_rows(tmp_path, "test", "fr")
    with pytest.raises(MpnInputError, match="it has the splits test"):
        read_rows(tmp_path, "dev", "en")


def test_a_damaged_file_is_named(tmp_path):
    path = write(tmp_path, "test", "en", [ENGLISH])
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(MpnInputError, match=r"en\.parquet: unreadable"):
        read_rows(tmp_path, "test", "en")


def test_other_columns_are_named(tmp_path):
    path = write(tmp_path, "test", "en", [ENGLISH])
    table = pq.read_table(path)
    pq.write_table(table.drop(["flags"]), path)
    with pytest.raises(MpnInputError, match=r"en\.parquet: no column flags; the columns are id"):
        read_rows(tmp_path, "test", "en")
    numbered = table.set_column(0, "id", pa.array([1]))
    pq.write_table(numbered, path)
    with pytest.raises(MpnInputError, match="columns of another type: id"):
        read_rows(tmp_path, "test", "en")


def test_an_unknown_status_is_refused(tmp_path):
    path = write(tmp_path, "test", "en", [ENGLISH])
    table = pq.read_table(path)
    index = SCHEMA.get_field_index("status")
    pq.write_table(table.set_column(index, "status", pa.array(["fine"])), path)
    with pytest.raises(MpnInputError, match="row 1: status 'fine'; one of source, passed"):
        read_rows(tmp_path, "test", "en")
