# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

import pytest

from ansible_collections.llmops.nim.plugins.module_utils import _outcome


def item(name="capitals", action="replace", predecessor="old", event="activated", strategy="side_by_side"):
    return {
        "model": {"name": name},
        "action": action,
        "release": {"container": f"nim-{name}-new"},
        "predecessor": predecessor and {"container": f"nim-{name}-{predecessor}"},
        "event": event,
        "swap": {"strategy": strategy},
    }


def back(one):
    return dict(one, release=one["predecessor"], predecessor=one["release"], event="rolled_back")


def rows(plan, moved=None, failed=None):
    """What stands of each model."""
    variables = {"nim_plan": plan, "nim_container_releases": [one for one in plan if one["action"] != "none"]}
    variables.update({"nim_container_moved": moved} if moved is not None else {})
    variables.update({"nim_container_failed": failed} if failed else {})
    return [row[1:] for row in _outcome.rows("gpu1", variables)]


NEW = item()


@pytest.mark.parametrize(
    ("plan", "moved", "failed", "row"),
    [
        (item(action="none"), None, None, ["nim-capitals-new", "in sync"]),
        (NEW, [NEW], None, ["nim-capitals-new", "activated, side_by_side"]),
        (NEW, None, None, ["nim-capitals-old", "not touched"]),
        (NEW, None, "it ended", ["nim-capitals-old", "failed, and taken back"]),
        (NEW, [NEW, back(NEW)], None, ["nim-capitals-old", "gone back, side_by_side"]),
        (item(predecessor=None), None, "it ended", ["nothing", "failed, and taken back"]),
        (item(predecessor=None), None, None, ["nothing", "not touched"]),
        (item(event="rolled_back"), [item(event="rolled_back")], None, ["nim-capitals-new", "gone back, side_by_side"]),
    ],
)
def test_who_serves_and_how_that_came(plan, moved, failed, row):
    assert rows([plan], moved, failed) == [["capitals", *row]]


def test_of_several_models_the_first_that_was_not_moved_failed_and_no_further_one_was_touched():
    plan = [item("a"), item("b", action="none"), item("c"), item("d")]
    assert [row[-1] for row in rows(plan, [plan[0]], "it ended")] == [
        "activated, side_by_side",
        "in sync",
        "failed, and taken back",
        "not touched",
    ]


@pytest.mark.parametrize(
    ("fact", "row"),
    [
        ("nim_container_gone", ["unknown", "cannot be reached any more"]),
        ("nim_container_stranded", ["nothing", "failed, and its predecessor does not serve"]),
    ],
)
def test_nobody_is_said_to_serve_who_may_not(fact, row):
    variables = {"nim_plan": [NEW], "nim_container_releases": [NEW], "nim_container_failed": "it ended", fact: True}
    assert _outcome.rows("gpu1", variables) == [["gpu1", "capitals", *row]]


def test_what_was_moved_before_the_failure_goes_back():
    plan = [item("a"), item("c")]
    found = rows(plan, [plan[0], back(plan[0])], "it ended")
    assert [row[1:] for row in found] == [
        ["nim-a-old", "gone back, side_by_side"],
        ["nim-c-old", "failed, and taken back"],
    ]


def test_all_hosts_in_one_table():
    text = _outcome.outcome(
        [
            ("gpu1", {"nim_plan": [NEW], "nim_container_releases": [NEW], "nim_container_moved": [NEW]}),
            ("gpu2", {"nim_plan": [NEW], "nim_container_releases": [NEW], "nim_container_failed": "it ended"}),
            ("gpu3", {"nim_plan": [item(action="none")]}),
            ("gateway1", {}),
        ]
    )
    assert text.splitlines() == [
        "HOST  MODEL     SERVES            OUTCOME",
        "gpu1  capitals  nim-capitals-new  activated, side_by_side",
        "gpu2  capitals  nim-capitals-old  failed, and taken back",
        "gpu3  capitals  nim-capitals-new  in sync",
    ]
