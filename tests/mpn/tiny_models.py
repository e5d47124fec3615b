"""Tiny models in the hub's own layout, and made-up patches."""

from pathlib import Path
from typing import Any

import torch
from transformers import CONFIG_MAPPING, AutoModelForSequenceClassification

from mpn.changes import WeightDeltas
from mpn.patches import Patches
from mpn.seeding import torch_generator

OWN_OPTIONS: dict[str, dict[str, Any]] = {
    "bert": {},
    "deberta-v2": {
        "type_vocab_size": 0,
        "relative_attention": True,
        "position_buckets": 4,  # texts reach into the buckets that stand for several distances
        "norm_rel_ebd": "layer_norm",
        "share_att_key": True,
        "pos_att_type": ["p2c", "c2p"],
        "position_biased_input": False,
    },
    "distilbert": {},
    "electra": {"embedding_size": 8},
    "modernbert": {
        "global_attn_every_n_layers": 2,
        "local_attention": 6,
        "classifier_pooling": "cls",
        "mlp_dropout": 0.1,
    },
    "modernbert-mean": {
        "global_attn_every_n_layers": 2,
        "local_attention": 6,
        "classifier_pooling": "mean",
    },
    "roberta": {},
    "xlm": {"summary_type": "first", "gelu_activation": True, "n_langs": 2},
    "xlm-roberta": {},
    "xlm-roberta-xl": {},
}
"""What each architecture is tested with, beside its size."""

ARCHITECTURES = sorted(OWN_OPTIONS)
_OWN_NAMES = {
    "distilbert": {"intermediate_size": "hidden_dim", "hidden_act": "activation"},
    "modernbert": {"hidden_act": "hidden_activation"},
}


def save_tiny_model(architecture: str, directory: Path, tokenizer: Any, **overrides: Any) -> Path:
    """Save a model of 3 layers with random weights that tell inputs apart."""
    options = (
        {
            "vocab_size": len(tokenizer),
            "hidden_size": 16,
            "num_hidden_layers": 3,
            "num_attention_heads": 2,
            "intermediate_size": 32,
            "max_position_embeddings": 140,
            "pad_token_id": tokenizer.pad_token_id,
            "bos_token_id": None,
            "eos_token_id": None,
            "cls_token_id": None,
            "sep_token_id": None,
            "type_vocab_size": 2,
            "id2label": {0: "REFUTES", 1: "SUPPORTS"},
            "label2id": {"REFUTES": 0, "SUPPORTS": 1},
        }
        | OWN_OPTIONS[architecture]
        | overrides
    )
    model_type = architecture.removesuffix("-mean")
    names = _OWN_NAMES.get(model_type, {})
    config = CONFIG_MAPPING[model_type](**{names.get(k, k): v for k, v in options.items()})
    model = AutoModelForSequenceClassification.from_config(config)
    generator = torch_generator("tiny", architecture)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.normal_(std=0.3, generator=generator)
            if "norm" in name.lower() and name.endswith("weight"):
                parameter.add_(1.0)
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory


def random_patches(n_edits, n_patch, d_model, *, seed=0, dtype=torch.float64):
    generator = torch_generator("patches", seed)
    shape = (n_edits, n_patch, d_model)
    keys, values = (torch.randn(shape, generator=generator).to(dtype) * 0.5 for _ in range(2))
    return Patches(keys, torch.randn(shape[:2], generator=generator).to(dtype), values)


def random_deltas(backbone, layer, n_edits=2):
    """Deltas of all weights of one FFN, large enough to be seen."""
    weights = dict(backbone.model.named_parameters())
    generator = torch_generator("deltas", layer)
    return WeightDeltas(
        {
            name: 0.2 * torch.randn(n_edits, *weights[name].shape, generator=generator).double()
            for name in backbone.ffn_parameters(layer)
        }
    )
