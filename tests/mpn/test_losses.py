"""The three losses: hand computations, gradients, and the reference's own numbers."""

import json
import math
from pathlib import Path

import pytest
import torch

from mpn.editors.settings import MemorySettings
from mpn.editors.transformer_patcher import Neurons, starting_keys
from mpn.errors import ShapeError
from mpn.losses import activation_loss, divergence_loss, edit_loss, memory_loss
from mpn.memory import MemoryBank
from mpn.patches import Patches

GOLDEN = json.loads((Path(__file__).parent / "golden.json").read_text())
KINDS = {"exp": "exp", "margin": "margin", "expmargin": "exp_margin"}


def double(values):
    return torch.tensor(values, dtype=torch.float64)


def column(values):
    """Pre-activations of one neuron on several rows."""
    return double(values)[:, None]


def kind_of(name):
    """Read the reference's names: top5_exp is (exp, 5), margin is (margin, None)."""
    top_k, _, shape = name.rpartition("_") if name.startswith("top") else ("", "", name)
    return {"shape": KINDS[shape], "top_k": int(top_k[3:]) if top_k else None}


# -- the reference's numbers ----------------------------------------------------------------


@pytest.mark.parametrize(
    "case", GOLDEN["activation_loss"], ids=lambda c: f"{c['kind']}@{c['margin']}"
)
def test_activation_loss_reproduces_the_reference(case):
    loss = activation_loss(
        column(case["pre_activations"]), threshold=case["margin"], **kind_of(case["kind"])
    )
    assert loss.item() == pytest.approx(case["value"], abs=1e-10)


@pytest.mark.parametrize(
    "case", GOLDEN["memory_loss"], ids=lambda c: f"{c['kind']}x{c['edit_repeats']}"
)
def test_memory_loss_reproduces_the_reference(case):
    # the reference repeats its memory with its edit: so do we, to compare
    memory = column(case["memory_pre_activations"] * case["edit_repeats"])
    first, _, second = case["kind"].partition("+")
    assert first == second
    loss = memory_loss(
        memory,
        column([case["edit_pre_activation"]]),
        ceiling=case["ceiling"],
        gap=case["gap"],
        **kind_of(first),
    )
    assert loss.item() == pytest.approx(case["value"], abs=1e-10)


def test_gradients_reproduce_the_reference():
    case = GOLDEN["gradients"]
    query, memory = double(case["query"]), double(case["memory"])
    key = (query / query.square().sum()).requires_grad_()
    bias = double([0.0]).requires_grad_()
    on_edit = (query @ key + bias)[:, None]
    activation = activation_loss(on_edit)
    remembered = memory_loss((memory @ key + bias)[:, None], on_edit, top_k=1000)
    assert activation.item() == pytest.approx(case["activation_loss"], abs=1e-10)
    assert remembered.item() == pytest.approx(case["memory_loss"], abs=1e-10)
    (case["activation_weight"] * activation + case["memory_weight"] * remembered).backward()
    assert key.grad.tolist() == pytest.approx(case["grad_key"], abs=1e-10)
    assert bias.grad.item() == pytest.approx(case["grad_bias"], abs=1e-10)


def test_the_references_repeated_memory_can_be_switched_on():
    case = next(case for case in GOLDEN["memory_loss"] if case["edit_repeats"] == 8)
    memory = column(case["memory_pre_activations"])
    options = {"ceiling": case["ceiling"], "gap": case["gap"]}
    kind = kind_of(case["kind"].partition("+")[0])
    edit = column([case["edit_pre_activation"]] * 8)
    loss = memory_loss(memory, edit, repeated=True, **options, **kind)
    assert loss.item() == pytest.approx(case["value"], abs=1e-10)


