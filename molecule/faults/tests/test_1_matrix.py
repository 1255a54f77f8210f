"""Each fault of the matrix: the cause is named, what served before serves, and the same command goes on afterwards."""

from __future__ import annotations

import matrix
import page
import pytest
import trial

CASES = [
    pytest.param(step, fault, id=f"{step.playbook}: {fault.name}") for step in matrix.STEPS for fault in step.faults
]
HAPPENED = {}


@pytest.fixture(scope="module")
def outcomes(request):
    """What came of the faults of a step, which happen once, together."""
    step, before = request.param, trial.fingerprints()
    found = HAPPENED[step.name] = trial.undergo(step)
    if not step.changes:
        assert trial.fingerprints() == before
    return found


@pytest.mark.parametrize(("outcomes", "fault"), CASES, indirect=["outcomes"])
def test_fault(outcomes, fault):
    outcome = outcomes[fault.name]
    assert outcome.named, outcome.said
    assert outcome.serves, outcome.said
    assert outcome.goes_on, outcome.said_then


def test_the_page_tells_it():
    if len(HAPPENED) < len(matrix.STEPS):
        pytest.skip("not all steps were undergone")
    results = {step: {name: found[:3] for name, found in outcomes.items()} for step, outcomes in HAPPENED.items()}
    page.PAGE.write_text(page.render(matrix.STEPS, results))
