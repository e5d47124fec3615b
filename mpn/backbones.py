"""Classifiers from the hub, split at a feed-forward layer: prefix, FFN, suffix.

Everything below the patched FFN is frozen, so its input is computed once (``prefix``); a patch
changes only the FFN's output, after which ``suffix`` gives the logits.
"""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

from mpn.edits import Text
from mpn.errors import MpnInputError
from mpn.fingerprints import model_fingerprint
from mpn.patches import Activation

Positions = Literal["all", "cls"]
"""Of a text: each that holds a token, or [CLS] alone."""

_SPLIT_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Family:
    """What architectures with post-norm layers of one layout differ in: the head.

    The logits are ``finish(model, dense(model)(h))`` of the last hidden state ``h`` at [CLS].
    """

    dense: Callable[[Any], Any]
    finish: Callable[[Any, Tensor], Tensor]


def _finish_pooled(model: Any, dense: Tensor) -> Tensor:
    logits: Tensor = model.classifier(model.base_model.pooler.activation(dense))
    return logits


def _finish_first_token(model: Any, dense: Tensor) -> Tensor:
    logits: Tensor = model.classifier.out_proj(dense.tanh())
    return logits


_POOLED = Family(lambda model: model.base_model.pooler.dense, _finish_pooled)
_FIRST_TOKEN = Family(lambda model: model.classifier.dense, _finish_first_token)

FAMILIES = {"bert": _POOLED, "roberta": _FIRST_TOKEN, "xlm-roberta": _FIRST_TOKEN}
"""Supported architectures by ``config.model_type``."""


