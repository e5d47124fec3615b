"""Saved edits in models elsewhere, and as checkpoints that plain transformers loads."""

import pytest
import torch
from safetensors.torch import save_file
from tiny_models import ARCHITECTURES, random_patches, save_tiny_model
from transformers import AutoModelForSequenceClassification, AutoTokenizer

import mpn
from mpn.backbones import Backbone
from mpn.edited_models import SavedEdit, export_edited
from mpn.engines.full import attached
from mpn.errors import MpnInputError

LAYER = 1


@pytest.fixture(params=ARCHITECTURES)
def edited(request, tokenizer, texts, tmp_path):
    """A model's folder, an edit of it, inputs, and the logits that the oracle gives for them."""
    folder = save_tiny_model(request.param, tmp_path / "model", tokenizer)
    backbone = Backbone(folder)
    patches = random_patches(1, 2, 16, dtype=torch.float32)[0]
    edit = SavedEdit.of(backbone, LAYER, patches, {"label": "SUPPORTS"})
    with attached(backbone, LAYER, [patches]):
        expected = backbone.logits(texts)
    assert (expected - backbone.logits(texts)).abs().max() > 0.01  # else nothing is tested
    return folder, edit, backbone.tokenize(texts), expected


def test_a_loaded_edit_answers_as_the_oracle_and_leaves_the_model_alone(edited, tmp_path):
    folder, edit, inputs, expected = edited
    edit.save(tmp_path / "edit.safetensors")
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    before = model(**inputs).logits
    own = mpn.load_edited(model, tmp_path / "edit.safetensors")
    torch.testing.assert_close(own(**inputs).logits, expected, atol=1e-5, rtol=0)
    assert torch.equal(model(**inputs).logits, before)
    by_folder = mpn.load_edited(folder, str(tmp_path / "edit.safetensors"))
    torch.testing.assert_close(by_folder(**inputs).logits, expected, atol=1e-5, rtol=0)


def test_an_exported_model_is_loaded_by_transformers_alone(edited, tmp_path):
    folder, edit, inputs, expected = edited
    if edit.model_type == "xlm":
        with pytest.raises(MpnInputError, match=r"fixed width.*use mpn\.load_edited"):
            export_edited(folder, edit, tmp_path / "exported")
        assert not (tmp_path / "exported").exists()
        return
    export_edited(folder, edit, tmp_path / "exported")
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "exported")
    torch.testing.assert_close(model.eval()(**inputs).logits, expected, atol=1e-5, rtol=0)
    assert AutoTokenizer.from_pretrained(tmp_path / "exported").cls_token == "[CLS]"
    again = Backbone(tmp_path / "exported")  # an edited model is a base model like any other
    again.verify_split([("one text",), ("another, longer text",)], LAYER)


@pytest.fixture
def tiny(tokenizer, tmp_path):
    backbone = Backbone(save_tiny_model("bert", tmp_path / "model", tokenizer))
    patches = random_patches(2, 1, 16, dtype=torch.float32)
    for i in range(2):
        SavedEdit.of(backbone, i, patches[i], {}).save(tmp_path / f"{i}.safetensors")
    return backbone, patches


def test_several_edits_join_one_model(tiny, texts, tmp_path):
    backbone, patches = tiny
    model = mpn.load_edited(backbone.model, *(tmp_path / f"{i}.safetensors" for i in range(2)))
    with attached(backbone, 0, [patches[0]]), attached(backbone, 1, [patches[1]]):
        expected = backbone.logits(texts)
    found = model(**backbone.tokenize(texts)).logits
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_what_is_saved_is_read(tiny, tmp_path):
    backbone, patches = tiny
    edit = SavedEdit.of(backbone, 2, patches[0], {"text": "Анна родилась"})
    edit.save(tmp_path / "edit.safetensors")
    read = SavedEdit.read(tmp_path / "edit.safetensors")
    assert (read.layer, read.model_type, read.about) == (2, "bert", {"text": "Анна родилась"})
    assert all(map(torch.equal, read.patches.tensors(), edit.patches.tensors()))


def test_an_edit_belongs_to_the_weights_it_was_made_on(tiny, tokenizer, tmp_path):
    backbone, _ = tiny
    patch = tmp_path / "0.safetensors"
    other = save_tiny_model("roberta", tmp_path / "other", tokenizer)
    with pytest.raises(MpnInputError, match="made at layer 0 of a bert model; this is a roberta"):
        mpn.load_edited(other, patch)
    mpn.load_edited(backbone.model.double(), patch)  # the same numbers
    with pytest.raises(MpnInputError, match="made on a model with other weights at layer 0"):
        mpn.load_edited(backbone.model.half(), patch)


def test_a_file_that_is_no_edit_is_refused(tiny, tmp_path):
    backbone, _ = tiny
    save_file({"keys": torch.zeros(1)}, tmp_path / "other.safetensors")
    (tmp_path / "text.safetensors").write_text("no tensors")
    for name in ("other", "text", "missing"):
        with pytest.raises(MpnInputError, match="give a file that mpn edit has saved"):
            mpn.load_edited(backbone.model, tmp_path / f"{name}.safetensors")


def test_an_export_does_not_write_over_anything(tiny, tmp_path):
    edit = SavedEdit.read(tmp_path / "0.safetensors")
    with pytest.raises(MpnInputError, match="exists already"):
        export_edited(tmp_path / "model", edit, tmp_path / "model")
