"""Contrastive alignment and supervised training, on a model of a few hundred weights."""

import math
from dataclasses import replace
from itertools import islice, pairwise

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from tokenizers.processors import TemplateProcessing
from transformers import (
    PreTrainedTokenizerFast,
    XLMRobertaConfig,
    XLMRobertaForSequenceClassification,
)

from mpn.errors import MpnInputError, ShapeError
from mpn.seeding import torch_generator
from mpn.training import (
    AlignmentSettings,
    TrainingSettings,
    align_parallel_texts,
    contrastive_loss,
    length_bucketed_batches,
    train_classifier,
)

WORDS = ("<s>", "<pad>", "</s>", "<unk>", "one", "two", "three", "un", "deux", "trois", "very")
MEANINGS = [
    {"en": [("one",), ("very one",)], "fr": [("un",)]},
    {"en": [("two",), ("very two",)], "fr": [("deux",)]},
    {"en": [("three",), ("very three",)], "fr": [("trois",)]},
]
TEXTS = [("one",), ("very one",), ("two",), ("very very two",), ("three",)]
LABELS = [0, 0, 1, 1, 0]
SUPERVISED = TrainingSettings(n_steps=60, batch_size=5, learning_rate=0.01, n_warmup_steps=3)
ALIGNMENT = AlignmentSettings(n_steps=30, batch_size=3, learning_rate=0.01, n_warmup_steps=3)


@pytest.fixture(autouse=True)
def one_thread():
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


@pytest.fixture
def tokenizer():
    backend = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="<pad>",
        model_max_length=16,
        model_input_names=["input_ids", "attention_mask"],
    )


@pytest.fixture
def model():
    config = XLMRobertaConfig(
        vocab_size=len(WORDS),
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
        max_position_embeddings=18,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        num_labels=2,
        pad_token_id=1,
    )
    model = XLMRobertaForSequenceClassification(config)
    generator = torch_generator("test", "weights")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.normal_(std=0.3, generator=generator).add_("LayerNorm.weight" in name)
    return model


def supervise(model, tokenizer, settings=SUPERVISED, seed=0, **changes):
    given = {"texts": TEXTS, "labels": LABELS} | changes
    return train_classifier(
        model, tokenizer, **given, settings=settings, generator=torch_generator(seed)
    )


def align(model, tokenizer, meanings=MEANINGS, settings=ALIGNMENT, seed=0, progress=None):
    return align_parallel_texts(
        model, tokenizer, meanings, settings, torch_generator(seed), progress
    )


# views whose mean is zero: their directions are (1, 0), (0, 1) and (1, 0), (-3, -1) / sqrt(10)
FIRST = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
SECOND = torch.tensor([[1.0, 0.0], [-3.0, -1.0]])


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_contrastive_loss_matches_hand_computation(temperature):
    same, other = 1 / temperature, -3 / math.sqrt(10) / temperature  # of FIRST[0]
    other_too, same_too = 0.0, -1 / math.sqrt(10) / temperature  # of FIRST[1]
    forwards = math.log1p(math.exp(other - same)) + math.log1p(math.exp(other_too - same_too))
    backwards = math.log1p(math.exp(other_too - same)) + math.log1p(math.exp(other - same_too))
    loss = contrastive_loss(FIRST, SECOND, temperature=temperature)
    assert loss.item() == pytest.approx((forwards / 2 + backwards / 2) / 2)


def test_contrastive_loss_ignores_what_all_states_share():
    common = torch.tensor([[7.0, -5.0]])
    moved = contrastive_loss(FIRST + common, SECOND + common, temperature=0.1)
    assert moved.item() == pytest.approx(contrastive_loss(FIRST, SECOND, temperature=0.1).item())


@pytest.mark.parametrize("second", [torch.zeros(3, 2), torch.zeros(2, 3), torch.zeros(2)])
def test_contrastive_loss_refuses_views_of_different_shape(second):
    with pytest.raises(ShapeError, match=r"must be \[n, d_model\]"):
        contrastive_loss(FIRST, second, temperature=0.1)


@pytest.mark.parametrize("temperature", [0.0, -1.0])
def test_contrastive_loss_refuses_a_temperature_that_is_not_positive(temperature):
    with pytest.raises(ValueError, match="must be positive"):
        contrastive_loss(FIRST, SECOND, temperature=temperature)


def test_the_learning_rate_rises_then_falls_and_is_never_zero():
    settings = TrainingSettings(n_steps=8, n_warmup_steps=3)
    factors = [settings.learning_rate_factor(step) for step in range(8)]
    assert factors == pytest.approx([1 / 4, 2 / 4, 3 / 4, 1, 4 / 5, 3 / 5, 2 / 5, 1 / 5])


def test_the_learning_rate_is_defined_where_warm_up_outlasts_training():
    settings = TrainingSettings(n_steps=2, n_warmup_steps=60)
    assert settings.learning_rate_factor(1) == pytest.approx(2 / 61)


def test_every_row_is_in_one_batch_per_epoch():
    lengths = torch.arange(50) % 7
    batches = length_bucketed_batches(lengths, 8, torch_generator("batches"))
    for _ in range(2):
        epoch = list(islice(batches, 7))  # 6 of 8 rows, 1 of 2
        assert sorted(torch.cat(epoch).tolist()) == list(range(50))
        assert max(len(batch) for batch in epoch) == 8


