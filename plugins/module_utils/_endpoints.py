# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Which endpoints a run has to verify: from what is known of all hosts to the options of nim_verify.

hosts: list of (host, its variables as Ansible keeps them). Each endpoint: dict of host, base_url, model, api, checks.
Private to the collection: breaking changes at any time.
"""

from __future__ import annotations


def planned(hosts):
    """The endpoints of what a plan has found in sync and of what its run has activated."""
    return [_of_plan(item, host, address(host, known)) for host, known in hosts for item in _served(known)]


def through(gateways, models, scheme, hosts):
    """The same questions once more, through each gateway: its endpoints bear C(gateway: true).

    gateways: list of (host, its variables). models: what stands behind them, of _gateways.behind(). scheme: C(http) or
    C(https).
    """
    asked = {item["model"]["name"]: item for _host, known in hosts for item in _served(known)}
    return [
        dict(
            _of_plan(asked[model["name"]], gateway, address(gateway, known, verify=False), model["port"], scheme),
            gateway=True,
        )
        for gateway, known in gateways
        for model in models
        if model["name"] in asked
    ]


def running(hosts):
    """The endpoints of what runs, by what nim_release_info has found (C(nim_releases)) and C(nim_models) wishes."""
    found = []
    for host, known in hosts:
        checks = {wish["name"]: wish.get("verify") or [] for wish in known.get("nim_models") or []}
        found += [
            {
                "host": host,
                "base_url": f"http://{address(host, known)}:{one['port']}/v1",
                "model": one["served_name"],
                "api": one["labels"]["llmops.nim.api"],
                "checks": checks.get(one["model"], []),
            }
            for one in known["nim_releases"]["releases"]
            if one["running"]
        ]
    return found


def address(host, known, verify=True):
    """Where the control node reaches a host (str); verify: whether the address may be that for verification alone."""
    return (verify and known.get("nim_verify_address")) or known.get("ansible_host") or host


def _served(known):
    in_sync = [item for item in known.get("nim_plan") or [] if item["action"] == "none"]
    return in_sync + list(known.get("nim_container_releases") or [])


def _of_plan(item, host, where, port=None, scheme="http"):
    return {
        "host": host,
        "base_url": f"{scheme}://{where}:{port or item['release']['port']}/v1",
        "model": item["release"]["env"]["NIM_SERVED_MODEL_NAME"],
        "api": item["api"],
        "checks": item["model"]["verify"],
    }
