"""A corpus meets a model: labels by name, mistakes or counterfactuals, texts as written."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from mpn.backbones import Backbone
from mpn.data.scratch_model import ensure_scratch_model
from mpn.data.sources import DatasetSettings, load_corpus
from mpn.editors.optimizer import OptimizerSettings
from mpn.editors.settings import MemorySettings, StopSettings, TransformerPatcherSettings
from mpn.editors.transformer_patcher import TransformerPatcher
from mpn.errors import MpnInputError
from mpn.pairing import PairingSettings
from mpn.queries import QueryCache
from mpn.streams.edit_streams import EditStreams
from mpn.workbench import Workbench
from orchestrator.ledger import Ledger
from orchestrator.objective import Record

BIDI = "\u2067قال رقم {}: \u202bأنا هنا\u202c\u2069\u200f!\u200e"
LABELS = ("SUPPORTS", "not_enough_info")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Forty claims in Arabic, with all marks of direction, and in English; ids are Arabic too."""
    folder = tmp_path_factory.mktemp("claims")
    rows = [
        {
            "id": f"\u200fمثال-{i}",
            "language": language,
            "label": LABELS[i % 2],
            "text": BIDI.format(i) if language == "ar" else f"He said {i}: here I am.",
        }
        for i in range(40)
        for language in ("ar", "en")
    ]
    path = folder / "claims.jsonl"
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows))
    settings = DatasetSettings(name="files", path=str(path), languages=["ar", "en"])
    return load_corpus(settings, folder / "cache")


@pytest.fixture(scope="module")
def directory(corpus, tmp_path_factory):
    """A model of three labels, in another order and spelling than the corpus's two."""
    made = ensure_scratch_model(tmp_path_factory.mktemp("model") / "two", corpus)
    config = json.loads((made / "config.json").read_text())
    names = ["refutes", "NOT ENOUGH INFO", "supports"]
    config["id2label"] = dict(enumerate(names))
    config["label2id"] = {name: i for i, name in enumerate(names)}
    (made / "config.json").write_text(json.dumps(config))
    weights = load_file(made / "model.safetensors")
    for name in ("classifier.weight", "classifier.bias"):
        two = weights[name]
        weights[name] = torch.cat([two, -two[:1]])
    save_file(weights, made / "model.safetensors", metadata={"format": "pt"})
    return made


def bench_of(directory, corpus, cache, **options):
    return Workbench(
        Backbone(directory),
        corpus,
        source_language="ar",
        seed=0,
        neighbours=0,
        cache=QueryCache(cache),
        **options,
    )


def test_labels_meet_by_name_whatever_their_case_and_the_corpus_may_have_fewer(
    directory, corpus, tmp_path
):
    bench = bench_of(directory, corpus, tmp_path)
    parts = (bench.roles.edit, bench.roles.memory, bench.roles.evaluation)
    numbers = {e.example_id: e.label for part in parts for e in part}
    names = {e.example_id: corpus.labels[e.label] for e in corpus.examples}
    assert {names[i]: numbers[i] for i in names} == {"SUPPORTS": 2, "not_enough_info": 1}


def test_a_label_that_the_model_lacks_is_named_with_what_to_write(directory, corpus, tmp_path):
    other = corpus.relabelled(("SUPPORTS", "Disputed"), [1, 0])
    with pytest.raises(
        MpnInputError,
        match=r"refutes, NOT ENOUGH INFO, supports, those of files SUPPORTS, Disputed; .*"
        r"backbone\.labels: \[SUPPORTS, Disputed\]",
    ):
        bench_of(directory, other, tmp_path)


def test_counterfactual_edits_ask_for_a_label_of_the_corpus_that_the_model_does_not_give(
    directory, corpus, tmp_path
):
    bench = bench_of(directory, corpus, tmp_path, edits="counterfactual")
    assert len(bench.edits) == len(bench.roles.edit) == 24  # 60 % of 40
    logits = bench.backbone.logits([edit.request("ar").text for edit in bench.edits])
    wanted = torch.tensor([edit.label for edit in bench.edits])
    assert (logits.argmax(-1) != wanted).all()
    assert set(wanted.tolist()) <= {1, 2}
    with pytest.raises(MpnInputError, match="needs 25 examples to edit, the data has 24"):
        bench.stream_data(bench.engine("last", "all", "cached"), 0, 25, PairingSettings(), seed=0)


def test_right_to_left_text_comes_through_unchanged_to_the_tokenizer_and_the_records(
    directory, corpus, tmp_path
):
    bench = bench_of(directory, corpus, tmp_path / "queries", edits="counterfactual")
    engine = bench.engine("last", "all", "cached")
    data = bench.stream_data(engine, 0, 2, PairingSettings(), seed=0)
    number = {f"\u200fمثال-{i}": i for i in range(40)}
    originals = [BIDI.format(number[edit.edit_id]) for edit in data.edits]
    assert [edit.request("ar").text for edit in data.edits] == [(text,) for text in originals]
    given = AutoTokenizer.from_pretrained(directory)(originals, padding=True)["input_ids"]
    tokens = bench.backbone.tokenize([edit.request("ar").text for edit in data.edits])
    assert tokens["input_ids"].tolist() == given
    decoded = bench.backbone.tokenizer.decode(given[0], skip_special_tokens=True)
    assert decoded.startswith("قال رقم")  # in the order in which it is read, not as it is shown

    editor = TransformerPatcherSettings(
        memory=MemorySettings(size=10),
        optimizer=OptimizerSettings(max_steps=1),
        stop=StopSettings(when="never"),
        dropout=None,
    )
    patcher = TransformerPatcher(editor, PairingSettings())
    streams = EditStreams(engine, patcher, bench.memory(engine, editor.remembers), [data], seed=0)
    values = [v for step in streams.run("single", batch_size=2) for v in step.values[0]]
    records = tuple(
        Record(0, v.position, v.edit_id, v.metric, v.language, v.value, v.n, v.seen) for v in values
    )
    assert {r.item for r in records} >= {edit.edit_id for edit in data.edits}
    ledger = Ledger(str(tmp_path / "ledger"))
    ledger.complete("block", records, {}, {})
    assert ledger.records("block") == list(records)
