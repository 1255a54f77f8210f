# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What a gateway cannot be, told before anything is touched.

wishes: dict of the role gateway's variables by their names without C(gateway_), as ``behind()`` of _gateways and the
inventory give them. Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

import re

from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem

# They become lines of HAProxy's configuration as they are.
ADDRESS = re.compile(r"[A-Za-z0-9*:\[][A-Za-z0-9_.:%\]-]*")
TIME = re.compile(r"[0-9]+(us|ms|s|m|h|d)?")
SOCKET = re.compile(r"/[A-Za-z0-9_./-]+")
KEY = re.compile(r"[!-~]+")
TIMES = ("timeout_connect", "timeout_answer", "check_interval")
EVERY_ADDRESS = ("0.0.0.0", "*", "::")


def refusals(host, wishes):
    """All that keeps a host from being this gateway: list of Problem."""
    models = wishes["models"]
    if not models:
        return [
            Problem(
                f"{host} would be a gateway to nothing",
                "gateway_models is empty",
                "give a model a gateway_port, or take the host out of nim_gateways",
                "gateway_empty",
            )
        ]
    return _of_models(host, models, wishes["exporter_port"]) + _of_lines(host, models, wishes) + _of_keys(host, wishes)


def _of_models(host, models, exporter_port):
    names = [re.sub(r"[^A-Za-z0-9_.-]", "_", model["name"]) for model in models]
    ports = [int(model["port"]) for model in models] + ([int(exporter_port)] if exporter_port else [])
    found = [
        Problem(
            f"{host} cannot tell two models apart, or a model and its exporter",
            f"{what}: {', '.join(map(str, values))}",
            remedy,
            "gateway_models_alike",
        )
        for what, values, remedy in (
            ("their names at the gateway", names, "rename one"),
            ("their ports at the gateway", ports, "give each its own"),
        )
        if len(set(values)) < len(values)
    ]
    for model in models:
        for server in model["servers"]:
            if len(set(server["ports"])) != 2:
                found.append(
                    Problem(
                        f"{host} cannot switch between two releases of {model['name']} on {server['host']}",
                        f"ports: {', '.join(map(str, server['ports']))}",
                        "give it two ports, port and second_port",
                        "gateway_ports_not_two",
                    )
                )
    own = {int(port) for model in models for one in model["servers"] if one["host"] == host for port in one["ports"]}
    if own.intersection(ports):
        found.append(
            Problem(
                f"{host} serves models itself, and the gateway wants a port of theirs",
                f"port {', '.join(map(str, sorted(own.intersection(ports))))}",
                "give the model another gateway_port",
                "gateway_port_own",
            )
        )
    return found


def _of_lines(host, models, wishes):
    places = [server["address"] for model in models for server in model["servers"]]
    places += [wishes["bind"], wishes["exporter_bind"]]
    lines = [(str(place), ADDRESS) for place in places] + [(str(wishes[name]), TIME) for name in TIMES]
    wrong = [repr(text) for text, form in lines + [(str(wishes["stats_socket"]), SOCKET)] if not form.fullmatch(text)]
    if not wrong:
        return []
    return [
        Problem(
            f"An address, a time or a path of the gateway {host} has characters that do not belong there",
            ", ".join(wrong),
            "correct it: an address or name, a time such as 5s, the socket's absolute path",
            "gateway_line_unfit",
        )
    ]


def _of_keys(host, wishes):
    if not all(KEY.fullmatch(str(key)) for key in wishes["api_keys"]):
        return [
            Problem(
                "A key in gateway_api_keys is empty or has a character that a header does not carry, such as a space",
                f"one of {len(wishes['api_keys'])} for {host}",
                "make one with openssl rand -hex 32",
                "gateway_key_unfit",
            )
        ]
    if wishes["bind"] in EVERY_ADDRESS and not wishes["api_keys"] and "all_addresses" not in wishes["allow"]:
        return [
            Problem(
                f"{host} would answer on all its addresses and ask nobody for a key",
                f"gateway_bind: {wishes['bind']}",
                "give gateway_api_keys, or one address as gateway_bind; if a firewall keeps strangers out, set "
                "gateway_allow: [all_addresses]",
                "gateway_open",
            )
        ]
    return []
