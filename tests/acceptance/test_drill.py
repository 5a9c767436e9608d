"""The drill in short: killed again and again before a misbehaving server, the service loses nobody."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from drill import Plan, run_drill


@pytest.mark.long
@pytest.mark.parametrize(
    "plan",
    [
        Plan(readers=150, connections=6, kills=3, policy="resend", pipelining=True, seed=11),
        Plan(readers=120, connections=6, kills=2, policy="hold", pipelining=False, seed=12),
    ],
    ids=["resend with PIPELINING", "hold without PIPELINING"],
)
def test_nobody_is_lost_under_kills_and_faults(plan: Plan, tmp_path: Path) -> None:
    finding = run_drill(plan, tmp_path)
    assert finding.broken == []
    assert finding.figures["lost"] == 0
    assert finding.figures["kills"] >= 2
    assert finding.figures["faults"] > 0
