"""Every architecture of the table, saved in the hub's layout and loaded again: edited, measured."""

import gc
import json
import weakref
from dataclasses import replace

import pytest
import torch
from tiny_models import ARCHITECTURES, random_deltas, random_patches, save_tiny_model
from transformers import AutoConfig, AutoModelForSequenceClassification

from mpn.backbones import Backbone
from mpn.backbones.architectures import ARCHITECTURES as TABLE
from mpn.editors.optimizer import OptimizerSettings
from mpn.editors.settings import MemorySettings, StopSettings, TransformerPatcherSettings
from mpn.editors.transformer_patcher import TransformerPatcher
from mpn.engines.opening import open_engine
from mpn.errors import MpnInputError
from mpn.pairing import PairingSettings
from mpn.queries import QueryCache
from mpn.streams.edit_streams import EditStreams
from mpn.workbench import Workbench

EDITOR = TransformerPatcherSettings(
    memory=MemorySettings(weight=0.001, size=20, held_out_share=0.0),
    optimizer=OptimizerSettings(lr=0.2, weight_decay=0.0, max_steps=40, plateau=None),
    stop=StopSettings(when="never"),
    value_init="zero",
    dropout=None,
)
PAIRING = PairingSettings(languages=1)


@pytest.fixture(scope="module", params=ARCHITECTURES)
def any_backbone(request, tokenizer, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    return Backbone(save_tiny_model(request.param, folder, tokenizer), dtype=torch.float64)


def test_the_table_is_tested_whole():
    assert {name.removesuffix("-mean") for name in ARCHITECTURES} == set(TABLE)


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_cached_logits_are_the_full_models(any_backbone, layer, texts, tmp_path):
    any_backbone.verify_split(texts, layer)
    patches = random_patches(2, 2, 16)
    for positions in ("all", "cls"):
        fast, slow = (
            engine.logits(engine.load(texts), patches)
            for engine in (
                open_engine(
                    name,
                    any_backbone,
                    layer=layer,
                    positions=positions,
                    cache=QueryCache(tmp_path),
                )
                for name in ("cached", "full")
            )
        )
        torch.testing.assert_close(fast, slow, atol=1e-10, rtol=0)
        assert (fast - any_backbone.logits(texts)).abs().max() > 0.01  # else nothing was tested


@pytest.mark.parametrize("layer", [0, 2])
def test_cached_logits_with_changed_weights_are_the_full_models(
    any_backbone, layer, texts, tmp_path
):
    deltas = random_deltas(any_backbone, layer)
    fast, slow = (
        engine.logits(engine.absorb(engine.load(texts), deltas), deltas)
        for engine in (
            open_engine(name, any_backbone, layer=layer, changes="ffn", cache=QueryCache(tmp_path))
            for name in ("cached", "full")
        )
    )
    torch.testing.assert_close(fast, slow, atol=1e-10, rtol=0)
    assert (fast - any_backbone.logits(texts)).abs().max() > 0.01  # else nothing was tested


def test_an_edit_succeeds_and_is_measured_alike_by_both_engines(any_backbone, corpus, tmp_path):
    values = []
    for name in ("cached", "full"):
        bench = Workbench(
            any_backbone,
            replace(corpus, examples=corpus.examples[::12]),
            source_language="en",
            seed=0,
            evaluation_examples=3,
            evaluation_sample=3,
            neighbours=0,
            cache=QueryCache(tmp_path),
        )
        engine = bench.engine("last", "all", name)
        block = EditStreams(
            engine,
            TransformerPatcher(EDITOR, PAIRING),
            bench.memory(engine, EDITOR.remembers),
            [bench.stream_data(engine, 0, 2, PAIRING, seed=0)],
            seed=0,
        )
        steps = list(block.run("single", batch_size=2))
        values.append([value for step in steps for value in step.values[0]])
    assert values[0] == values[1]
    assert [v.value for v in values[0] if v.metric == "reliability"] == [1.0, 1.0]
    assert {v.language for v in values[0] if v.metric == "locality"} == set(corpus.languages)
    assert any_backbone.is_untouched()


@pytest.mark.parametrize("architecture", ["bert", "modernbert"])
def test_a_model_that_is_let_go_gives_its_memory_back_at_once(
    architecture, tokenizer, texts, tmp_path
):
    """A worker lets one model go before it loads the next; no cycle may keep it until later."""
    backbone = Backbone(save_tiny_model(architecture, tmp_path, tokenizer))
    backbone.verify_split(texts, 1)
    weights = weakref.ref(backbone.model.get_input_embeddings().weight)
    gc.collect()
    gc.disable()
    try:
        del backbone
        assert weights() is None
    finally:
        gc.enable()


def test_an_architecture_that_is_not_in_the_table_is_refused(tmp_path, tokenizer):
    config = AutoConfig.for_model(
        "gpt2", n_embd=8, n_layer=1, n_head=1, vocab_size=len(tokenizer), num_labels=2
    )
    AutoModelForSequenceClassification.from_config(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(MpnInputError) as refused:
        Backbone(tmp_path)
    assert str(refused.value) == (
        f"{tmp_path}: architecture 'gpt2' cannot be edited; those that can are bert, deberta-v2, "
        "distilbert, electra, modernbert, roberta, xlm, xlm-roberta, xlm-roberta-xl"
    )


def test_a_model_whose_code_differs_from_its_layout_is_refused(tmp_path, tokenizer, texts):
    """DeBERTa's convolution stands beside the first layer, where no split can see it."""
    folder = save_tiny_model("deberta-v2", tmp_path, tokenizer, conv_kernel_size=3, conv_act="gelu")
    backbone = Backbone(folder, dtype=torch.float64)
    backbone.verify_split(texts, 1)  # above it, all is as it should be
    with pytest.raises(MpnInputError, match="layer 0: the split network differs from the whole"):
        backbone.verify_split(texts, 0)


def test_weights_that_are_no_safetensors_are_refused(tmp_path, tokenizer):
    folder = save_tiny_model("bert", tmp_path, tokenizer)
    state = {name: t.clone() for name, t in Backbone(folder).model.state_dict().items()}
    (folder / "model.safetensors").unlink()
    torch.save(state, folder / "pytorch_model.bin")
    with pytest.raises(MpnInputError, match="give a Hugging Face model directory"):
        Backbone(folder)


def test_code_that_comes_with_a_model_is_not_run(tmp_path, tokenizer):
    folder = save_tiny_model("bert", tmp_path, tokenizer)
    config = json.loads((folder / "config.json").read_text())
    own = {"AutoModelForSequenceClassification": "evil.Model", "AutoConfig": "evil.Config"}
    (folder / "config.json").write_text(
        json.dumps(config | {"auto_map": own, "model_type": "evil"})
    )
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Config: pass\n")
    with pytest.raises(MpnInputError, match="cannot be loaded"):
        Backbone(folder)
    assert not (tmp_path / "ran").exists()
