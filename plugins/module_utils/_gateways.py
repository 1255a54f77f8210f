# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What stands behind the gateways: from the models of all hosts to what the role gateway takes.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

from ansible_collections.llmops.nim.plugins.module_utils._models import MODEL_OPTIONS, slots
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem


def behind(hosts):
    """The models that are reached through gateways: list of dict name, port and servers (dict host, address, ports).

    hosts: list of dict host, address and models (C(nim_models) as the inventory has it). Raises Problem where hosts do
    not agree on a model's gateway_port, or two models want the same.
    """
    found, ports = {}, {}
    for one in hosts:
        for model in wishes(one["models"]):
            if not model["gateway_port"]:
                continue
            name, port = model["name"], model["gateway_port"]
            entry = found.setdefault(name, {"name": name, "port": port, "servers": []})
            if entry["port"] != port or ports.setdefault(port, name) != name:
                raise Problem(
                    f"The gateways cannot answer for model {name} on port {port}.",
                    f"port {entry['port']} is wished for {name} as well, and {ports.get(port, name)} has {port}",
                    "Give each model one gateway_port, the same on all hosts, and no two models the same.",
                    "gateway_port_twice",
                )
            entry["servers"].append(
                {"host": one["host"], "address": one["address"], "ports": list(slots(model).values())}
            )
    return list(found.values())


def wishes(models):
    """The models (list of dict with all of MODEL_OPTIONS) of a host, from C(nim_models) as the inventory has it."""
    found = []
    for wish in models or []:
        try:
            found.append({key: _value(wish.get(key), option) for key, option in MODEL_OPTIONS.items()})
        except ValueError:  # no number: the look at the host refuses it, and says which
            continue
    return found


def _value(given, option):
    """What an inventory gives, as a module would get it: templates make texts of numbers."""
    if given is None or given == "":
        return option.get("default")
    return int(given) if option["type"] == "int" else given
