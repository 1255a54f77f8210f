# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What Prometheus is to ask: from the inventory to lists of targets as its file_sd reads them. Pure.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

from ansible_collections.llmops.nim.plugins.module_utils import _endpoints, _gateways
from ansible_collections.llmops.nim.plugins.module_utils._models import slots

# Nobody but the host itself reaches these.
_OWN = ("127.", "localhost", "::1")


def endpoints(hosts):
    """The endpoints (list of dict of targets and labels). hosts: list of (host, its variables).

    A model behind a gateway may answer on either of two ports: both are asked, and one of them is up.
    """
    found = []
    for host, known in hosts:
        for model in _gateways.wishes(known.get("nim_models")):
            if str(model["address"]).startswith(_OWN):
                continue
            address = known.get("nim_gateway_address") or _endpoints.address(host, known, verify=False)
            targets = [f"{address}:{port}" for port in slots(model).values()]
            found.append({"targets": targets, "labels": {"host": host, "model": model["name"]}})
    return found


def hosts(named, variable, default):
    """A target (list of dict) a host, on the port that its variable (str) names, else the default (int); none for 0.

    named: list of (host, its variables).
    """
    found = []
    for host, known in named:
        port = int(known.get(variable) or default)
        if port:
            address = _endpoints.address(host, known, verify=False)
            found.append({"targets": [f"{address}:{port}"], "labels": {"host": host}})
    return found
