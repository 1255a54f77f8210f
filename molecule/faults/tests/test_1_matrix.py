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


def outcomes(step):
    """What came of the faults of a step (dict), which happen once, together, before the first of them is judged."""
    if step.name not in HAPPENED:
        before = trial.fingerprints()
        HAPPENED[step.name] = trial.undergo(step)
        if not step.changes:
            assert trial.fingerprints() == before
    return HAPPENED[step.name]


@pytest.mark.parametrize(("step", "fault"), CASES)
def test_fault(step, fault):
    outcome = outcomes(step)[fault.name]
    assert outcome.named, outcome.said
    assert outcome.serves, outcome.said
    assert outcome.goes_on, outcome.said_then


def test_the_page_tells_it():
    if len(HAPPENED) < len(matrix.STEPS):
        pytest.skip("not all steps were undergone")
    results = {step: {name: found[:3] for name, found in happened.items()} for step, happened in HAPPENED.items()}
    page.PAGE.write_text(page.render(matrix.STEPS, results))
