"""What the base of an edit-stream study can say."""

import os
from typing import Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from mpn.data.sources import DatasetSettings
from mpn.editors.hypernetworks.settings import HypernetworkSettings
from mpn.editors.opening import EditorSettings
from mpn.editors.settings import TransformerPatcherSettings
from mpn.engines.opening import EngineName
from mpn.errors import MpnInputError
from mpn.model_sources import BackboneSettings
from mpn.pairing import PairingSettings
from mpn.queries import Storage
from mpn.settings import Settings
from orchestrator.objective import Params


class StreamSettings(Settings):
    """The replicates of a trial.

    Attributes:
        count: Number of streams. Stream numbers mean the same edits in every trial.
        edits: Edits a stream.
        protocol: ``single``: each edit on the fresh base model. ``sequential``: one after
            another, with no reset.
        source_language: Language of the edit requests.
        seed: Of everything random in the editing.
        side_by_side: Streams of one block, computed together; what a worker takes on at once.
        batch: Edits trained side by side under ``single``, of whatever streams of the block.
    """

    count: int = Field(5, gt=0, le=10_000)
    edits: int = Field(10, gt=0, le=1_000_000)
    protocol: Literal["single", "sequential"] = "single"
    source_language: str = "en"
    seed: NonNegativeInt = 0
    side_by_side: PositiveInt = 8
    batch: PositiveInt = 64


class EditStreamSettings(Settings):
    """The ``base`` of an edit-stream study.

    Attributes:
        backbone: Which model.
        dataset: Which examples.
        streams: How many edits, how.
        editor: What makes the edits.
        pairing: Which languages stand beside the source; ``languages: 0`` is the plain editor.
        engine: ``cached``, or ``full``: the slow plain path, for checking. An editor that trains
            under the model's own dropout always takes the full one.
        query_storage: How cached FFN inputs are kept on disk: ``exact``, or rounded to half the
            space (errors: DECISIONS.md #13).
    """

    backbone: BackboneSettings = BackboneSettings()
    dataset: DatasetSettings = DatasetSettings()
    streams: StreamSettings = StreamSettings()
    editor: EditorSettings = TransformerPatcherSettings()
    pairing: PairingSettings = PairingSettings()
    engine: EngineName = "cached"
    query_storage: Storage = "exact"

    @property
    def warm(self) -> dict[str, object]:
        """What a workbench is made of: trials in which it is equal share one."""
        return {
            "backbone": self.backbone.model_dump(mode="json"),
            "dataset": self.dataset.model_dump(mode="json"),
            "source_language": self.streams.source_language,
            "query_storage": self.query_storage,
        }

    @property
    def engine_used(self) -> EngineName:
        """The engine that such edits need."""
        return "full" if self.editor.reach.under_own_dropout else self.engine

    @property
    def pairing_used(self) -> PairingSettings:
        """The policy that such edits have: an editor without steps draws languages once."""
        if isinstance(self.editor, HypernetworkSettings):
            return self.pairing.model_copy(update={"redraw": "per_edit"})
        return self.pairing


def settings_of(params: Params) -> EditStreamSettings:
    """Return checked parameters as settings, with variables in paths expanded."""
    settings = EditStreamSettings.model_validate(dict(params))
    backbone, dataset = settings.backbone, settings.dataset
    path = None if dataset.path is None else _expanded("dataset.path", dataset.path)
    name = _expanded("backbone.name", backbone.name)
    return settings.model_copy(
        update={
            "backbone": backbone.model_copy(update={"name": name}),
            "dataset": dataset.model_copy(update={"path": path}),
        }
    )


def _expanded(place: str, path: str) -> str:
    """Replace ``$NAME`` by the environment's value.

    Raises:
        MpnInputError: If the environment has no such name.
    """
    expanded = os.path.expandvars(path)
    if "$" in expanded:
        raise MpnInputError(
            place, f"{path}: a variable in it is not set", "export it, or write the path"
        )
    return expanded
