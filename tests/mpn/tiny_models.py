"""Tiny models in the hub's own layout, and made-up patches."""

from pathlib import Path
from typing import Any

import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    RobertaConfig,
    RobertaForSequenceClassification,
    XLMRobertaConfig,
    XLMRobertaForSequenceClassification,
)

from mpn.patches import Patches
from mpn.seeding import torch_generator

ARCHITECTURES = {
    "bert": (BertConfig, BertForSequenceClassification),
    "roberta": (RobertaConfig, RobertaForSequenceClassification),
    "xlm-roberta": (XLMRobertaConfig, XLMRobertaForSequenceClassification),
}


def save_tiny_model(architecture: str, directory: Path, tokenizer: Any, **overrides: Any) -> Path:
    """Save a model of 3 layers with random weights that tell inputs apart."""
    config_class, model_class = ARCHITECTURES[architecture]
    options = {
        "vocab_size": len(tokenizer),
        "hidden_size": 16,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "max_position_embeddings": 140,
        "pad_token_id": tokenizer.pad_token_id,
        "type_vocab_size": 2,
        "id2label": {0: "REFUTES", 1: "SUPPORTS"},
        "label2id": {"REFUTES": 0, "SUPPORTS": 1},
    } | overrides
    model = model_class(config_class(**options))
    generator = torch_generator("tiny", architecture)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.normal_(std=0.3, generator=generator)
            if name.endswith("LayerNorm.weight"):
                parameter.add_(1.0)
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory


def random_patches(n_edits, n_patch, d_model, *, seed=0, dtype=torch.float64):
    generator = torch_generator("patches", seed)
    shape = (n_edits, n_patch, d_model)
    keys, values = (torch.randn(shape, generator=generator).to(dtype) * 0.5 for _ in range(2))
    return Patches(keys, torch.randn(shape[:2], generator=generator).to(dtype), values)
