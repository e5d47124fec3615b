"""One edit by hand, as a user makes it."""

import json

import pytest
import torch
from safetensors import safe_open
from transformers import AutoModelForSequenceClassification, AutoTokenizer

import mpn as library
from mpn.data.mini.claims import mini_corpus

EN, FR = "Anna Abril was born in Istanbul.", "Anna Abril est née à Istanbul."
DE = "Anna Abril wurde in Istanbul geboren."


@pytest.fixture
def edit(mpn, study, tmp_path):
    """The command, with what every call has in common."""
    out = tmp_path / "edit.safetensors"

    def call(*words, code=0):
        return mpn("edit", study, "--out", out, *words, code=code)

    call.out = out
    return call


def test_an_edit_is_shown_saved_and_exported(edit, tiny_model, tmp_path):
    printed = edit(
        *("--text", f"en={EN}", "--text", f"fr={FR}", "--text", f"de={DE}"),
        *("--label", "refutes", "--pair", "fr", "--export", tmp_path / "edited"),
    )
    for words in ("source", "paired", "unseen", "Side effects: ", " of 36 held-out texts in 6"):
        assert words in " ".join(printed.split())
    assert f'mpn.load_edited("{tiny_model}", "{edit.out}")' in printed
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "edited")
    inputs = tokenizer([EN, FR], padding=True, return_tensors="pt")
    edited = AutoModelForSequenceClassification.from_pretrained(tmp_path / "edited")
    plain = AutoModelForSequenceClassification.from_pretrained(tiny_model)
    answers = [m.eval()(**inputs).logits for m in (edited, library.load_edited(plain, edit.out))]
    assert answers[0].argmax(-1).tolist() == [0, 0]  # REFUTES
    torch.testing.assert_close(*answers, atol=1e-5, rtol=0)
    with safe_open(edit.out, "pt") as file:
        assert json.loads(file.metadata()["about"]) == {"edit": f"{EN}: REFUTES"}


def test_a_row_of_the_data_is_edited_in_all_its_languages(edit):
    row = mini_corpus().examples[5]
    found = json.loads(edit("--row", row.example_id, "--label", "SUPPORTS", "--json"))
    assert {a["language"]: tuple(a["text"]) for a in found["answers"]} == row.texts
    assert [a["role"] for a in found["answers"]] == ["source", *["paired"] * 5]
    assert found["answers"][0]["after"][1] > 0.5
    assert found["side_effects"]["n_texts"] == dict.fromkeys(row.texts, 6)


@pytest.mark.parametrize("pairs", [("--pair", "fr,de"), ("--pair", "fr", "--pair", "de")])
def test_several_languages_are_paired_in_one_option_or_in_several(edit, pairs):
    texts = ("--text", f"en={EN}", "--text", f"fr={FR}", "--text", f"de={DE}", "--text", "es=No.")
    found = json.loads(edit(*texts, "--label", "_refutes-", *pairs, "--no-data", "--json"))
    assert [a["role"] for a in found["answers"]] == ["source", "paired", "paired", "unseen"]


def test_without_data_nothing_is_remembered_and_nothing_said_of_others(edit):
    found = json.loads(edit("--text", f"en={EN}", "--label", "SUPPORTS", "--no-data", "--json"))
    assert found["side_effects"] is None
    assert found["answers"][0]["after"][1] > 0.5


def test_all_that_is_wrong_with_the_options_is_said_at_once(edit):
    edit.out.write_text("something else")
    said = edit("--text", "en", "--second", "fr=deux", "--row", "7", "--no-data", code=2)
    for words in (
        "6 problems in the command",
        "--label: is missing",
        "--text, --row: both a row and texts",
        "--no-data: a row is of the data",
        "--text: 'en'",
        "--second: fr, en in one of --text and --second only",
        "exists already",
        "Nothing was edited.",
    ):
        assert words in said or words.replace("fr, en", "en, fr") in said
    assert edit.out.read_text() == "something else"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--text", f"en={EN}", "--label", "PERHAPS"), "The model's: REFUTES, SUPPORTS"),
        (("--row", "nobody", "--label", "SUPPORTS"), "mini has 2688 rows"),
        (("--text", f"en={EN}", "--label", "SUPPORTS", "--pair", "fr"), "there are no texts"),
        (("--text", f"English={EN}", "--label", "SUPPORTS"), "'English' is not a language tag"),
        (
            ("--row", "x", "--label", "SUPPORTS", "--model", "a/b"),
            "for the hub its revision is None",
        ),
    ],
)
def test_what_does_not_fit_the_model_or_the_data_is_refused(edit, words, expected):
    assert expected in edit(*words, code=2)
    assert not edit.out.exists()
