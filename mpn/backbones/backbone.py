"""Classifiers from the hub, split at a feed-forward layer: prefix, FFN, suffix.

Everything below the patched FFN is frozen, so what it is given is computed once (``prefix``); a
patch changes only the FFN's output, after which ``suffix`` gives the logits.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

from mpn.backbones.architectures import ARCHITECTURES, FeedForward, Head
from mpn.backbones.splits import BertLayers, OwnForward
from mpn.edits import Text
from mpn.errors import MpnInputError
from mpn.fingerprints import model_fingerprint
from mpn.layers import check_layer
from mpn.patches import Activation
from mpn.pretrained import load
from mpn.tokenising import Tokeniser

Positions = Literal["all", "cls"]
"""Of a text: each that holds a token, or [CLS] alone."""

_SPLIT_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Prefix:
    """What one FFN and its residual are given for some texts.

    Attributes:
        inputs: ``[n, n_positions, d_model]``; [CLS] alone where that is all the head reads.
        mask: Which positions hold a token, bool ``[n, n_positions]``.
    """

    inputs: Tensor
    mask: Tensor


class Backbone:
    """A frozen classifier with its tokenizer, on one device.

    Attributes:
        fingerprint: Hash of the model directory's contents.
        labels: Label names in the order of the logits.
        d_model: Width of the hidden states.
        n_layers: Number of layers.
    """

    def __init__(
        self,
        directory: Path,
        *,
        device: str = "cpu",
        dtype: torch.dtype = torch.float32,
        max_tokens: int = 128,
        labels: Sequence[str] | None = None,
    ) -> None:
        """Load a model directory.

        Args:
            directory: A Hugging Face directory: configuration, safetensors, tokenizer.
            device: ``cpu`` or ``cuda``.
            dtype: Type of weights and activations.
            max_tokens: Longer inputs are truncated to this many word pieces.
            labels: Label names in the order of the logits; None takes the configuration's.

        Raises:
            MpnInputError: If the directory cannot be loaded, its architecture is not one of
                :data:`mpn.backbones.architectures.ARCHITECTURES`, or there are not as many labels
                as logits.
        """
        self.directory = directory
        config = load(AutoConfig, directory)
        if config.model_type not in ARCHITECTURES:
            raise MpnInputError(
                str(directory),
                f"architecture {config.model_type!r} cannot be edited",
                f"those that can are {', '.join(sorted(ARCHITECTURES))}",
            )
        self.architecture = ARCHITECTURES[config.model_type]
        self.tokenizer = load(AutoTokenizer, directory)
        self.max_tokens = min(max_tokens, self.tokenizer.model_max_length)
        self.model = load(
            AutoModelForSequenceClassification, directory, dtype=dtype, use_safetensors=True
        )
        self.model.to(device).eval().requires_grad_(False)
        self.fingerprint = model_fingerprint(directory)
        own_labels = tuple(config.id2label[i] for i in range(config.num_labels))
        self.labels = own_labels if labels is None else tuple(labels)
        if len(self.labels) != len(own_labels):
            raise MpnInputError(
                "backbone.labels",
                f"{len(self.labels)} names ({', '.join(self.labels)})",
                f"the model has {len(own_labels)} labels ({', '.join(own_labels)}); name each once",
            )
        self.d_model: int = config.hidden_size
        self.n_layers: int = config.num_hidden_layers
        split = BertLayers if self.architecture.has_bert_layers else OwnForward
        self._split = split(self.model, self.architecture)
        self._tokeniser = Tokeniser(self.model, self.tokenizer, self.max_tokens)
        self._checksum = self.checksum()

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        device: torch.device = self.model.device
        return device

    @property
    def dtype(self) -> torch.dtype:
        """Type of the weights."""
        dtype: torch.dtype = self.model.dtype
        return dtype

    @property
    def dropout_rate(self) -> float:
        """The largest rate among the model's own dropouts."""
        return max((getattr(*place) for place in dropouts(self.model)), default=0.0)

    @property
    def activation(self) -> Activation:
        """The FFN's own nonlinearity, which patch neurons use too."""
        return self.site(0).activation

    @property
    def head(self) -> Head | None:
        """The head, where it begins linearly and reads [CLS] alone."""
        return self.architecture.head(self.model)

    def site(self, layer: int) -> FeedForward:
        """Return the feed-forward layer at an index."""
        return self.architecture.site(self.model, layer)

    def ffn_parameters(self, layer: int) -> dict[str, str]:
        """Return a feed-forward layer's weights: their names in the model, and in the layer.

        In the layer they are ``up.weight``, ``up.bias``, ``down.weight`` and ``down.bias``.
        """
        site = self.site(layer)
        local = {
            id(parameter): f"{part}.{name}"
            for part, module in (("up", site.up), ("down", site.down))
            for name, parameter in module.named_parameters()
        }
        named = self.model.named_parameters()
        return {name: local[id(weight)] for name, weight in named if id(weight) in local}

    def layer_parameters(self, layer: int) -> list[str]:
        """Return the names of all of a layer's weights: those whose first number is its index."""
        names = [name for name, _ in self.model.named_parameters()]
        numbers = ([part for part in name.split(".") if part.isdigit()] for name in names)
        return [n for n, own in zip(names, numbers, strict=True) if own[:1] == [str(layer)]]

    def reads_cls_only(self, layer: int) -> bool:
        """Whether nothing above a layer's FFN reads another position than [CLS]."""
        return layer == self.n_layers - 1 and self.head is not None

    def layer_index(self, layer: int | Literal["last"], place: str = "editor.layer") -> int:
        """Turn ``last`` or a number, which is written at that place, into a layer's index.

        Raises:
            MpnInputError: If there is no such layer.
        """
        if layer == "last":
            return self.n_layers - 1
        check_layer(layer, self.n_layers, place)
        return layer

    def tokenize(self, texts: Sequence[Text]) -> dict[str, Tensor]:
        """Return padded model inputs of some texts (or text pairs), on the device."""
        inputs = self._tokeniser.inputs(texts)
        return {name: tensor.to(self.device) for name, tensor in inputs.items()}

    @torch.no_grad()
    def prefix(self, texts: Sequence[Text], layer: int) -> Prefix:
        """Run everything below one FFN.

        Args:
            texts: A batch that fits into memory.
            layer: Index of the layer.
        """
        tokens = self.tokenize(texts)
        mask = tokens["attention_mask"].bool()
        inputs = self._split.block_inputs(tokens, layer)
        if self.reads_cls_only(layer):
            return Prefix(inputs[:, :1], mask[:, :1])
        return Prefix(inputs, mask)

    def queries(self, inputs: Tensor, layer: int) -> Tensor:
        """Return what an FFN reads of its block's inputs: themselves, or normalised."""
        norm = self.site(layer).norm_before
        queries: Tensor = inputs if norm is None else norm(inputs)
        return queries

    def states(self, inputs: Tensor, layer: int) -> Tensor:
        """Return what a patch adds to: the frozen FFN's output and the residual."""
        return self.site(layer)(self.queries(inputs, layer)) + inputs

    def carried(self, noise: Tensor, layer: int) -> Tensor:
        """Return what the residual has of noise in the queries: all of it, or nothing."""
        return noise if self.site(layer).norm_before is None else torch.zeros_like(noise)

    @property
    def last_norm(self) -> Any:
        """The layer norm between the last FFN's residual and the head."""
        final = self.architecture.final_norm
        return self.site(self.n_layers - 1).norm_after if final is None else final(self.model)

    def suffix(self, states: Tensor, mask: Tensor, layer: int) -> Tensor:
        """Run everything above one FFN and its residual.

        Args:
            states: As :meth:`states` gives them, patched or not, ``[n, n_positions, d_model]``.
            mask: Bool ``[n, n_positions]``.
            layer: Index of the layer.

        Returns:
            Logits, ``[n, n_labels]``; differentiable in ``states``.
        """
        norm = self.site(layer).norm_after
        return self._split.logits(states if norm is None else norm(states), mask, layer)

    @torch.no_grad()
    def logits(self, texts: Sequence[Text]) -> Tensor:
        """Run the whole model as transformers does: the oracle of every faster path."""
        logits: Tensor = self.model(**self.tokenize(texts)).logits
        return logits

    def verify_split(self, texts: Sequence[Text], layer: int) -> None:
        """Check that prefix, FFN and suffix together are the whole.

        Raises:
            MpnInputError: If their logits differ by more than rounding.
        """
        prefix, whole = self.prefix(texts, layer), self.logits(texts)
        split = self.suffix(self.states(prefix.inputs, layer), prefix.mask, layer)
        difference = float((split - whole).abs().max() / whole.abs().max().clamp_min(1))
        if not difference <= _SPLIT_TOLERANCE:
            raise MpnInputError(
                f"{self.directory}, layer {layer}",
                f"the split network differs from the whole by {difference:.1e} of its logits",
                "this model does not have the layout of its architecture; it cannot be patched",
            )

    def checksum(self) -> int:
        """Return a checksum over all weights and buffers (CRC-32 of their bytes)."""
        total = 0
        for tensor in self.model.state_dict().values():
            data = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
            total = zlib.crc32(memoryview(data), total)
        return total

    def is_untouched(self) -> bool:
        """Whether the weights are still those that were loaded."""
        return self.checksum() == self._checksum


def dropouts(model: Any) -> list[tuple[Any, str]]:
    """Return where a model keeps its dropout rates: modules, and names of their attributes."""
    return [
        (module, name)
        for module in model.modules()
        for name in ("p", "dropout", "attention_dropout")
        if isinstance(getattr(module, name, None), float)
    ]
