# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What benchmarks say: as a table, beside the release before, and whether that is a regression.

measured: dict of what nim_benchmark returns as C(measured), and a ledger keeps. Pure.
Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

from ansible_collections.llmops.nim.plugins.module_utils import _drift, _endpoints, _table
from ansible_collections.llmops.nim.plugins.module_utils._aiperf import ARGUMENTS, LOAD, PERCENTILES

HEADINGS = ("CLIENTS", "REQUESTS", "FAILED", "FIRST TOKEN ms", "NEXT TOKEN ms", "TOKENS/S", "REQ/S", "BEFORE")
_TOO_MUCH = 1e300
# What is judged of a step: in words, and in which unit.
JUDGED = {
    "ttft": ("time to first token (p50)", " ms"),
    "itl": ("time from token to token (p50)", " ms"),
    "throughput": ("tokens/s", ""),
}


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
    """The newest record (dict, None without one) of another release under the same load; records: of a ledger.

    One that has a reason was taken back for it, and is no release before.
    """
    for one in reversed(records):
        known = load(one.get("measured"))
        same = known and all(known[key] == measured.get(key) for key in LOAD)
        if same and one["release"].get("id") != release and not one.get("reason"):
            return one
    return None


def load(measured):
    """How to measure again in the same way (dict of options of nim_benchmark), with the numbers of clients that were
    served without a failure. None where none were, and where the record is damaged."""
    try:
        steps = sound(measured)
        found = {key: measured[key] for key in LOAD}
        found["concurrency"] = [one["concurrency"] for one in steps]
        # A step sends as many as this, or more for its clients' sake.
        found["requests"] = min(one["requests"] for one in steps)
        counts = [found["input_tokens"], found["output_tokens"], found["requests"], *found["concurrency"]]
        judged = [list(figures(one).values()) for one in steps]
        whole = [
            all(isinstance(one, int) and one > 0 for one in counts),
            all(any(values) and all(0 <= one < _TOO_MUCH for one in values) for values in judged),
            found["api"] in ARGUMENTS["api"]["choices"] and isinstance(found["extra_inputs"], dict),
        ]
    except (AttributeError, LookupError, TypeError, ValueError):
        return None
    return found if all(whole) else None


def figures(step):
    """What is judged of a step (dict of JUDGED to float), as far as it was measured."""
    seen = {
        "ttft": _middle(step, "ttft_ms"),
        "itl": _middle(step, "itl_ms"),
        "throughput": step["output_tokens_per_second"],
    }
    return {key: value for key, value in seen.items() if value is not None}


def changes(measured, reference):
    """How each step differs from the reference's (dict of concurrency to dict of JUDGED), as fractions: 0.1 is 10 %
    more. Only steps without a failed request are compared, and only what both have."""
    return {
        clients: {key: new[key] / value - 1 for key, value in old.items() if value and new.get(key)}
        for clients, (new, old) in _pairs(measured, reference).items()
    }


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
    """What has become worse than by the fraction most (float), or was not measured again, with its figures (list of
    str). Without most, nothing is judged."""
    found = []
    for clients, (new, old) in _pairs(measured, reference).items() if most else ():
        for key, value in ((key, value) for key, value in old.items() if value):
            words, unit = JUDGED[key]
            change = new[key] / value - 1 if key in new else None
            if change is None:
                found.append(f"{clients} clients: {words} was {_number(value)}{unit}, and was not measured now")
            elif (-change if key == "throughput" else change) > most:
                grew = f"{_number(value)} → {_number(new[key])}{unit}, {change:+.1%}"
                found.append(f"{clients} clients: {words} {grew}, {most:.0%} are allowed")
    return found


def _pairs(measured, reference):
    """The figures of the steps without a failed request that both have: dict of concurrency to (new, old)."""
    known = {one["concurrency"]: figures(one) for one in sound(reference)}
    return {
        one["concurrency"]: (figures(one), known[one["concurrency"]])
        for one in sound(measured)
        if one["concurrency"] in known
    }


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
