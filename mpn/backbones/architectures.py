"""The architectures that can be edited: where their feed-forward layers are, and their heads.

An entry names modules; how a model runs is left to transformers' own code (``splits.py``). One
that names the wrong ones is found out where a split is checked against the whole model.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from transformers.activations import ACT2FN

from mpn.patches import Activation


@dataclass(frozen=True)
class FeedForward:
    """One feed-forward layer: ``down(act(up(q)))``, or ``down(act(a) * g)`` with ``a, g = up(q)``.

    With post-norm layers the FFN reads what its residual carries, and a norm follows both; with
    pre-norm ones a norm stands between the residual and what the FFN reads.

    A patch neuron has the same activation. Beside a gated FFN its gate is fixed at 1: it is
    ``act(q . k + b) v`` everywhere.

    Attributes:
        up: Reads the queries.
        down: Gives the FFN's output.
        activation: The nonlinearity between them.
        gated: Whether half of ``up`` gates the other.
        norm_before: Of pre-norm layers.
        norm_after: Of post-norm layers.
    """

    up: Any
    down: Any
    activation: Activation
    gated: bool = False
    norm_before: Any = None
    norm_after: Any = None

    def __call__(self, queries: Tensor) -> Tensor:
        """Return the FFN's output, before the residual, shaped as ``queries``."""
        output: Tensor = self.down(self.between(self.up(queries)))
        return output

    def between(self, hidden: Tensor) -> Tensor:
        """Return the layer's neurons, ``[..., width]``, of what ``up`` gives."""
        if not self.gated:
            return self.activation(hidden)
        hidden, gate = hidden.chunk(2, -1)
        return self.activation(hidden) * gate


@dataclass(frozen=True)
class Head:
    """A classification head that reads [CLS] alone: ``finish(dense(h))``, ``dense`` linear."""

    dense: Any
    finish: Callable[[Tensor], Tensor]


class Given(nn.Module):
    """Stands in for layers: returns the states that it was given last.

    Attributes:
        states: Hidden states, ``[n, n_positions, d_model]``.
    """

    states: Tensor | None = None

    def __init__(self, like: nn.Module | None = None, *, in_pair: bool = False) -> None:
        """Stand in for a layer.

        Args:
            like: The layer; what a model asks of its layers beside calling them is kept.
            in_pair: Whether layers return a pair, of which the states are the first.
        """
        super().__init__()
        self._in_pair = in_pair
        self.attention_type = getattr(like, "attention_type", None)

    def forward(self, hidden: Tensor, *_: Any, **__: Any) -> Any:
        """Return the states, or what comes in where there are none."""
        states = hidden if self.states is None else self.states
        return (states, None) if self._in_pair else states


class _Silent(nn.Module):
    """Stands in for what is added to a residual."""

    def __init__(self, *, in_tuple: bool) -> None:
        super().__init__()
        self._in_tuple = in_tuple

    def forward(self, hidden: Tensor, *_: Any, **__: Any) -> Any:
        nothing = hidden * 0
        return (nothing,) if self._in_tuple else nothing


@dataclass(frozen=True)
class Architecture:
    """How models of one ``model_type`` are laid out.

    Attributes:
        site: The feed-forward layer of a model at an index.
        head: The model's head if it begins linearly and reads [CLS] alone, which must be all
            that the last layer is read at; None if it reads every position.
        skip: Replaces a layer, and those below it, in a model whose top containers are its own;
            returns what stands there.
        final_norm: What follows the last layer of pre-norm architectures.
        has_bert_layers: Whether layers have BERT's modules, for which there is a faster way.
        width: Name of the setting that is the FFN's inner width; None where it cannot be set.
    """

    site: Callable[[Any, int], FeedForward]
    head: Callable[[Any], Head | None]
    skip: Callable[[Any, int], Given]
    final_norm: Callable[[Any], Any] | None = None
    has_bert_layers: bool = False
    width: str | None = "intermediate_size"


def _bert_site(model: Any, index: int) -> FeedForward:
    layer = model.base_model.encoder.layer[index]
    up = layer.intermediate
    return FeedForward(
        up.dense, layer.output.dense, up.intermediate_act_fn, norm_after=layer.output.LayerNorm
    )


def _roberta_xl_site(model: Any, index: int) -> FeedForward:
    layer = model.base_model.encoder.layer[index]
    up = layer.intermediate
    return FeedForward(
        up.dense, layer.output.dense, up.intermediate_act_fn, norm_before=layer.LayerNorm
    )


def _distilbert_site(model: Any, index: int) -> FeedForward:
    layer = model.base_model.transformer.layer[index]
    ffn = layer.ffn
    return FeedForward(ffn.lin1, ffn.lin2, ffn.activation, norm_after=layer.output_layer_norm)


def _xlm_site(model: Any, index: int) -> FeedForward:
    ffn = model.base_model.ffns[index]
    return FeedForward(ffn.lin1, ffn.lin2, ffn.act, norm_after=model.base_model.layer_norm2[index])


def _modernbert_site(model: Any, index: int) -> FeedForward:
    layer = model.base_model.layers[index]
    mlp = layer.mlp
    return FeedForward(mlp.Wi, mlp.Wo, mlp.act, gated=True, norm_before=layer.mlp_norm)


