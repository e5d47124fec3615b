"""Edited models for use elsewhere: saved edits, models that hold them, checkpoints of their own.

A patch neuron is one more neuron of a feed-forward layer, so an edited model is the same model
with a wider layer: nothing of ours is needed to run it.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from mpn.backbones import Backbone
from mpn.backbones.architectures import ARCHITECTURES, FeedForward, with_modules
from mpn.data.model_folders import publish_model
from mpn.errors import MpnInputError
from mpn.patches import Patches
from mpn.pretrained import load

_FORMAT = "mpn-edit-1"


@dataclass(frozen=True)
class SavedEdit:
    """Neurons, and what they belong to.

    Attributes:
        patches: One set, ``[n_patch, d_model]``; they act at every position.
        layer: Index of the layer whose FFN they join.
        model_type: The model's architecture.
        ffn_digest: Hash of the FFN's weights: they belong to no other.
        about: What was asked for, for people.
    """

    patches: Patches
    layer: int
    model_type: str
    ffn_digest: str
    about: Mapping[str, str] = field(default_factory=dict)

    @staticmethod
    def of(
        backbone: Backbone, layer: int, patches: Patches, about: Mapping[str, str]
    ) -> "SavedEdit":
        """Name what an edit of a model was made on."""
        model_type = backbone.model.config.model_type
        digest = _ffn_digest(backbone.site(layer))
        return SavedEdit(patches, layer, model_type, digest, about)

    def save(self, path: Path) -> None:
        """Write a safetensors file."""
        header = {
            "format": _FORMAT,
            "layer": str(self.layer),
            "model_type": self.model_type,
            "ffn_digest": self.ffn_digest,
            "about": json.dumps(dict(self.about), ensure_ascii=False),
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.patches.to_bytes(header))

    @staticmethod
    def read(path: Path) -> "SavedEdit":
        """Read what :meth:`save` wrote.

        Raises:
            MpnInputError: If the file is anything else.
        """
        try:
            with safe_open(path, "pt") as file:
                header = file.metadata() or {}
                if header.get("format") != _FORMAT:
                    raise ValueError("it is no saved edit")
                parts = (file.get_tensor(name) for name in ("keys", "biases", "values"))
                return SavedEdit(
                    Patches(*parts),
                    int(header["layer"]),
                    header["model_type"],
                    header["ffn_digest"],
                    json.loads(header["about"]),
                )
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            raise MpnInputError(
                str(path), f"unreadable ({error})", "give a file that mpn edit has saved"
            ) from error


def load_edited(model: Any, *edits: Path | str) -> Any:
    """Return a model that holds saved edits, made on it one by one.

    The model itself is left as it is and shares its other weights with the one returned, which
    is an ordinary transformers model with a wider feed-forward layer.

    Args:
        model: A sequence classifier of transformers, or the folder of one.
        *edits: Files that ``mpn edit`` saved.

    Returns:
        The edited model, in evaluation mode if loaded from a folder.

    Raises:
        MpnInputError: If a file is no saved edit, or was made on another model.
    """
    if isinstance(model, str | Path):
        model = AutoModelForSequenceClassification.from_pretrained(
            model, dtype=torch.float32, use_safetensors=True
        ).eval()
    added: dict[int, list[Patches]] = {}
    for path in edits:
        edit = SavedEdit.read(Path(path))
        _check_belongs(edit, model, place=str(path))
        added.setdefault(edit.layer, []).append(edit.patches)
    for layer, patches in added.items():
        site = ARCHITECTURES[model.config.model_type].site(model, layer)
        model = with_modules(model, _widened(site, Patches.concatenate(patches)))
    return model


def export_edited(directory: Path, edit: SavedEdit, folder: Path) -> Path:
    """Write an edited model as a checkpoint that plain ``from_pretrained(folder)`` loads.

    All its feed-forward layers are made wider, since one number of the configuration is the
    width of all; what is new in the others is zero and changes nothing.

    Args:
        directory: The base model's folder.
        edit: What was made on it.
        folder: Where to write; must not exist.

    Raises:
        MpnInputError: If the folder exists, the edit was made on another model, or the
            architecture's width is not a number of its configuration.
    """
    if folder.exists():
        raise MpnInputError(str(folder), "exists already", "name a folder that does not exist")
    model = load(
        AutoModelForSequenceClassification, directory, dtype=torch.float32, use_safetensors=True
    )
    _check_belongs(edit, model, place=str(directory))
    architecture = ARCHITECTURES[model.config.model_type]
    if architecture.width is None:
        raise MpnInputError(
            str(directory),
            f"{edit.model_type} has feed-forward layers of a fixed width, so that no "
            "checkpoint can hold another neuron",
            "use mpn.load_edited(model, patch)",
        )
    edited, nothing = model, Patches(*(torch.zeros_like(t) for t in edit.patches.tensors()))
    for layer in range(model.config.num_hidden_layers):
        patches = edit.patches if layer == edit.layer else nothing
        edited = with_modules(edited, _widened(architecture.site(edited, layer), patches))
    width = getattr(model.config, architecture.width) + edit.patches.n_patch
    setattr(model.config, architecture.width, width)
    if architecture.site(model, 0).gated:
        model.config.mlp_bias = True
    return publish_model(folder, edited, load(AutoTokenizer, directory))


def _check_belongs(edit: SavedEdit, model: Any, *, place: str) -> None:
    model_type = model.config.model_type
    if model_type != edit.model_type or edit.layer >= model.config.num_hidden_layers:
        found = f"made at layer {edit.layer} of a {edit.model_type} model"
        wanted = f"this is a {model_type} model of {model.config.num_hidden_layers} layers"
        raise MpnInputError(place, found, wanted)
    if _ffn_digest(ARCHITECTURES[model_type].site(model, edit.layer)) != edit.ffn_digest:
        raise MpnInputError(
            place,
            f"made on a model with other weights at layer {edit.layer}",
            "give the model that was edited, in the type it is stored in or float32",
        )


def _ffn_digest(site: FeedForward) -> str:
    """Hash a feed-forward layer's weights as float32."""
    digest = hashlib.sha256()
    for module in (site.up, site.down):
        for tensor in (module.weight, module.bias):
            if tensor is not None:
                data = tensor.detach().to("cpu", torch.float32).contiguous()
                digest.update(f"{tuple(data.shape)}".encode())
                digest.update(memoryview(data.reshape(-1).view(torch.uint8).numpy()))
    return digest.hexdigest()


def _widened(site: FeedForward, patches: Patches) -> dict[Any, nn.Module]:
    """Return what stands for ``up`` and ``down`` with patches among the neurons."""
    keys, biases, values = (t.detach().to(site.up.weight) for t in patches.tensors())
    if site.gated:
        (weight, gate), (bias, gate_bias) = (t.chunk(2) for t in (site.up.weight, _bias(site.up)))
        nothing, one = torch.zeros_like(keys), torch.ones_like(biases)
        up = _linear(
            torch.cat([weight, keys, gate, nothing]), torch.cat([bias, biases, gate_bias, one])
        )
    else:
        up = _linear(torch.cat([site.up.weight, keys]), torch.cat([_bias(site.up), biases]))
    down = _linear(torch.cat([site.down.weight, values.T], 1), _bias(site.down))
    return {site.up: up, site.down: down}


def _bias(module: Any) -> Tensor:
    bias: Tensor | None = module.bias
    return module.weight.new_zeros(len(module.weight)) if bias is None else bias


def _linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    made = nn.Linear(weight.shape[1], weight.shape[0], device="meta")
    made.weight = nn.Parameter(weight.detach(), requires_grad=False)
    made.bias = nn.Parameter(bias.detach(), requires_grad=False)
    return made
