# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What benchmarks say: as a table, beside the release before, and whether that is a regression.

measured: dict of what nim_benchmark returns as C(measured), and a ledger keeps. Pure.
Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

from ansible_collections.llmops.nim.plugins.module_utils import _drift, _endpoints, _table
from ansible_collections.llmops.nim.plugins.module_utils._aiperf import LOAD, PERCENTILES

HEADINGS = ("CLIENTS", "REQUESTS", "FAILED", "FIRST TOKEN ms", "NEXT TOKEN ms", "TOKENS/S", "REQ/S", "BEFORE")


def wanted(host, known, gateways, models, scheme):
    """What is to be measured on a host (list of dict, as the filter to_benchmark tells it).

    known: the host's variables, with nim_releases. gateways: list of (host, its variables); where there is one, the
    models (of _gateways.behind()) whose first server is this host are measured through the first gateway.
    """
    found = []
    through = {one["name"]: one for one in models if one["servers"] and one["servers"][0]["host"] == host}
    for release in known["nim_releases"]["releases"]:
        if not release["running"] or (gateways and release["model"] not in through):
            continue
        base_url = f"http://{_endpoints.address(host, known)}:{release['port']}/v1"
        if gateways:
            name, variables = gateways[0]
            where = _endpoints.address(name, variables, verify=False)
            base_url = f"{scheme}://{where}:{through[release['model']]['port']}/v1"
        found.append(
            {
                "container": release["container"],
                "model": release["model"],
                "release": release["release"],
                "base_url": base_url,
                "served_name": release["served_name"],
                "api": release["labels"]["llmops.nim.api"],
                "snapshot": _drift.snapshot(release),
            }
        )
    return found


def before(records, release, measured):
    """The newest record (dict, None without one) of another release under the same load; records: of a ledger."""
    for one in reversed(records):
        known = one.get("measured") or {}
        if one["release"].get("id") != release and all(known.get(key) == measured.get(key) for key in LOAD):
            return one
    return None


def changes(measured, reference):
    """How each step differs from the reference's (dict of concurrency to dict of C(ttft), C(itl), C(throughput)), as
    fractions: 0.1 is 10 % more. Only steps without a failed request are compared, and only what both have."""
    known = {one["concurrency"]: one for one in sound(reference)}
    found = {}
    for one in sound(measured):
        other = known.get(one["concurrency"])
        if other:
            pairs = {
                "ttft": (_middle(one, "ttft_ms"), _middle(other, "ttft_ms")),
                "itl": (_middle(one, "itl_ms"), _middle(other, "itl_ms")),
                "throughput": (one["output_tokens_per_second"], other["output_tokens_per_second"]),
            }
            found[one["concurrency"]] = {key: new / old - 1 for key, (new, old) in pairs.items() if new and old}
    return found


def sound(measured):
    """The steps (list of dict) without a failed request."""
    return [one for one in (measured or {}).get("steps") or [] if not one["failed"] and one["requests"]]


def points(measured):
    """What a chart shows of the steps without a failed request (list of dict, all numbers or None)."""
    return [
        {
            "concurrency": int(one["concurrency"]),
            "requests": int(one["requests"]),
            "throughput": _float(one["output_tokens_per_second"]),
            "per_second": _float(one["requests_per_second"]),
            "ttft": [_float((one["ttft_ms"] or {}).get(key)) for key in PERCENTILES],
            "itl": [_float((one["itl_ms"] or {}).get(key)) for key in PERCENTILES],
        }
        for one in sound(measured)
    ]


def regressions(measured, reference, most):
    """What has become worse than by the fraction most (float) (list of str). Without most, nothing is judged."""
    if not most:
        return []
    words = {"ttft": "time to first token (p50)", "itl": "time from token to token (p50)", "throughput": "tokens/s"}
    found = []
    for clients, seen in changes(measured, reference).items():
        for key, change in seen.items():
            if (-change if key == "throughput" else change) > most:
                found.append(f"{clients} clients: {words[key]} {change:+.1%}, {most:.0%} are allowed")
    return found


def told(title, measured, reference):
    """A benchmark (str) for people: a row a step, and what was not measured."""
    compared = changes(measured, (reference or {}).get("measured"))
    load = f"{measured['input_tokens']} tokens in, up to {measured['output_tokens']} out, by {measured['tool']}"
    lines = [f"{title}: {load}"]
    rows = [_row(one, compared.get(one["concurrency"], {})) for one in measured["steps"]]
    if rows:
        lines.append(_table.table(HEADINGS, rows, _table.WIDTH))
        lines.append(f"times: {', '.join(PERCENTILES)}; before: first token, next token, tokens/s")
    if reference:
        lines.append(f"before: release {reference['release'].get('id')}, {reference['at']}")
    if measured["missing"]:
        lines.append(f"not measured: {', '.join(map(str, measured['missing']))} clients")
    lines += [f"{one['concurrency']} clients: {error}" for one in measured["steps"] for error in one["errors"]]
    return "\n".join(lines)


def _row(step, seen):
    return [
        str(step["concurrency"]),
        str(step["requests"]),
        str(step["failed"]),
        _spread(step["ttft_ms"]),
        _spread(step["itl_ms"]),
        _number(step["output_tokens_per_second"]),
        _number(step["requests_per_second"]),
        " ".join(f"{seen[key]:+.0%}" if key in seen else "-" for key in ("ttft", "itl", "throughput")) if seen else "-",
    ]


def _spread(found):
    return " ".join(_number(found[key]) for key in PERCENTILES) if found else "-"


def _number(value):
    return "-" if value is None else f"{value:.0f}" if value >= 100 else f"{value:.1f}"


def _float(value):
    return None if value is None else float(value)


def _middle(step, key):
    return (step.get(key) or {}).get("p50")
