"""The objectives that a study file can name."""

from collections.abc import Mapping

from orchestrator.objective import Objective
from studies.objectives.edit_stream import EditStreamObjective
from studies.objectives.translation import TranslationObjective

OBJECTIVES: Mapping[str, Objective] = {
    one.name: one for one in (EditStreamObjective(), TranslationObjective())
}
