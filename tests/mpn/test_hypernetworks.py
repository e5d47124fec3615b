"""MEND and LiME: gates, factors, the change before any training, and losses, by hand."""

import math

import pytest
import torch
from torch.nn.functional import cross_entropy

from mpn.editors.hypernetworks.factors import WEIGHTS, edit_factors, leading_pairs, only_pair
from mpn.editors.hypernetworks.gates import expected_open, sampled_gates, settled_gates
from mpn.editors.hypernetworks.lessons import Lessons
from mpn.editors.hypernetworks.network import Hypernetwork
from mpn.editors.hypernetworks.settings import (
    HypernetworkTraining,
    LimeSettings,
    MendSettings,
)
from mpn.editors.hypernetworks.texts import TrainingTexts
from mpn.editors.hypernetworks.training import TrainingState, train
from mpn.editors.opening import open_editor
from mpn.editors.optimizer import OptimizerSettings
from mpn.editors.protocol import EditBatch, EditSeed
from mpn.edits import ParallelExample
from mpn.engines.opening import open_engine
from mpn.errors import MpnInputError
from mpn.memory import MemoryBank
from mpn.pairing import PairingSettings
from mpn.queries import QueryCache
from mpn.seeding import torch_generator

STEP = 0.3
SHORT = OptimizerSettings(lr=0.01, weight_decay=0.0, max_steps=5, plateau=None)
QUICK = {"step": STEP, "hidden": 4}


@pytest.fixture
def engine(backbone, tmp_path):
    return open_engine("cached", backbone, layer=2, changes="ffn", cache=QueryCache(tmp_path))


@pytest.fixture
def middle(backbone, tmp_path):
    return open_engine("cached", backbone, layer=1, changes="ffn", cache=QueryCache(tmp_path))


def training(**options):
    return HypernetworkTraining(optimizer=SHORT, edits=2, others=3, **options)


def examples(texts, n=6):
    """Parallel examples in two languages, with one rephrase each, two of a group."""
    return [
        ParallelExample(
            f"e{i}",
            f"g{i // 2}",
            0,
            {"en": texts[2 * i], "fr": texts[2 * i + 1]},
            {"en": ((f"said otherwise {i}",),)},
        )
        for i in range(n)
    ]


def lessons(engine, texts, settings):
    return Lessons(engine, examples(texts), ["en", "fr"], [0, 1], settings)


def full_gradients(backbone, texts, layer, label=1):
    """Return the gradients of the plain model's mean cross-entropy by the weight's own name."""
    names = {local: name for name, local in backbone.ffn_parameters(layer).items()}
    weights = {local: backbone.model.get_parameter(names[local]) for local in WEIGHTS}
    for weight in weights.values():
        weight.requires_grad_()
    try:
        logits = backbone.model(**backbone.tokenize(texts)).logits
        loss = cross_entropy(logits, torch.full((len(texts),), label))
        found = torch.autograd.grad(loss, list(weights.values()))
    finally:
        for weight in weights.values():
            weight.requires_grad_(False)
    return dict(zip(WEIGHTS, found, strict=True))


class TestGates:
    def test_without_noise_a_gate_is_stretched_and_cut(self):
        half, shut, open_ = settled_gates(torch.tensor([0.0, -5.0, 5.0])).tolist()
        assert half == pytest.approx(0.5 * 1.2 - 0.1)
        assert (shut, open_) == (0.0, 1.0)
        one = 1 / (1 + math.exp(-1.0))
        assert settled_gates(torch.tensor(1.0)).item() == pytest.approx(one * 1.2 - 0.1)

    def test_the_expected_count_is_the_chance_that_a_drawn_gate_is_not_zero(self):
        logit = 0.4
        by_hand = 1 / (1 + math.exp(-(logit - 2 / 3 * math.log(0.1 / 1.1))))
        assert expected_open(torch.tensor(logit)).item() == pytest.approx(by_hand)
        uniform = torch.rand(200_000, generator=torch_generator("gates"))
        drawn = sampled_gates(torch.full_like(uniform, logit), uniform)
        assert (drawn > 0).double().mean().item() == pytest.approx(by_hand, abs=0.003)

    def test_a_drawn_gate_by_hand(self):
        # u = 0.5 is no noise: sigmoid(0.4 / (2/3)) stretched
        one = 1 / (1 + math.exp(-0.6)) * 1.2 - 0.1
        assert sampled_gates(torch.tensor(0.4), torch.tensor(0.5)).item() == pytest.approx(one)


