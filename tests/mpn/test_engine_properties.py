"""The fast engines equal the full model, whatever the shape, the site, the batch, the languages."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_models import ARCHITECTURES, random_patches, save_tiny_model

from mpn.backbones import Backbone
from mpn.editors.optimizer import OptimizerSettings
from mpn.editors.protocol import EditBatch, EditSeed
from mpn.editors.settings import (
    DropoutSettings,
    MemorySettings,
    StopSettings,
    TransformerPatcherSettings,
)
from mpn.editors.transformer_patcher import TransformerPatcher
from mpn.engines.opening import open_engine
from mpn.memory import MemoryBank
from mpn.pairing import PairingSettings
from mpn.queries import QueryCache

TOLERANCE = 1e-8


@dataclass(frozen=True)
class Case:
    """One way to patch one model."""

    architecture: str
    n_heads: int
    d_head: int
    d_ffn: int
    n_layers: int
    activation: str
    layer: int
    positions: str
    n_edits: int
    n_languages: int
    n_paired: int
    n_patch: int
    dropout: bool
    seed: int


@st.composite
def cases(draw):
    n_layers = draw(st.integers(1, 4))
    n_languages = draw(st.integers(1, 6))
    architecture = draw(st.sampled_from(ARCHITECTURES))
    d_head = draw(st.integers(2, 9))
    return Case(
        architecture,
        draw(st.integers(1, 3)),
        d_head + d_head % 2
        if architecture.startswith("modernbert")
        else d_head,  # it rotates pairs
        draw(st.integers(3, 40)),
        n_layers,
        draw(st.sampled_from(["gelu", "relu"])),
        draw(st.integers(0, n_layers - 1)),
        draw(st.sampled_from(["all", "cls"])),
        draw(st.integers(1, 5)),
        n_languages,
        draw(st.integers(0, n_languages - 1)),
        draw(st.integers(1, 3)),
        draw(st.booleans()),
        draw(st.integers(0, 9)),
    )


def engines_of(case, tokenizer, folder):
    directory = save_tiny_model(
        case.architecture,
        folder / "model",
        tokenizer,
        hidden_size=case.n_heads * case.d_head,
        num_attention_heads=case.n_heads,
        intermediate_size=case.d_ffn,
        num_hidden_layers=case.n_layers,
        hidden_act=case.activation,
    )
    backbone = Backbone(directory, dtype=torch.float64)
    cache = QueryCache(folder / "queries")
    return [
        open_engine(name, backbone, layer=case.layer, positions=case.positions, cache=cache)
        for name in ("cached", "full")
    ]


def rows_of(case, engine, corpus):
    """Each edit in its languages, all absorbed into models that were edited before."""
    languages = corpus.languages[: case.n_languages]
    examples = corpus.examples[case.seed : case.seed + case.n_edits]
    texts = [example.texts[language] for example in examples for language in languages]
    return engine.regroup(engine.load(texts), case.n_edits)


def trained(case, engine, rows, corpus, edits):
    editor = TransformerPatcher(
        TransformerPatcherSettings(
            memory=MemorySettings(weight=0.3, top_k=5),
            optimizer=OptimizerSettings(max_steps=4),
            stop=StopSettings(when="never"),
            patches_per_edit=case.n_patch,
            dropout=DropoutSettings(views=2) if case.dropout else None,
        ),
        PairingSettings(languages=case.n_paired),
    )
    memory = MemoryBank.of(
        engine.token_queries([e.texts["fr"] for e in corpus.examples[500:512]], "cls"),
        held_out_share=0.0,
    )
    columns = torch.arange(case.n_languages).expand(len(edits), -1)
    own = engine.take(rows, columns, torch.tensor(edits))
    batch = EditBatch(
        own, columns, torch.ones(len(edits)).long(), [EditSeed(0, 1, i) for i in edits]
    )
    return editor.edit(engine, batch, memory).change


def assert_same(one, other):
    torch.testing.assert_close(one, other, atol=TOLERANCE, rtol=TOLERANCE)


@settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(case=cases())
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::hypothesis.errors.HypothesisWarning")
def test_fast_is_full_and_together_is_alone(case, tokenizer, corpus):
    d_model = case.n_heads * case.d_head
    with tempfile.TemporaryDirectory() as folder:
        fast, full = engines_of(case, tokenizer, Path(folder))
        absorbed = random_patches(case.n_edits, 2, d_model, seed=case.seed)
        new = random_patches(case.n_edits, case.n_patch, d_model, seed=case.seed + 1)
        answers, patches = [], []
        for engine in (fast, full):
            fresh = rows_of(case, engine, corpus)
            edited = engine.absorb(fresh, absorbed)
            answers.append((engine.logits(fresh), engine.logits(edited, new)))
            assert torch.equal(engine.predictions(edited, new), answers[-1][1].argmax(-1))
            patches.append(trained(case, engine, edited, corpus, range(case.n_edits)))
        for one, other in zip(*answers, strict=True):
            assert_same(one, other)
        for one, other in zip(patches[0].tensors(), patches[1].tensors(), strict=True):
            assert_same(one, other)
        edited = fast.absorb(rows_of(case, fast, corpus), absorbed)
        for edit in range(case.n_edits):
            alone = trained(case, fast, edited, corpus, [edit])
            for one, other in zip(alone[0].tensors(), patches[0][edit].tensors(), strict=True):
                assert_same(one, other)