@pytest.mark.parametrize("compat", [False, True])
def test_the_editors_own_memory_term_reproduces_the_references_gradients(compat):
    """Through the search for the loudest rows, as an edit computes it; one row, so both agree."""
    case = GOLDEN["gradients"]
    query, memory = double(case["query"]), double(case["memory"])
    key = starting_keys(query)[None, None].requires_grad_()
    bias = double([[0.0]]).requires_grad_()
    patches = Patches(key, bias, torch.zeros_like(key))
    own = patches.pre_activations(query[None, None])
    settings = MemorySettings(top_k=1000, reference_compat=compat)
    remembered = Neurons._memory_loss(MemoryBank(memory, memory[:0]), own, patches, settings)
    assert remembered.item() == pytest.approx(case["memory_loss"], abs=1e-10)
    losses = case["activation_weight"] * activation_loss(own) + settings.weight * remembered
    assert settings.weight == case["memory_weight"]
    losses.sum().backward()
    assert key.grad.flatten().tolist() == pytest.approx(case["grad_key"], abs=1e-10)
    assert bias.grad.item() == pytest.approx(case["grad_bias"], abs=1e-10)


def test_no_golden_number_is_left_out():
    assert set(GOLDEN) == {"note", "activation_loss", "memory_loss", "patched_ffn", "gradients"}
    assert len(GOLDEN["patched_ffn"]) == 1  # test_patches.py checks it
    repeats = {case["edit_repeats"] for case in GOLDEN["memory_loss"]}
    assert repeats == {1, 8}


# -- by hand ----------------------------------------------------------------------------------


def test_edit_loss_is_the_mean_cross_entropy_over_languages():
    logits = double([[[0.0, 0.0], [math.log(3), 0.0]]])  # P(label 0) = 1/2 and 3/4
    loss = edit_loss(logits, torch.tensor([0]))
    assert loss.tolist() == pytest.approx([(math.log(2) + math.log(4 / 3)) / 2])


def test_edit_loss_gradient_is_the_error_of_the_probability():
    logits = double([[[0.0, 0.0]]]).requires_grad_()
    edit_loss(logits, torch.tensor([1])).sum().backward()
    assert logits.grad.tolist() == [[[0.5, -0.5]]]


def test_edit_loss_refuses_labels_of_other_edits():
    with pytest.raises(ShapeError, match="edit_loss"):
        edit_loss(torch.zeros(2, 3, 2), torch.tensor([0]))


def test_activation_loss_averages_the_quietest_rows():
    loss = activation_loss(column([0.0, -1.0, -2.0]), top_k=2)
    assert loss.item() == pytest.approx((math.exp(1) + math.exp(2)) / 2)


def test_activation_loss_gradient_makes_quiet_neurons_fire():
    rows = column([1.0, -1.0]).requires_grad_()
    activation_loss(rows, top_k=1).backward()
    assert rows.grad.flatten().tolist() == pytest.approx([0.0, -math.exp(1)])


def test_memory_loss_matches_hand_computation():
    # pre-activations on memory are -5, -4 and -9; the edit's is 4; the two largest count
    above_ceiling = (math.exp(-5 + 3) + math.exp(-4 + 3)) / 2
    within_gap = (math.exp(-5 - 4 + 3) + math.exp(-4 - 4 + 3)) / 2
    loss = memory_loss(column([-5.0, -4.0, -9.0]), column([4.0]), top_k=2)
    assert loss.item() == pytest.approx(above_ceiling + within_gap)


def test_memory_loss_averages_the_gap_over_the_rows_of_the_edit():
    # one memory row at 0; edit rows at 3 and 4: gaps exp(0 - 3 + 3) and exp(0 - 4 + 3)
    loss = memory_loss(column([0.0]), column([3.0, 4.0]), top_k=1)
    assert loss.item() == pytest.approx(math.exp(3) + (1 + math.exp(-1)) / 2)


def test_memory_loss_averages_over_neurons():
    memory, edit = double([[-3.0, -4.0]]), double([[5.0, 5.0]])
    each = [memory_loss(memory[:, [i]], edit[:, [i]], top_k=1).item() for i in range(2)]
    assert memory_loss(memory, edit, top_k=1).item() == pytest.approx(sum(each) / 2)


def test_memory_loss_gradient_pushes_memory_down_and_the_edit_up():
    memory, edit = column([-5.0, -4.0]).requires_grad_(), column([4.0]).requires_grad_()
    memory_loss(memory, edit, top_k=1).backward()
    largest = math.exp(-4 + 3) + math.exp(-4 - 4 + 3)
    assert memory.grad.flatten().tolist() == pytest.approx([0.0, largest])
    assert edit.grad.item() == pytest.approx(-math.exp(-4 - 4 + 3))


