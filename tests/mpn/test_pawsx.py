"""PAWS-X as it was released, and as it is on the hub."""

import datasets
import pytest

from mpn.data.readers.pawsx import LANGUAGES
from mpn.data.sources import DatasetSettings, corpus_fingerprint, corpus_languages, load_corpus
from mpn.errors import MpnInputError

ROWS = [(1, 'He said "no".', "No, he said.", 1), (2, "A is north of B.", "B is north of A.", 0)]


def write_release(folder, rows=ROWS, **changes):
    for language in ("en", "ja"):
        lines = ["id\tsentence1\tsentence2\tlabel"]
        for row in changes.get(language, rows):
            lines.append("\t".join(map(str, row)))
        (folder / language).mkdir(parents=True, exist_ok=True)
        (folder / language / "test_2k.tsv").write_text("\n".join(lines), encoding="utf-8")
    return folder


def write_hub(folder):
    features = datasets.Features(
        {
            "id": datasets.Value("int32"),
            "sentence1": datasets.Value("string"),
            "sentence2": datasets.Value("string"),
            "label": datasets.ClassLabel(names=["0", "1"]),
        }
    )
    card = "---\nconfigs:\n"
    for language in ("en", "ja"):
        (folder / language).mkdir(parents=True)
        columns = dict(zip(features, map(list, zip(*ROWS, strict=True)), strict=True))
        made = datasets.Dataset.from_dict(columns, features=features)
        made.to_parquet(folder / language / "validation-00000-of-00001.parquet")
        card += f"- config_name: {language}\n  data_files:\n"
        card += f"  - {{split: validation, path: {language}/validation-*}}\n"
    (folder / "README.md").write_text(f"{card}---\n")
    return folder


@pytest.mark.parametrize("layout", ["release", "hub"])
def test_both_layouts_give_the_same_corpus(tmp_path, layout):
    if layout == "release":
        folder, split = write_release(tmp_path / "x-final"), "test"
    else:
        folder, split = write_hub(tmp_path / "clone"), "dev"
    settings = DatasetSettings(name="pawsx", path=str(folder), split=split)
    assert corpus_languages(settings) == ("en", "ja")
    assert len(corpus_fingerprint(settings)) == 64
    corpus = load_corpus(settings, tmp_path / "cache")
    assert corpus.labels == ("not_paraphrase", "paraphrase")
    assert [(e.example_id, e.label) for e in corpus.examples] == [("1", 1), ("2", 0)]
    assert corpus.examples[0].texts["ja"] == ('He said "no".', "No, he said.")


def test_sentences_that_nobody_translated_are_blank_and_missing_labels_unknown(tmp_path):
    rows = [(1, "a", "NS", 1), (2, "", "b", 0), (3, "a", "b", -1), (4, "a", "b", 1)]
    folder = write_release(tmp_path, [(i, "a", "b", 1 - i // 2 % 2) for i in (1, 2, 3, 4)], ja=rows)
    settings = DatasetSettings(name="pawsx", path=str(folder), bad_rows="drop")
    corpus = load_corpus(settings, tmp_path / "cache")
    assert [e.example_id for e in corpus.examples] == ["4"]
    assert corpus.dropped == {"blank text": 2, "unknown label": 1}


def test_a_folder_without_the_split_is_named(tmp_path):
    folder = write_release(tmp_path)
    with pytest.raises(MpnInputError, match=r"dataset.path: .* has no LANGUAGE/dev_2k.tsv"):
        corpus_languages(DatasetSettings(name="pawsx", path=str(folder), split="dev"))


def test_the_hubs_must_be_pinned(tmp_path):
    settings = DatasetSettings(name="pawsx")
    assert corpus_languages(settings) == LANGUAGES
    with pytest.raises(MpnInputError, match="not a commit of google-research-datasets/paws-x"):
        corpus_fingerprint(settings)
