# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What is to be verified: the pure functions of _endpoints, for playbooks."""

from __future__ import annotations

from ansible_collections.llmops.nim.plugins.module_utils import _endpoints


def endpoints(variables, gateways=(), models=(), scheme="http"):
    """The endpoints of a run's releases; see endpoints.yml beside this file."""
    hosts = _named(variables)
    return _endpoints.planned(hosts) + _endpoints.through(_named(gateways), models, scheme, hosts)


def endpoints_running(variables):
    """The endpoints of what runs; see endpoints_running.yml beside this file."""
    return _endpoints.running(_named(variables))


def _named(variables):
    return [(one["inventory_hostname"], one) for one in variables]


class FilterModule:
    """The filters of this file."""

    def filters(self):
        return {"endpoints": endpoints, "endpoints_running": endpoints_running}
