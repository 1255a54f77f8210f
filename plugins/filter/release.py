# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What is to be done on a host: the pure functions of _release, for playbooks."""

from __future__ import annotations

from ansible.errors import AnsibleFilterError

from ansible_collections.llmops.nim.plugins.module_utils import _release
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem


def plan(observed, images, commits, weights_dir):
    """The plan of one host; see plan.yml beside this file."""
    try:
        return _release.plans(
            observed["models"], images, commits, observed["assignments"], observed["releases"], weights_dir
        )
    except Problem as problem:
        raise AnsibleFilterError(str(problem)) from None


def staged(plans, snapshots, profiles):
    """The plan with what staging found out; see staged.yml beside this file."""
    by_name = {one["item"]: one for one in snapshots["results"]}
    return [
        _release.staged(planned, by_name[planned["model"]["name"]], listing["selected"])
        for planned, listing in zip(plans, profiles["results"])
    ]


class FilterModule:
    """The filters of this file."""

    def filters(self):
        return {"plan": plan, "staged": staged}
