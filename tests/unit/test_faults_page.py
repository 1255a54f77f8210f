# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""docs/faults.md is what the scenario faults wrote when it last ran on this very matrix, and nothing in it failed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

SCENARIO = Path(__file__).resolve().parents[2] / "molecule" / "faults"


@pytest.fixture
def scenario(monkeypatch):
    """The matrix's steps, and the module that makes the page."""
    monkeypatch.syspath_prepend(str(SCENARIO))
    import matrix
    import page

    yield matrix.STEPS, page
    for name in [name for name in sys.modules if name == "page" or name.partition(".")[0] == "matrix"]:
        del sys.modules[name]


def test_the_page_is_of_this_matrix_and_all_went_well(scenario):
    steps, page = scenario
    well = {step.name: {fault.name: (True, True, True) for fault in step.faults} for step in steps}
    assert page.PAGE.read_text() == page.render(steps, well)


def test_a_fault_that_came_out_badly_shows(scenario):
    steps, page = scenario
    results = {step.name: {fault.name: (True, True, True) for fault in step.faults} for step in steps}
    well = page.render(steps, results)
    for place in range(3):
        bad = tuple(number != place for number in range(3))
        results[steps[0].name][steps[0].faults[0].name] = bad
        assert page.render(steps, results).count("**no**") == 1
        assert page.render(steps, results) != well


def test_every_fault_says_what_it_is_about(scenario):
    steps, _page = scenario
    faults = [(step.name, fault) for step in steps for fault in step.faults]
    assert len({(step, fault.name) for step, fault in faults}) == len(faults)
    for _step, fault in faults:
        assert fault.says, fault.name
        assert fault.do or not fault.undo, fault.name
        assert fault.do or fault.at or fault.wrong or fault.wish or fault.killed_at, fault.name
