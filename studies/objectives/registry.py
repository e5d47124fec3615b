"""The objectives that a study file can name."""

from collections.abc import Mapping

from orchestrator.objective import Objective
from studies.objectives.edit_stream import EditStreamObjective

OBJECTIVES: Mapping[str, Objective] = {EditStreamObjective.name: EditStreamObjective()}