def test_batches_hold_texts_of_similar_length():
    lengths = torch.arange(64) % 16  # one pool of 8 batches: two lengths fill a batch
    batches = length_bucketed_batches(lengths, 8, torch_generator("batches"))
    epoch = [lengths[batch] for batch in islice(batches, 8)]
    assert max(int(batch.max() - batch.min()) for batch in epoch) == 1


def test_epochs_differ_in_order():
    lengths = torch.ones(8, dtype=torch.int64)
    batches = length_bucketed_batches(lengths, 8, torch_generator("batches"))
    assert next(batches).tolist() != next(batches).tolist()


def test_supervision_learns_the_labels(model, tokenizer):
    losses = supervise(model, tokenizer)
    assert len(losses) == 60
    assert sum(losses[-5:]) < sum(losses[:5]) / 4
    inputs = tokenizer([text for (text,) in TEXTS], padding=True, return_tensors="pt")
    assert model(**inputs).logits.argmax(dim=1).tolist() == LABELS
    assert not model.training


def test_alignment_brings_parallel_texts_together(model, tokenizer):
    def nearest_french():
        inputs = tokenizer(["one", "two", "three", "un", "deux", "trois"], return_tensors="pt")
        with torch.no_grad():
            states = model.base_model(**inputs).last_hidden_state[:, 0]
        directions = torch.nn.functional.normalize(states - states.mean(dim=0), dim=1)
        return (directions[:3] @ directions[3:].T).argmax(dim=1).tolist()

    assert nearest_french() != [0, 1, 2]
    losses = align(model, tokenizer)
    assert sum(losses[-5:]) < sum(losses[:5]) / 4
    assert nearest_french() == [0, 1, 2]


def test_alignment_leaves_the_head_alone(model, tokenizer):
    before = [parameter.clone() for parameter in model.classifier.parameters()]
    align(model, tokenizer)
    for old, new in zip(before, model.classifier.parameters(), strict=True):
        assert torch.equal(old, new)


@pytest.mark.parametrize("train", [supervise, align])
def test_training_is_decided_by_its_generator(train, model, tokenizer):
    start = {name: value.clone() for name, value in model.state_dict().items()}
    runs = []
    for seed in (0, 0, 1):
        model.load_state_dict(start)
        runs.append(train(model, tokenizer, seed=seed))
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


@pytest.mark.parametrize("train", [supervise, align])
def test_the_global_generator_is_left_alone(train, model, tokenizer):
    before = torch.get_rng_state()
    train(model, tokenizer)
    assert torch.equal(torch.get_rng_state(), before)


def test_weight_decay_shrinks_matrices_only(model, tokenizer):
    def after_one_step(weight_decay):
        model.load_state_dict(start)
        settings = replace(SUPERVISED, n_steps=1, n_warmup_steps=0, weight_decay=weight_decay)
        supervise(model, tokenizer, settings)
        return {name: value.clone() for name, value in model.state_dict().items()}

    start = {name: value.clone() for name, value in model.state_dict().items()}
    plain, decayed = after_one_step(0.0), after_one_step(0.5)
    for name, value in start.items():
        decay = 0.01 * 0.5 if value.dim() > 1 else 0.0
        assert torch.allclose(decayed[name], plain[name] - decay * value, atol=1e-6), name


def test_every_step_is_as_long_as_its_learning_rate(model, tokenizer):
    # Adam moves a weight whose gradient stays the same by the learning rate, others by less
    def weights():
        return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])

    trail = [weights()]
    settings = replace(SUPERVISED, n_steps=8, learning_rate=1e-3, weight_decay=0.0)
    train_classifier(
        model,
        tokenizer,
        TEXTS,
        LABELS,
        settings,
        torch_generator(0),
        progress=lambda *_: trail.append(weights()),
    )
    longest = [float((after - before).abs().max()) for before, after in pairwise(trail)]
    expected = [1e-3 * settings.learning_rate_factor(step) for step in range(8)]
    assert longest == pytest.approx(expected, rel=0.05)


def test_progress_is_told_every_step(model, tokenizer):
    told = []
    settings = replace(ALIGNMENT, n_steps=3)
    align(
        model, tokenizer, settings=settings, progress=lambda done, total: told.append((done, total))
    )
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_text_pairs_are_classified_too(model, tokenizer):
    texts = [("one", "un"), ("one", "deux"), ("two", "deux"), ("two", "un")]
    settings = replace(SUPERVISED, n_steps=2)
    assert len(supervise(model, tokenizer, settings, texts=texts, labels=[1, 0, 1, 0])) == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"texts": []}, "0 texts with 5 labels"),
        ({"texts": [], "labels": []}, "at least one text"),
        ({"labels": [0]}, "5 texts with 1 labels"),
        ({"texts": [*TEXTS[:4], ("one", "two")]}, "all texts one segment"),
    ],
)
def test_supervision_refuses_texts_it_cannot_use(model, tokenizer, changes, message):
    with pytest.raises(MpnInputError, match=message):
        supervise(model, tokenizer, **changes)


@pytest.mark.parametrize("meanings", [MEANINGS[:1], [*MEANINGS, {"en": [("one",)]}]])
def test_alignment_refuses_what_has_nothing_to_contrast(model, tokenizer, meanings):
    with pytest.raises(MpnInputError, match="each in two languages"):
        align(model, tokenizer, meanings)


def test_left_padding_is_refused(model, tokenizer):
    tokenizer.padding_side = "left"
    with pytest.raises(MpnInputError, match="pads on the left"):
        supervise(model, tokenizer)