def test_top_k_is_clipped_to_what_there_is():
    three = column([-1.0, -2.0, -3.0])
    assert memory_loss(three, column([1.0]), top_k=3) == memory_loss(three, column([1.0]), top_k=4)
    assert activation_loss(three, top_k=3) == activation_loss(three, top_k=None)


def test_margin_without_violations_costs_nothing():
    assert activation_loss(column([1.0, 2.0]), shape="margin", top_k=None).item() == 0


@pytest.mark.parametrize("loss", [activation_loss, lambda x, **k: memory_loss(x, x, **k)])
def test_top_k_below_one_is_refused(loss):
    with pytest.raises(ValueError, match="at least 1"):
        loss(column([1.0]), top_k=0)


def test_memory_loss_refuses_other_neurons_in_edit_and_memory():
    with pytest.raises(ShapeError, match="memory_loss"):
        memory_loss(torch.zeros(3, 2), torch.zeros(1, 1))


def test_edits_side_by_side_are_the_edits_alone():
    generator = torch.Generator().manual_seed(0)
    memory = torch.randn(4, 7, 2, generator=generator, dtype=torch.float64)
    edit = torch.randn(4, 3, 2, generator=generator, dtype=torch.float64)
    together = memory_loss(memory, edit, top_k=3)
    alone = [memory_loss(memory[i], edit[i], top_k=3).item() for i in range(4)]
    assert together.tolist() == pytest.approx(alone, abs=1e-12)
    together = activation_loss(edit, top_k=2)
    assert together.tolist() == pytest.approx([activation_loss(e, top_k=2).item() for e in edit])


def test_repeated_memory_takes_the_largest_of_all_pairs():
    # memory rows at 0 and -1, edit rows at 3 and 1: gaps 0, -1 and 2, 1
    memory, edit = column([0.0, -1.0]), column([3.0, 1.0])
    loss = memory_loss(memory, edit, top_k=2, repeated=True)
    above_ceiling = math.exp(3)  # the row at 0 twice
    within_gap = (math.exp(2) + math.exp(1)) / 2
    assert loss.item() == pytest.approx(above_ceiling + within_gap)
    ours = (math.exp(3) + math.exp(2)) / 2 + (1 + math.exp(-1) + math.exp(2) + math.exp(1)) / 4
    assert memory_loss(memory, edit, top_k=2).item() == pytest.approx(ours)


def test_the_references_divergence_is_also_divided_by_the_labels():
    generator = torch.Generator().manual_seed(0)
    logits, base = (
        torch.randn(2, 5, 3, generator=generator, dtype=torch.float64) for _ in range(2)
    )
    reference = base.log_softmax(-1)
    averaged = divergence_loss(logits, reference, over_labels=True)
    torch.testing.assert_close(averaged, divergence_loss(logits, reference) / 3)
    theirs = torch.nn.functional.kl_div(
        logits[0].log_softmax(-1), reference[0].exp(), reduction="none"
    ).mean()
    torch.testing.assert_close(averaged[0], theirs)


@pytest.mark.parametrize("shape", ["exp", "margin", "exp_margin"])
@pytest.mark.parametrize("repeated", [False, True])
def test_gradients_are_those_of_finite_differences(shape, repeated):
    generator = torch.Generator().manual_seed(3)
    memory, edit, logits, reference = (
        torch.randn(*size, generator=generator, dtype=torch.float64)
        for size in ((2, 6, 2), (2, 3, 2), (2, 3, 4), (2, 3, 4))
    )
    labels, known = torch.tensor([1, 3]), reference.log_softmax(-1)
    inputs = [t.requires_grad_() for t in (memory, edit, logits)]
    options = {"shape": shape, "top_k": 4}

    def losses(memory, edit, logits):
        return (
            memory_loss(memory, edit, repeated=repeated, **options),
            activation_loss(edit, **options),
            edit_loss(logits, labels),
            divergence_loss(logits, known, over_labels=repeated),
        )

    assert torch.autograd.gradcheck(losses, inputs)
