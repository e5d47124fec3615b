"""The editors that a study file can name."""

import functools
from typing import Annotated, Any

from pydantic import Discriminator, Tag

from mpn.editors.calinet import CaliNet, CaliNetSettings
from mpn.editors.finetune import FineTune, FineTuneSettings
from mpn.editors.hypernetworks.editor import HypernetworkEditor
from mpn.editors.hypernetworks.network import Hypernetwork
from mpn.editors.hypernetworks.settings import HypernetworkSettings, LimeSettings, MendSettings
from mpn.editors.knowledge_neurons import KnowledgeNeurons, KnowledgeNeuronsSettings
from mpn.editors.protocol import Editor
from mpn.editors.settings import TransformerPatcherSettings
from mpn.editors.transformer_patcher import TransformerPatcher
from mpn.pairing import PairingSettings

_EDITORS: dict[type[Any], Any] = {
    TransformerPatcherSettings: TransformerPatcher,
    FineTuneSettings: FineTune,
    KnowledgeNeuronsSettings: KnowledgeNeurons,
    CaliNetSettings: CaliNet,
}


def _name(settings: Any) -> str:
    """Return which editor settings are of; the default where they do not say."""
    default = TransformerPatcherSettings().name
    own = settings.get if isinstance(settings, dict) else functools.partial(getattr, settings)
    return f"<{own('name', default)}>"


EditorSettings = Annotated[
    Annotated[TransformerPatcherSettings, Tag("<transformer_patcher>")]
    | Annotated[FineTuneSettings, Tag("<finetune>")]
    | Annotated[KnowledgeNeuronsSettings, Tag("<knowledge_neurons>")]
    | Annotated[CaliNetSettings, Tag("<calinet>")]
    | Annotated[MendSettings, Tag("<mend>")]
    | Annotated[LimeSettings, Tag("<lime>")],
    Discriminator(_name),
]
"""What a study file says of an editor; ``name`` decides which."""


def open_editor(
    settings: EditorSettings, pairing: PairingSettings, network: Hypernetwork | None = None
) -> Editor:
    """Return the editor that settings are of, under a pairing policy.

    Args:
        settings: The editor's.
        pairing: The policy.
        network: What was trained, for those that are trained first.
    """
    if isinstance(settings, HypernetworkSettings):
        assert network is not None, "mpn.editors.hypernetworks.store has it"
        return HypernetworkEditor(settings, pairing, network)
    editor: Editor = _EDITORS[type(settings)](settings, pairing)
    return editor
