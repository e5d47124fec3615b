"""What a replica does because it may be on another machine than the driver."""

import socket
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from orchestrator.errors import InputError, Problem
from orchestrator.executors.protocol import WorkItem
from orchestrator.identity import block_id
from orchestrator.objective import Objective, Site

CACHE_VARIABLE = "MPN_CACHE"
"""Names a node's own cache folder, in the environment of the processes on that node."""


def on_this_node(site: Site, environment: Mapping[str, str]) -> Site:
    """Return the site with this node's own cache, where it has one.

    Args:
        site: As the driver describes it.
        environment: This process's.
    """
    own = environment.get(CACHE_VARIABLE)
    if not own or Path(own) == site.cache:
        return site
    return replace(site, cache=Path(own), origin=site.origin or site.cache)


def provide(objective: Objective, item: WorkItem, site: Site) -> None:
    """Get what a block needs onto this node, and see that it is what the driver meant.

    A block is named by the contents of models and data. Where each node has its own, they could
    differ, and the ledger would hold numbers under a name that is not theirs.

    Args:
        objective: What is asked.
        item: The block.
        site: Where it will run; nothing is done where the driver's machine is meant.

    Raises:
        InputError: If models or data on this node are others.
    """
    if site.origin is None:
        return
    work = objective.identity(item.params, site.cache)
    if work is None:
        objective.prepare(item.params, site, _silent)
        work = objective.identity(item.params, site.cache)
    if work is None or block_id(objective.name, work, item.streams) != item.block_id:
        raise InputError(
            "the cluster",
            [
                Problem(
                    "base",
                    None,
                    f"models or data on {socket.gethostname()} (cache {site.cache}) are not those "
                    "that the driver found on its machine",
                    "put them on a volume that all nodes see, or copy the same files to each node",
                )
            ],
            "Blocks that are complete are kept.",
        )


def _silent(stage: str, done: int, total: int) -> None:
    """Tell nobody."""
