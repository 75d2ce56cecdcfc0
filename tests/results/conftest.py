"""Shared by the tests of results."""

from pathlib import Path

import pytest
from made_phases import phase

from espnet_topdown.results.rows import PhaseResult


@pytest.fixture
def rows(tmp_path: Path) -> list[PhaseResult]:
    """Phase 0, a better and a worse phase, and a control that was not decoded."""
    base = phase(tmp_path, "base", "base", wrong=12)
    better = phase(
        tmp_path, "p1", "top_down", cut="decoder", wrong=6, accepted=True, best=True, seed=1000
    )
    worse = phase(tmp_path, "p2", "top_down", cut="encoder.1", wrong=18, accepted=False, seed=2000)
    control = phase(tmp_path, "r1", "restart", seed=1000, role="control")
    return [base, better, worse, control]