@dataclass(frozen=True)
class Prefix:
    """Inputs of one FFN for some texts.

    Attributes:
        queries: ``[n, n_positions, d_model]``; one position ([CLS]) at the last layer.
        mask: Which positions hold a token, bool ``[n, n_positions]``.
    """

    queries: Tensor
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
    ) -> None:
        """Load a model directory.

        Args:
            directory: A Hugging Face directory: configuration, safetensors, tokenizer.
            device: ``cpu`` or ``cuda``.
            dtype: Type of weights and activations.
            max_tokens: Longer inputs are truncated to this many word pieces.

        Raises:
            MpnInputError: If the directory cannot be loaded, or its architecture is not one of
                :data:`FAMILIES`.
        """
        self.directory = directory
        self.max_tokens = max_tokens
        config = _load(AutoConfig, directory)
        if config.model_type not in FAMILIES:
            raise MpnInputError(
                str(directory),
                f"architecture {config.model_type!r} is not supported",
                f"supported are {', '.join(sorted(FAMILIES))}",
            )
        self.family = FAMILIES[config.model_type]
        self.tokenizer = _load(AutoTokenizer, directory)
        self.model = _load(
            AutoModelForSequenceClassification, directory, dtype=dtype, use_safetensors=True
        )
        self.model.to(device).eval().requires_grad_(False)
        self.fingerprint = model_fingerprint(directory)
        self.labels = tuple(config.id2label[i] for i in range(config.num_labels))
        self.d_model: int = config.hidden_size
        self.n_layers: int = config.num_hidden_layers
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
    def activation(self) -> Activation:
        """The FFN's own nonlinearity, which patch neurons use too."""
        activation: Activation = self.layer(0).intermediate.intermediate_act_fn
        return activation

    def layer_index(self, layer: int | Literal["last"]) -> int:
        """Turn ``last`` or a number into a layer's index.

        Raises:
            MpnInputError: If there is no such layer.
        """
        if layer == "last":
            return self.n_layers - 1
        if not 0 <= layer < self.n_layers:
            raise MpnInputError(
                "editor.layer", f"layer {layer}", f"layers are 0 to {self.n_layers - 1}, or last"
            )
        return layer

    def layer(self, index: int) -> Any:
        """Return the module of one layer."""
        return self.model.base_model.encoder.layer[index]

    def tokenize(self, texts: Sequence[Text]) -> dict[str, Tensor]:
        """Return padded model inputs of some texts (or text pairs), on the device."""
        segments = [list(segment) for segment in zip(*texts, strict=True)]
        batch = self.tokenizer(
            *segments,
            padding=True,
            truncation=True,
            max_length=self.max_tokens,
            return_tensors="pt",
        )
        return {name: tensor.to(self.device) for name, tensor in batch.items()}

    @torch.no_grad()
    def prefix(self, texts: Sequence[Text], layer: int) -> Prefix:
        """Run everything below one FFN.

        Args:
            texts: A batch that fits into memory.
            layer: Index of the layer.

        Returns:
            The FFN's inputs. At the last layer only [CLS], which is all that the head reads.
        """
        inputs = self.tokenize(texts)
        token_mask = inputs.pop("attention_mask")
        hidden = self.model.base_model.embeddings(**inputs)
        mask = self._attention_mask(token_mask)
        for index in range(layer):
            hidden = self.layer(index)(hidden, mask)
        if layer == self.n_layers - 1:
            return Prefix(self._cls_query(hidden, mask), token_mask[:, :1].bool())
        return Prefix(self.layer(layer).attention(hidden, mask)[0], token_mask.bool())

    def ffn(self, queries: Tensor, layer: int) -> Tensor:
        """Return the frozen FFN's output, before the residual, shaped as ``queries``."""
        module = self.layer(layer)
        outputs: Tensor = module.output.dense(module.intermediate(queries))
        return outputs

    def norm(self, layer: int) -> Any:
        """Return the layer norm that follows one FFN and its residual."""
        return self.layer(layer).output.LayerNorm

    def suffix(self, states: Tensor, mask: Tensor, layer: int) -> Tensor:
        """Run everything above one FFN.

        Args:
            states: The FFN's outputs, patched or not, plus its inputs (the residual),
                ``[n, n_positions, d_model]``.
            mask: Bool ``[n, n_positions]``.
            layer: Index of the layer.

        Returns:
            Logits, ``[n, n_labels]``; differentiable in ``states``.
        """
        hidden = self.norm(layer)(states)
        last = self.n_layers - 1
        if layer < last:
            attention_mask = self._attention_mask(mask)
            for index in range(layer + 1, last):
                hidden = self.layer(index)(hidden, attention_mask)
            query = self._cls_query(hidden, attention_mask)
            hidden = self.norm(last)(self.ffn(query, last) + query)
        return self.finish(self.dense(hidden[:, 0]))

    @property
    def dense(self) -> Any:
        """The linear map with which the head begins."""
        return self.family.dense(self.model)

    def finish(self, dense: Tensor) -> Tensor:
        """Return the logits from the output of :attr:`dense`, ``[..., n_labels]``."""
        return self.family.finish(self.model, dense)

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
        prefix = self.prefix(texts, layer)
        states = self.ffn(prefix.queries, layer) + prefix.queries
        split = self.suffix(states, prefix.mask, layer)
        difference = float((split - self.logits(texts)).abs().max())
        if not difference <= _SPLIT_TOLERANCE:
            raise MpnInputError(
                f"{self.directory}, layer {layer}",
                f"the split network differs from the whole by {difference:.1e} in its logits",
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

    def _cls_query(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Return the last layer's FFN input at [CLS], all that the head reads, ``[n, 1, d]``.

        With one query, keys and values need not be made for every position: the key map is
        applied to the query and the value map to the mixture. A key's bias moves all scores of
        a head alike, so it falls out of the softmax.
        """
        attention = self.layer(self.n_layers - 1).attention
        own, cls = attention.self, hidden[:, 0]
        heads = (own.num_attention_heads, own.attention_head_size)
        key, value = (module.weight.unflatten(0, heads) for module in (own.key, own.value))
        query = own.query(cls).unflatten(-1, heads).transpose(0, 1)  # [heads, n, d_head]
        scores = (query @ key).transpose(0, 1) @ hidden.mT  # [n, heads, n_positions]
        mixture = (scores * own.scaling + mask[:, 0]).softmax(-1) @ hidden
        context = (mixture.transpose(0, 1) @ value.mT).transpose(0, 1).flatten(1) + own.value.bias
        attended: Tensor = attention.output(context[:, None], cls[:, None])
        return attended

    def _attention_mask(self, token_mask: Tensor) -> Tensor:
        """Return the additive mask in the model's own type, ``[n, 1, 1, n_positions]``."""
        mask = torch.zeros(token_mask.shape, dtype=self.dtype, device=self.device)
        mask.masked_fill_(~token_mask.bool(), torch.finfo(self.dtype).min)
        return mask[:, None, None, :]


def _load(auto_class: Any, directory: Path, **options: Any) -> Any:
    """Call ``from_pretrained`` on a local directory; nothing remote, no remote code."""
    try:
        return auto_class.from_pretrained(directory, local_files_only=True, **options)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise MpnInputError(
            str(directory),
            f"cannot be loaded ({reason})",
            "give a Hugging Face model directory with config.json, model.safetensors and tokenizer",
        ) from error