def _pooled_head(model: Any) -> Head:
    pooler = model.base_model.pooler
    return Head(pooler.dense, lambda dense: model.classifier(pooler.activation(dense)))


def _first_token_head(model: Any) -> Head:
    head = model.classifier
    return Head(head.dense, lambda dense: head.out_proj(dense.tanh()))


def _electra_head(model: Any) -> Head:
    head = model.classifier
    return Head(head.dense, lambda dense: head.out_proj(head.activation(dense)))


def _distilbert_head(model: Any) -> Head:
    return Head(model.pre_classifier, lambda dense: model.classifier(dense.relu()))


def _deberta_head(model: Any) -> Head:
    activation = ACT2FN[model.config.pooler_hidden_act]
    return Head(model.pooler.dense, lambda dense: model.classifier(activation(dense)))


def _modernbert_head(model: Any) -> Head | None:
    if model.config.classifier_pooling != "cls":
        return None
    head = model.head
    return Head(head.dense, lambda dense: model.classifier(head.norm(head.act(dense))))


def _xlm_head(model: Any) -> Head | None:
    summary = model.sequence_summary
    if summary.summary_type != "first" or not isinstance(summary.summary, nn.Linear):
        return None
    return Head(summary.summary, summary.activation)


def _skip_in(path: str, *, in_pair: bool = False) -> Callable[[Any, int], Given]:
    """Return what replaces modules of the list at a path below the base model.

    Args:
        path: Where the list is.
        in_pair: Whether layers return a pair.
    """

    def skip(model: Any, index: int) -> Given:
        *parents, name = path.split(".")
        holder = model.base_model
        for parent in parents:
            holder = _own(holder, parent)
        layers = getattr(holder, name)
        stand_ins = [Given(layer, in_pair=in_pair) for layer in layers[: index + 1]]
        setattr(holder, name, nn.ModuleList([*stand_ins, *layers[index + 1 :]]))
        return stand_ins[-1]

    return skip


def _skip_in_xlm(model: Any, index: int) -> Given:
    """XLM has lists of the parts of its layers, of which ``layer_norm2`` is the last."""
    base, given = model.base_model, Given()
    below: dict[str, nn.Module] = {
        "attentions": _Silent(in_tuple=True),
        "layer_norm1": nn.Identity(),
        "ffns": _Silent(in_tuple=False),
        "layer_norm2": nn.Identity(),
    }
    for name, stand_in in below.items():
        kept = getattr(base, name)[index + 1 :]
        top = given if name == "layer_norm2" else stand_in
        setattr(base, name, nn.ModuleList([*[stand_in] * index, top, *kept]))
    return given


def _own(holder: Any, name: str) -> Any:
    """Give a module a child of its own containers in the place of a shared one."""
    child = own_containers(getattr(holder, name))
    setattr(holder, name, child)
    return child


def own_containers(module: Any) -> Any:
    """Return a module with the same parameters and children, whose children can be replaced."""
    clone = module.__class__.__new__(module.__class__)
    clone.__dict__.update(module.__dict__)
    clone._modules = dict(module._modules)
    return clone


def with_modules(model: Any, replacements: Mapping[Any, nn.Module]) -> Any:
    """Return a model with other modules in the place of some; it shares all else with the first."""
    edited = own_containers(model)
    for old, new in replacements.items():
        path = next(name for name, module in model.named_modules() if module is old)
        *parents, name = path.split(".")
        holder = edited
        for parent in parents:
            holder = _own(holder, parent)
        setattr(holder, name, new)
    return edited


_SKIP_ENCODER = _skip_in("encoder.layer")
_FIRST_TOKEN = Architecture(_bert_site, _first_token_head, _SKIP_ENCODER, has_bert_layers=True)

ARCHITECTURES: Mapping[str, Architecture] = {
    "bert": Architecture(_bert_site, _pooled_head, _SKIP_ENCODER, has_bert_layers=True),
    "deberta-v2": Architecture(_bert_site, _deberta_head, _skip_in("encoder.layer", in_pair=True)),
    "distilbert": Architecture(
        _distilbert_site, _distilbert_head, _skip_in("transformer.layer"), width="hidden_dim"
    ),
    "electra": Architecture(_bert_site, _electra_head, _SKIP_ENCODER, has_bert_layers=True),
    "modernbert": Architecture(
        _modernbert_site,
        _modernbert_head,
        _skip_in("layers"),
        final_norm=lambda model: model.base_model.final_norm,
    ),
    "roberta": _FIRST_TOKEN,
    "xlm": Architecture(_xlm_site, _xlm_head, _skip_in_xlm, width=None),
    "xlm-roberta": _FIRST_TOKEN,
    "xlm-roberta-xl": Architecture(
        _roberta_xl_site,
        _first_token_head,
        _SKIP_ENCODER,
        final_norm=lambda model: model.base_model.encoder.LayerNorm,
    ),
}
"""By ``config.model_type``: BERT and mBERT, mDeBERTa (v2 and v3), mmBERT, XLM-R, ..."""
