"""A model in two parts: up to the input of one feed-forward layer, and from its output on."""

from typing import Any, NoReturn

import torch
from torch import Tensor

from mpn.backbones.architectures import Architecture, Given, own_containers


class _ReachedError(Exception):
    """Ends a forward pass at the module that was asked about."""


class OwnForward:
    """Runs the model's own forward pass: ended early, or with its first layers left out."""

    def __init__(self, model: Any, architecture: Architecture) -> None:
        """Split a model.

        Args:
            model: The whole classifier; it is never changed.
            architecture: How it is laid out.
        """
        self.model = model
        self.architecture = architecture
        self._uppers: dict[int, tuple[Any, Given]] = {}

    def block_inputs(self, inputs: dict[str, Tensor], layer: int) -> Tensor:
        """Return what a layer's FFN and its residual are given, ``[n, n_positions, d_model]``."""
        site = self.architecture.site(self.model, layer)
        return self._input_of(site.norm_before or site.up, inputs)

    def logits(self, hidden: Tensor, mask: Tensor, layer: int) -> Tensor:
        """Run everything above a layer.

        Args:
            hidden: The layer's output, ``[n, n_positions, d_model]``.
            mask: Which positions hold a token, bool ``[n, n_positions]``.
            layer: Its index.
        """
        if layer not in self._uppers:
            self._uppers[layer] = self._make_upper(layer)
        upper, given = self._uppers[layer]
        given.states = hidden
        try:
            ids = torch.zeros_like(mask, dtype=torch.int64)  # what they are is not looked at
            logits: Tensor = upper(input_ids=ids, attention_mask=mask.long()).logits
        finally:
            given.states = None
        return logits

    def _input_of(self, module: Any, inputs: dict[str, Tensor]) -> Tensor:
        """Run the model up to a module; return its first input."""
        found: list[Tensor] = []

        def end(_: Any, arguments: tuple[Tensor, ...]) -> NoReturn:
            found.append(arguments[0])
            raise _ReachedError

        hook = module.register_forward_pre_hook(end)
        try:
            self.model(**inputs)
        except _ReachedError:
            return found[0]
        finally:
            hook.remove()
        raise RuntimeError(f"{type(module).__name__} is no part of the model's forward pass")

    def _make_upper(self, layer: int) -> tuple[Any, Given]:
        """Return a model of the same weights, and what stands there for its lower layers."""
        upper = own_containers(self.model)
        setattr(upper, upper.base_model_prefix, own_containers(upper.base_model))
        return upper, self.architecture.skip(upper, layer)


class BertLayers(OwnForward):
    """The same for layers with BERT's modules; the last one is run at [CLS] alone."""

    def block_inputs(self, inputs: dict[str, Tensor], layer: int) -> Tensor:
        """See :class:`OwnForward`; at the last layer [CLS] alone."""
        layers = self._layers()
        if layer < len(layers) - 1:
            return super().block_inputs(inputs, layer)
        hidden = self._input_of(layers[layer], inputs)
        return self._cls_query(hidden, self._additive(inputs["attention_mask"], hidden))

    def logits(self, hidden: Tensor, mask: Tensor, layer: int) -> Tensor:
        """See :class:`OwnForward`."""
        layers, architecture = self._layers(), self.architecture
        last = len(layers) - 1
        if layer < last:
            additive = self._additive(mask, hidden)
            for own in layers[layer + 1 : last]:
                hidden = own(hidden, additive)
            query, site = self._cls_query(hidden, additive), architecture.site(self.model, last)
            hidden = site.norm_after(site(query) + query)
        head = architecture.head(self.model)
        assert head is not None, "heads of BERT's kin read [CLS] alone"
        return head.finish(head.dense(hidden[:, 0]))

    def _layers(self) -> Any:
        return self.model.base_model.encoder.layer

    def _cls_query(self, hidden: Tensor, additive: Tensor) -> Tensor:
        """Return the last layer's FFN input at [CLS], all that the head reads, ``[n, 1, d]``.

        With one query, keys and values need not be made for every position: the key map is
        applied to the query and the value map to the mixture. A key's bias moves all scores of
        a head alike, so it falls out of the softmax.
        """
        attention = self._layers()[-1].attention
        own, cls = attention.self, hidden[:, 0]
        heads = (own.num_attention_heads, own.attention_head_size)
        key, value = (module.weight.unflatten(0, heads) for module in (own.key, own.value))
        query = own.query(cls).unflatten(-1, heads).transpose(0, 1)  # [heads, n, d_head]
        scores = (query @ key).transpose(0, 1) @ hidden.mT  # [n, heads, n_positions]
        mixture = (scores * own.scaling + additive[:, 0]).softmax(-1) @ hidden
        context = (mixture.transpose(0, 1) @ value.mT).transpose(0, 1).flatten(1) + own.value.bias
        attended: Tensor = attention.output(context[:, None], cls[:, None])
        return attended

    @staticmethod
    def _additive(mask: Tensor, like: Tensor) -> Tensor:
        """Return the additive mask in the model's own type, ``[n, 1, 1, n_positions]``."""
        additive = torch.zeros(mask.shape, dtype=like.dtype, device=like.device)
        additive.masked_fill_(~mask.bool(), torch.finfo(like.dtype).min)
        return additive[:, None, None, :]