class TestFactors:
    def test_a_matrix_of_rank_one_is_one_pair_of_equal_lengths(self):
        gradient = torch.outer(torch.tensor([2.0, 0.0, -1.0]), torch.tensor([3.0, 4.0]))[None]
        pair = only_pair(gradient)
        torch.testing.assert_close(pair.outputs.mT @ pair.inputs, gradient)
        assert pair.inputs.norm().item() == pytest.approx((5 * 5**0.5) ** 0.5)
        assert pair.outputs.norm().item() == pytest.approx((5 * 5**0.5) ** 0.5)
        nothing = only_pair(torch.zeros(1, 3, 2))
        assert not nothing.inputs.any() and not nothing.outputs.any()

    @pytest.mark.parametrize("shape", [(5, 3), (3, 5)])
    def test_leading_pairs_are_the_best_approximation(self, shape):
        gradient = torch.randn(2, *shape, generator=torch_generator("any")).double()
        pairs = leading_pairs(gradient, 2)
        left = torch.linalg.matrix_norm(gradient - pairs.outputs.mT @ pairs.inputs)
        torch.testing.assert_close(left, torch.linalg.svdvals(gradient)[:, 2])
        whole = leading_pairs(gradient, 9)
        torch.testing.assert_close(whole.outputs.mT @ whole.inputs, gradient)

    def test_factors_are_the_full_models_gradient_of_each_text(
        self, backbone, engine, middle, texts
    ):
        for site, rank in ((engine, 1), (middle, 16)):
            rows, n = site.load(texts[:2]), torch.arange(2)
            found = edit_factors(site, rows, n, n * 0, torch.tensor([1, 1]), rank)
            for i in range(2):
                gradients = full_gradients(backbone, texts[i : i + 1], site.layer)
                for weight, own in found.items():
                    product = own.outputs[i].mT @ own.inputs[i]
                    torch.testing.assert_close(product, gradients[weight], atol=1e-10, rtol=1e-7)


class TestNetwork:
    @pytest.mark.parametrize("settings", [MendSettings(**QUICK), LimeSettings(**QUICK)])
    @pytest.mark.parametrize("layer", [1, 2])
    def test_before_training_an_edit_is_minus_step_times_the_plain_gradient(
        self, backbone, engine, middle, texts, settings, layer
    ):
        site = {1: middle, 2: engine}[layer]
        settings = settings.model_copy(update={"layer": layer, "rank": 16})
        network = lessons(site, texts, settings).untrained()
        batch = EditBatch(
            site.load(texts[:3]),
            torch.arange(3)[None],
            torch.tensor([1]),
            [EditSeed(0, 0, 0)],
            languages=("en", "fr", "xx"),
        )
        editor = open_editor(settings, PairingSettings(languages="all"), network)
        change = editor.edit(site, batch, MemoryBank.none(16)).change
        gradients = full_gradients(backbone, texts[:3], layer)  # of the mean over three
        n_wrong = max(1, int((backbone.logits(texts[:3]).argmax(-1) != 1).sum()))
        names = backbone.ffn_parameters(layer)
        assert {names[name] for name in change.deltas} == set(WEIGHTS)
        for name, delta in change.deltas.items():
            torch.testing.assert_close(
                delta[0], -STEP * 3 / n_wrong * gradients[names[name]], atol=1e-9, rtol=1e-6
            )

    def test_one_weight_by_hand(self):
        network = Hypernetwork(
            {
                "up.weight/scales": torch.tensor([2.0, 1.0]),
                "up.weight/read": torch.tensor([[1.0, -1.0]]),
                "up.weight/write": torch.tensor([[0.5], [0.0]]),
                "up.weight/log_steps": torch.tensor([-9.0, math.log(3.0) / 10]),
                "up.weight/gates": torch.tensor([[0.5, -0.5]]) * 0,
                "up.weight/gains": torch.tensor([[0.4, 0.0]]),
            },
            ("fr",),
        )
        from mpn.editors.hypernetworks.factors import Factors

        pair = Factors(torch.tensor([[[[4.0]]]]), torch.tensor([[[[0.5]]]]))
        for language, mask in (("fr", 1 + 0.5 * 0.4), ("en", 1.0)):
            numbers = torch.tensor([network.numbers([language])])
            u, delta = 4.0 / 2.0 * mask, 0.5
            u = u + 0.5 * math.tanh(u - delta)
            update = network.updates({"up.weight": pair}, numbers, torch.tensor([2]))["up.weight"]
            assert update.shape == (1, 1, 1)
            assert update.item() == pytest.approx(-3.0 / 2 * 0.5 * 2.0 * u, rel=1e-6)

    def test_the_sign_of_a_pair_does_not_matter(self, engine, texts):
        settings = MendSettings(**QUICK, training=training())
        *_, last = train(lessons(engine, texts, settings))
        rows, n = engine.load(texts[:2]), torch.arange(2)
        found = edit_factors(engine, rows, n, n * 0, torch.tensor([1, 1]), 1)
        turned = {w: type(own)(-own.inputs, -own.outputs) for w, own in found.items()}
        one, other = (
            last.network.updates(
                {w: f.reshape(2, 1, -1) for w, f in own.items()}, n[:, None] * 0, n * 0 + 1
            )
            for own in (found, turned)
        )
        for weight, update in one.items():
            torch.testing.assert_close(update, other[weight])
            assert last.network.tensors[f"{weight}/write"].any()


