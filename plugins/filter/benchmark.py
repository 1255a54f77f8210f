# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What is to be measured, and what a measurement says: the pure functions of _benchmark and _gate, for playbooks."""

from __future__ import annotations

from ansible_collections.llmops.nim.plugins.module_utils import _benchmark, _gate


def to_benchmark(known, gateways=(), models=(), scheme="http"):
    """What is to be measured on a host; see to_benchmark.yml beside this file."""
    named = [(one["inventory_hostname"], one) for one in gateways]
    return _benchmark.wanted(known["inventory_hostname"], known, named, models, scheme)


def benchmarked(result, title, reference=None, most=0):
    """What a measurement says; see benchmarked.yml beside this file."""
    measured = result["measured"]
    worse = _benchmark.regressions(measured, (reference or {}).get("measured"), float(most or 0))
    return {
        "text": _benchmark.told(title, measured, reference),
        "wrong": [f"{title}: {text}" for text in ([result["msg"]] if result.get("msg") else []) + worse],
    }


def benchmark_before(result, ledger, release):
    """The benchmark to compare one with; see benchmark_before.yml beside this file."""
    return _benchmark.before(ledger.get("records") or [], release, result["measured"]) or {}


def gates(plan, ledgers, most):
    """How releases are measured before they get requests; see gates.yml beside this file."""
    records = {model: one["records"] for model, one in ledgers["models"].items()}
    return _gate.gates(plan, records, float(most))


def to_gate(planned, address, api):
    """What is to be measured of a release that is ready; see to_gate.yml beside this file."""
    return _gate.staged(planned, address, api)


class FilterModule:
    """The filters of this file."""

    def filters(self):
        return {
            "to_benchmark": to_benchmark,
            "benchmarked": benchmarked,
            "benchmark_before": benchmark_before,
            "gates": gates,
            "to_gate": to_gate,
        }
