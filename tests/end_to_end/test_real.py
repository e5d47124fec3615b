"""A part of the real study: the direction of its findings, on a real model and real XNLI rows."""

import os

import pytest
from command_line import CommandLine

pytestmark = [
    pytest.mark.real,
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif("MPN_REAL_DATA" not in os.environ, reason="MPN_REAL_DATA is not set"),
]
PART = {
    "base.dataset.limit": 1500,
    "base.dataset.evaluation_examples": 40,
    "base.streams.count": 3,
    "base.streams.edits": 16,
    "sweep.streams.protocol": "[single]",
    "sweep.pairing.choice": "[fixed]",
    "sweep.pairing.languages": "[0, 2]",
}


def test_two_paired_languages_reach_further_and_stay_local(tmp_path):
    mpn = CommandLine(tmp_path / "home")
    overrides = [word for path, value in PART.items() for word in ("--set", f"{path}={value}")]
    mpn("run", "xnli_real", "--executor", "inline", *overrides)
    alone, paired = mpn.json("table", "xnli_real", "--format", "json")
    assert paired["difference"]["cross_lingual_generality"]["mean"] >= 0.10
    assert paired["difference"]["cross_lingual_generality_unseen"]["mean"] > 0
    for row in (alone, paired):
        assert row["metrics"]["reliability"]["mean"] >= 0.95
        assert row["metrics"]["locality"]["mean"] >= 0.998
        assert len([name for name in row["metrics"] if name.startswith("locality/")]) == 15
