# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What Prometheus asks, and what hosts leave for it: the pure functions of _watch and _metrics, for playbooks."""

from __future__ import annotations

from ansible_collections.llmops.nim.plugins.module_utils import _metrics, _watch


def metrics(checked, releases=None):
    """What a host says of itself; see metrics.yml beside this file."""
    return _metrics.exposition(checked, releases)


def watch_endpoints(variables):
    """The endpoints to ask; see watch_endpoints.yml beside this file."""
    return _watch.endpoints(_named(variables))


def watch_hosts(variables, variable, default=0):
    """The exporters to ask; see watch_hosts.yml beside this file."""
    return _watch.hosts(_named(variables), variable, default)


def _named(variables):
    return [(one["inventory_hostname"], one) for one in variables]


class FilterModule:
    """The filters of this file."""

    def filters(self):
        return {"metrics": metrics, "watch_endpoints": watch_endpoints, "watch_hosts": watch_hosts}
