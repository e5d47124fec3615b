"""Records out of files: every value as it was written, and every damage named with its place."""

import gzip
import json
import warnings

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mpn.data.reading import read_records
from mpn.errors import MpnInputError

RIGHT_TO_LEFT = "\u2067قال: \u202bأنا هنا\u202c\u2069\u200f!"


def read(path, content=None):
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return [record for _, record in read_records(path)]


def test_values_of_json_lines_are_what_was_written(tmp_path):
    written = [
        {"id": "007", "text": RIGHT_TO_LEFT},
        {"id": "2020-01-01", "text": "a\u2028b\u0085c\u000bd"},
        {"id": 3, "evidence": [[[1, None, "Page", 7]]]},  # mixed types, as FEVER has them
    ]
    lines = "\ufeff" + "\n\n".join(json.dumps(row, ensure_ascii=False) for row in written)
    assert read(tmp_path / "a.jsonl", lines) == written
    assert read(tmp_path / "a.jsonl.gz", gzip.compress(lines.encode())) == written


def test_values_of_a_table_are_what_was_written(tmp_path):
    content = '\ufeffid,language,text\r\n007,NA,"a ""b"", c\nd"\r\n\r\n2020-01-01,no,null\r\n'
    assert read(tmp_path / "a.csv", content) == [
        {"id": "007", "language": "NA", "text": 'a "b", c\nd'},
        {"id": "2020-01-01", "language": "no", "text": "null"},
    ]


def test_tabs_alone_part_the_values_of_a_tsv(tmp_path):
    assert read(tmp_path / "a.tsv", f'id\ttext\n1\t"a\n2\t {RIGHT_TO_LEFT}"x\n') == [
        {"id": "1", "text": '"a'},
        {"id": "2", "text": f' {RIGHT_TO_LEFT}"x'},
    ]


def test_a_text_of_a_hundred_thousand_characters_is_read_whole(tmp_path):
    assert len(read(tmp_path / "a.csv", f"text\n{'x' * 100_000}\n")[0]["text"]) == 100_000
    assert len(read(tmp_path / "a.jsonl", '{"text": "%s"}' % ("x" * 100_000))[0]["text"]) == 100_000


def test_numbers_of_classes_become_their_names(tmp_path):
    features = datasets.Features(
        {"label": datasets.ClassLabel(names=["no", "yes"]), "text": datasets.Value("string")}
    )
    rows = {"label": [1, 0, -1], "text": ["a", "b", "c"]}
    datasets.Dataset.from_dict(rows, features=features).to_parquet(tmp_path / "a.parquet")
    assert [row["label"] for row in read(tmp_path / "a.parquet")] == ["yes", "no", None]


def test_a_name_with_wildcards_in_it_is_that_file_alone(tmp_path):
    odd = tmp_path / "a[1]*"
    odd.mkdir()
    assert read(odd / "b [x].jsonl", '{"id": 1}') == [{"id": 1}]


def test_a_file_that_changed_is_read_anew(tmp_path):
    path = tmp_path / "a.jsonl.gz"
    assert read(path, gzip.compress(b'{"id": 1}')) == [{"id": 1}]
    assert read(path, gzip.compress(b'{"id": 2}')) == [{"id": 2}]


WHOLE = "\n".join(json.dumps({"id": i, "text": f"text {i * 7919}"}) for i in range(2000)).encode()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl.gz", gzip.compress(WHOLE)[:-200], r"a\.jsonl\.gz: unreadable \(Compressed file"),
        ("a.jsonl.gz", b"not gzip at all", r"a\.jsonl\.gz(: unreadable|, line 1: no JSON)"),
        ("a.jsonl", WHOLE[:-5], r"a\.jsonl, line 2000: no JSON \(.*\); write one whole JSON"),
        ("a.jsonl", '{"a": 1}\n[1, 2]\n', r"a\.jsonl, line 2: a list, not an object"),
        ("a.jsonl", "[" * 100_000, r"a\.jsonl, line 1: no JSON"),
        ("a.jsonl", b'{"text": "\xff\xfe"}', r"a\.jsonl: unreadable \(.*can't decode byte 0xff"),
        ("a.parquet", b"PAR1 and then garbage PAR1", r"a\.parquet: unreadable"),
        ("a.parquet", b"", r"a\.parquet: unreadable"),
        ("a.csv", "id,text\n1,a\n2,b,c\n", r"no table \(line 3 has 3 fields, the header 2\)"),
        ("a.csv", "id,text\n1,a,b\n2,b,c\n", r"no table \(line 2 has 3 fields, the header 2\)"),
        ("a.csv", "id,text\n1\n", r"no table \(line 2 has 1 fields, the header 2\)"),
        ("a.csv", 'id,text\n1,"a\n2,b\n', r"no table \(line 3: unexpected end of data\)"),
        ("a.csv", "id,id\n1,2\n", r"no table \(two columns of one name\)"),
        ("a.tsv", "id\ttext\n1 a\n", r"no table \(line 2 has 1 fields, the header 2\)"),
        ("a.csv", "", r"a\.csv: (empty|unreadable)"),
        ("a.xlsx", "", r"a\.xlsx: a file of another format; give JSON Lines, CSV or TSV"),
    ],
)
def test_damage_is_named_with_its_file_and_where_it_has_lines_with_the_line(
    tmp_path, name, content, message
):
    with pytest.raises(MpnInputError, match=message):
        read(tmp_path / name, content)


def test_a_parquet_file_may_hold_no_rows(tmp_path):
    pq.write_table(pa.table({"text": pa.array([], pa.string())}), tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet") == []


def test_parquet_columns_of_any_text_type_are_read(tmp_path):
    table = pa.table({"text": pa.array(["a", None], pa.large_string())})
    pq.write_table(table, tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet") == [{"text": "a"}, {"text": None}]


def test_a_damaged_file_leaves_no_warning_for_others(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(MpnInputError):
            read(tmp_path / "a.parquet", b"garbage")


def test_reading_a_file_asks_nothing_of_the_network(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr("socket.getaddrinfo", lambda *where, **_: asked.append(where))
    read(tmp_path / "a.jsonl", '{"id": 1}')
    read(tmp_path / "a.csv", "id\n1\n")
    pq.write_table(pa.table({"id": ["1"]}), tmp_path / "a.parquet")
    read(tmp_path / "a.parquet")
    assert asked == []
