# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What stands behind the gateways, and what no gateway can be: pure functions, for playbooks."""

from __future__ import annotations

from ansible.errors import AnsibleFilterError

from ansible_collections.llmops.nim.plugins.module_utils import _gateway_wishes, _gateways
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem, report


def gateway_models(hostvars, hosts):
    """The models behind the gateways; see gateway_models.yml beside this file."""
    found = [
        {
            "host": host,
            "address": hostvars[host].get("nim_gateway_address") or hostvars[host].get("ansible_host") or host,
            "models": hostvars[host].get("nim_models"),
        }
        for host in hosts
    ]
    try:
        return _gateways.behind(found)
    except Problem as problem:
        raise AnsibleFilterError(str(problem)) from None


def gateway_refused(wishes, host):
    """What is wrong with a gateway; see gateway_refused.yml beside this file."""
    found = _gateway_wishes.refusals(host, wishes)
    return report(found) if found else ""


class FilterModule:
    """The filters of this file."""

    def filters(self):
        return {"gateway_models": gateway_models, "gateway_refused": gateway_refused}