class TestLosses:
    def test_the_first_losses_by_hand(self, backbone, engine, texts):
        """Cross-entropy and divergence of the full model after a step on the plain gradient."""
        settings = LimeSettings(**QUICK, training=training(languages="all", rephrases=False))
        school = lessons(engine, texts, settings)
        network = school.untrained()
        losses = school.losses(network, 1)
        drawn = TrainingTexts(examples(texts), ["en", "fr"], settings).draw(1)
        known = TrainingTexts(examples(texts), ["en", "fr"], settings).texts
        names = {local: name for name, local in backbone.ffn_parameters(2).items()}
        edit = locality = 0.0
        for i in range(2):
            inner = known[drawn.inner[i, 0]]
            wanted = 1 - int(backbone.logits([inner]).argmax())  # of two labels, the other
            before = backbone.logits([known[j] for j in drawn.others[i]]).log_softmax(-1)
            gradients = full_gradients(backbone, [inner], 2, wanted)
            with torch.no_grad():
                for weight in WEIGHTS:
                    backbone.model.get_parameter(names[weight]).sub_(STEP * gradients[weight])
                outer = backbone.logits([known[j] for j in drawn.outer[i]]).log_softmax(-1)
                after = backbone.logits([known[j] for j in drawn.others[i]]).log_softmax(-1)
                for weight in WEIGHTS:
                    backbone.model.get_parameter(names[weight]).add_(STEP * gradients[weight])
            edit += -float(outer[:, wanted].mean()) / 2
            locality += float((before.exp() * (before - after)).sum(-1).mean()) / 2
        assert losses.edit.item() == pytest.approx(edit, abs=1e-9)
        assert losses.locality.item() == pytest.approx(locality, abs=1e-9)
        gate = 1 / (1 + math.exp(2 / 3 * math.log(0.1 / 1.1)))
        assert losses.gates.item() == pytest.approx(gate, abs=1e-6)

    def test_losses_fall(self, engine, texts):
        adam = SHORT.model_copy(update={"max_steps": 60})
        settings = MendSettings(**QUICK, training=training().model_copy(update={"optimizer": adam}))
        school = lessons(engine, texts, settings)
        *_, last = train(school)
        before, after = (
            sum(
                (0.1 * terms.edit + terms.locality).item()
                for terms in (school.losses(network, step) for step in range(100, 130))
            )
            for network in (school.untrained(), last.finished().network)
        )
        assert after < 0.9 * before


class TestTexts:
    def test_what_is_drawn_keeps_the_rules(self, texts):
        settings = LimeSettings(training=training(languages="all", paired=1))
        rows = examples(texts)
        drawn_from = TrainingTexts(rows, ["en", "fr"], settings)
        group = {text: e.group for e in rows for text in e.texts.values()}
        group |= {e.rephrases["en"][0]: e.group for e in rows}
        language = {text: name for e in rows for name, text in e.texts.items()}
        counts = set()
        for step in range(50):
            drawn = drawn_from.draw(step)
            counts.add(drawn.inner.shape[1])
            for i in range(2):
                inner = [drawn_from.texts[j] for j in drawn.inner[i]]
                *same, other = (drawn_from.texts[j] for j in drawn.outer[i])
                assert same == inner
                same = inner[0]
                assert group[other] == group[same]
                assert language.get(other, "en") != language[same]  # rephrases are English
                assert [language[text] for text in inner] == [
                    ["en", "fr"][k] for k in drawn.languages[i]
                ]
                assert all(group[drawn_from.texts[j]] != group[same] for j in drawn.others[i])
        assert counts == {1, 2}

    def test_mend_stays_in_the_source_language(self, texts):
        drawn_from = TrainingTexts(examples(texts), ["en", "fr"], MendSettings(training=training()))
        french = {e.texts["fr"] for e in examples(texts)}
        for step in range(20):
            drawn = drawn_from.draw(step)
            for part in (drawn.inner, drawn.outer, drawn.others):
                assert not {drawn_from.texts[j] for j in part.flatten()} & french

    def test_what_cannot_be_trained_on_is_said(self, texts):
        with pytest.raises(MpnInputError, match="xx; the corpus has en fr"):
            TrainingTexts(
                examples(texts), ["en", "fr"], MendSettings(training=training(languages=["xx"]))
            )
        with pytest.raises(MpnInputError, match="at least two"):
            TrainingTexts(examples(texts, 2), ["en", "fr"], MendSettings())


class TestTraining:
    @pytest.mark.parametrize("kind", [MendSettings, LimeSettings])
    def test_it_goes_on_from_any_step_to_the_same_bits(self, engine, texts, kind):
        school = lessons(engine, texts, kind(**QUICK, training=training(paired=1)))
        states = [state.to_bytes() for state in train(school)]
        assert len(states) == SHORT.max_steps + 1
        for step in (0, 2, 4):
            assert [s.to_bytes() for s in train(school, states[step])] == states[step:]
        assert TrainingState.from_bytes(states[3]).to_bytes() == states[3]

    def test_a_loss_that_is_no_number_ends_it(self, engine, texts):
        school = lessons(
            engine, texts, MendSettings(**QUICK | {"step": 1e300}, training=training())
        )
        with pytest.raises(MpnInputError, match="no number at step 1; lower it"):
            list(train(school))
