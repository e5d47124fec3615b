import pytest
from sweep_lab import Watching, study
from toy_objective import ToyObjective

from orchestrator.home import Home
from orchestrator.tracking.protocol import NullTracker
from studies.pools import PoolWish
from studies.running import surroundings


def test_what_a_study_says_of_resources_reaches_the_replica(tmp_path):
    resources = {"gpus": 0.0, "threads": 2, "checkpoint_every_s": 0.25, "cache_gib": 1.5}
    around = surroundings(
        study(resources=resources),
        ToyObjective(),
        Home(tmp_path),
        Watching(),
        NullTracker(),
        PoolWish("inline"),
    )
    plan = around.make_executor(1, "main")._plan
    assert plan.checkpoint_every_s == 0.25
    assert (plan.site.device, plan.site.threads, plan.site.cache_gib) == ("cpu", 2, 1.5)


@pytest.mark.parametrize("helps", [False, True])
def test_who_helps_checks_that_blocks_are_what_their_names_say(tmp_path, helps):
    wish = PoolWish("inline", helps=helps)
    around = surroundings(study(), ToyObjective(), Home(tmp_path), Watching(), NullTracker(), wish)
    site = around.make_executor(1, "joined")._plan.site
    assert site.origin == (site.cache if helps else None)
