import json
from pathlib import Path

import pytest
import torch

from mpn.editors.transformer_patcher import starting_keys
from mpn.errors import ShapeError
from mpn.patches import Patches

GOLDEN = json.loads((Path(__file__).parent / "golden.json").read_text())["patched_ffn"][0]
TWO = Patches(
    torch.tensor([[1.0, 0.0], [0.0, 2.0]]),
    torch.tensor([0.0, 1.0]),
    torch.tensor([[10.0, 0.0], [0.0, 1.0]]),
)


def test_contribution_matches_hand_computation():
    # pre-activations on (3, -1) are 3 and -1; ReLU leaves 3; 3 x (10, 0)
    added = TWO.contribution(torch.tensor([[3.0, -1.0]]), torch.relu)
    assert TWO.pre_activations(torch.tensor([[3.0, -1.0]])).tolist() == [[3.0, -1.0]]
    assert added.tolist() == [[30.0, 0.0]]


def test_a_patched_ffn_reproduces_the_reference():
    tensors = {
        name: torch.tensor(v, dtype=torch.float64)
        for name, v in GOLDEN.items()
        if isinstance(v, list)
    }
    query = tensors["query"]
    key = starting_keys(query)
    assert GOLDEN["bias_at_init"] == 0  # as ours, below
    assert key.tolist() == pytest.approx(GOLDEN["key_at_init"], abs=1e-10)
    assert (query @ key).item() == pytest.approx(GOLDEN["pre_activation_on_query"], abs=1e-10)
    value = tensors["value_scale"] * tensors["value_noise"]
    patches = Patches(key[None], torch.zeros(1, dtype=torch.float64), value[None])
    gelu = torch.nn.functional.gelu
    hidden = gelu(tensors["inputs"] @ tensors["up_weight"].T + tensors["up_bias"])
    outputs = hidden @ tensors["down_weight"].T + tensors["down_bias"]
    outputs = outputs + patches.contribution(tensors["inputs"], gelu)
    torch.testing.assert_close(outputs, tensors["outputs"], atol=1e-10, rtol=0)


def test_joined_patches_add_up():
    query = torch.tensor([[3.0, 5.0]])
    halves = [Patches(TWO.keys[[i]], TWO.biases[[i]], TWO.values[[i]]) for i in range(2)]
    joined = Patches.concatenate([Patches.empty(2), *halves])
    apart = sum(half.contribution(query, torch.relu) for half in halves)
    assert torch.equal(joined.contribution(query, torch.relu), apart)


def test_neurons_that_fill_up_a_set_do_nothing():
    query = torch.tensor([[3.0, 5.0]])
    padded = TWO.padded(5)
    assert padded.n_patch == 5
    assert torch.equal(
        padded.contribution(query, torch.sigmoid), TWO.contribution(query, torch.sigmoid)
    )


def test_tensors_of_different_neurons_are_refused():
    with pytest.raises(ShapeError, match=r"keys \(2, 2\)"):
        Patches(TWO.keys, TWO.biases[:1], TWO.values)


def test_a_patch_of_one_neuron_at_bert_base_width_is_small():
    neuron = Patches(torch.randn(1, 768), torch.randn(1), torch.randn(1, 768))
    assert len(neuron.to_bytes()) < 7_000
