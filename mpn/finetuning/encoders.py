"""Encoders to start from, and the classifiers that they become."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

from mpn.backbones.architectures import ARCHITECTURES
from mpn.errors import MpnInputError
from mpn.model_sources import BackboneSettings, fingerprint
from mpn.pretrained import load


@dataclass(frozen=True)
class Encoder:
    """A pretrained model on this machine.

    Attributes:
        name: As it was asked for: a folder or a name on the hub.
        revision: Its commit on the hub, or None.
        directory: Where it lies.
        fingerprint: Hash of its weights, configuration and tokenizer.
        architecture: Its ``model_type``.
    """

    name: str
    revision: str | None
    directory: Path
    fingerprint: str
    architecture: str

    @property
    def is_editable(self) -> bool:
        """Whether what is trained from it can be edited."""
        return self.architecture in ARCHITECTURES


def open_encoder(settings: BackboneSettings, directory: Path) -> Encoder:
    """Look at a model directory without loading its weights.

    Args:
        settings: How it was asked for.
        directory: Where it lies.

    Raises:
        MpnInputError: If it is no model directory, its tokenizer cannot pad, or its texts are
            shorter than ``settings.max_tokens``.
    """
    config = load(AutoConfig, directory)
    tokenizer = load(AutoTokenizer, directory)
    if tokenizer.pad_token is None:
        raise MpnInputError(
            str(directory), "its tokenizer has no padding token", "give an encoder with one"
        )
    longest = min(
        tokenizer.model_max_length,
        getattr(config, "max_position_embeddings", None) or tokenizer.model_max_length,
    )
    if settings.max_tokens > longest:
        raise MpnInputError(
            "max_tokens", str(settings.max_tokens), f"{settings.name} takes at most {longest}"
        )
    return Encoder(
        settings.name, settings.revision, directory, fingerprint(directory), config.model_type
    )


def load_classifier(encoder: Encoder, labels: Sequence[str]) -> tuple[Any, Any]:
    """Put a head on an encoder.

    A head of another size is replaced, one of the same size is gone on with. The weights of a new
    one come from torch's global generator.

    Args:
        encoder: Where to start.
        labels: Label names in the order of the logits.

    Returns:
        The classifier, in float32 on the CPU, and its tokenizer.

    Raises:
        MpnInputError: If it cannot be loaded as a classifier, or weights of the encoder itself
            are missing.
    """
    model, loading = load(
        AutoModelForSequenceClassification,
        encoder.directory,
        num_labels=len(labels),
        id2label=dict(enumerate(labels)),
        label2id={label: index for index, label in enumerate(labels)},
        problem_type="single_label_classification",
        dtype=torch.float32,
        use_safetensors=True,
        ignore_mismatched_sizes=True,  # the head of another task
        output_loading_info=True,
    )
    mismatched = {key[0] for key in loading["mismatched_keys"]}
    lacking = [
        name
        for name in sorted({*loading["missing_keys"], *mismatched})
        if name.startswith(f"{model.base_model_prefix}.") and ".pooler." not in name
    ]
    if lacking:
        raise MpnInputError(
            str(encoder.directory),
            f"{len(lacking)} weights of the encoder are missing, {lacking[0]} first",
            "give a folder whose safetensors hold the whole encoder",
        )
    return model, load(AutoTokenizer, encoder.directory)
