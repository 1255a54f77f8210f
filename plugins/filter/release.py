# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What is to be done on a host, and how it is told: the pure functions of _plan and _release, for playbooks."""

from __future__ import annotations

from ansible_collections.llmops.nim.plugins.module_utils import _plan, _plan_text, _release


def plan(observed, images, weights, weights_dir):
    """The plan of one host; see plan.yml beside this file."""
    return [_plan_text.told(item) for item in _plan.plans(observed, images, weights, weights_dir)]


def previewed(plans, listings):
    """The plan with profiles looked through beforehand; see previewed.yml beside this file."""
    return [_plan_text.told(item) for item in _plan.previewed(plans, listings)]


def plan_table(plans, hosts):
    """The plans of several hosts in a table; see plan_table.yml beside this file."""
    return _plan_text.plan_table(list(zip(hosts, plans)))


def plan_data(plans, hosts):
    """The plans of several hosts for programs; see plan_data.yml beside this file."""
    return {host: [_plan_text.data(item) for item in items] for host, items in zip(hosts, plans)}


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
        return {
            "plan": plan,
            "plan_data": plan_data,
            "plan_table": plan_table,
            "previewed": previewed,
            "staged": staged,
        }
