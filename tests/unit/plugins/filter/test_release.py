# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Filters about what is to be done on a host that are more than a call of a pure function."""

from __future__ import annotations

import pytest

from ansible_collections.llmops.nim.plugins.filter import release


@pytest.mark.parametrize(
    ("plans", "in_sync"),
    [
        ([], True),
        ([("none", None)], True),
        ([("none", None), ("replace", None)], False),
        ([("none", None), ("none", "Two models want port 8000.")], False),
    ],
)
def test_a_host_in_sync_has_nothing_to_do_and_nothing_refused(plans, in_sync):
    assert release.in_sync([{"action": action, "refusal": refusal} for action, refusal in plans]) is in_sync
