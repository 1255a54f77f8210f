# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What is to be done on a host, and how it is told: the pure functions of _plan and _release, for playbooks."""

from __future__ import annotations

from ansible_collections.llmops.nim.plugins.module_utils import (
    _outcome,
    _plan,
    _plan_text,
    _release,
    _rollback,
    _secrets,
)


def plan(observed, images, weights, weights_dir, rollout, wished=()):
    """The plan of one host; see plan.yml beside this file."""
    observed = dict(observed, models=_secrets.restored(observed["models"], wished))
    return [_plan_text.told(item) for item in _plan.plans(observed, images, weights, weights_dir, rollout)]


def in_sync(plans):
    """Whether a host has nothing to do; see in_sync.yml beside this file."""
    return all(item["action"] == "none" and not item["refusal"] for item in plans)


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
    by_model = {one["item"]: one for one in snapshots["results"]}
    listed = {one["item"]: one["selected"] for one in profiles["results"]}

    def complete(planned):
        name = planned["model"]["name"]
        return planned if planned["runs"] else _release.staged(planned, by_model[name], listed[name])

    return [complete(planned) for planned in plans]


def rolled_back(moved):
    """What undoes releases that were activated; see rolled_back.yml beside this file."""
    return [item for item in map(_rollback.back, reversed(moved)) if item]


def rollback_plan(observed, release, rollout):
    """The way of one host back to an earlier release; see rollback_plan.yml beside this file."""
    return _rollback.plans(observed, release or None, rollout)


def outcome(variables):
    """How a run ended; see outcome.yml beside this file."""
    return _outcome.outcome([(one["inventory_hostname"], one) for one in variables])


def serves_nothing(models):
    """Whether a host serves nothing; see serves_nothing.yml beside this file."""
    return models is None


class FilterModule:
    """The filters of this file."""

    def filters(self):
        return {
            "in_sync": in_sync,
            "outcome": outcome,
            "plan": plan,
            "plan_data": plan_data,
            "plan_table": plan_table,
            "previewed": previewed,
            "rollback_plan": rollback_plan,
            "rolled_back": rolled_back,
            "serves_nothing": serves_nothing,
            "staged": staged,
        }
