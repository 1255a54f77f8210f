# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The page of playbooks/report.yml."""

from __future__ import annotations

from ansible_collections.llmops.nim.plugins.module_utils import _clock, _report
from ansible_collections.llmops.nim.plugins.plugin_utils import _page


def report(hostvars, hosts, template):
    """The state of a fleet as a page; see report.yml beside this file."""
    found = {
        host: {
            "releases": hostvars[host].get("nim_releases"),
            "ledgers": hostvars[host].get("nim_ledgers"),
            "observed": hostvars[host].get("gpu_host_observed"),
            "checked": hostvars[host].get("nim_checked"),
            "asked": hostvars[host].get("nim_verified"),
        }
        for host in hosts
    }
    return _page.page(_report.facts(found), template, _clock.now())


class FilterModule:
    """The filter of this file."""

    def filters(self):
        return {"report": report}
