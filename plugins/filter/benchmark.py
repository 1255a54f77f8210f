# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What is to be measured, and what a measurement says: the pure functions of _benchmark, for playbooks."""

from __future__ import annotations

from ansible_collections.llmops.nim.plugins.module_utils import _benchmark


def to_benchmark(known, gateways=(), models=(), scheme="http"):
    """What is to be measured on a host; see to_benchmark.yml beside this file."""
    named = [(one["inventory_hostname"], one) for one in gateways]
    return _benchmark.wanted(known["inventory_hostname"], known, named, models, scheme)


def benchmarked(result, title, ledger=None, release=None, most=0):
    """What a measurement says; see benchmarked.yml beside this file."""
    measured = result["measured"]
    reference = _benchmark.before((ledger or {}).get("records") or [], release, measured)
    worse = _benchmark.regressions(measured, (reference or {}).get("measured"), float(most or 0))
    return {
        "text": _benchmark.told(title, measured, reference),
        "wrong": [f"{title}: {text}" for text in ([result["msg"]] if result.get("msg") else []) + worse],
    }


class FilterModule:
    """The filters of this file."""

    def filters(self):
        return {"to_benchmark": to_benchmark, "benchmarked": benchmarked}
