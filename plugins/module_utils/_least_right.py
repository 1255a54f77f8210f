# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What a model may only have where its inventory allows it by name, and which releases do without the NGC key.

Pure: judges wishes. Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

import ipaddress
import re

from ansible_collections.llmops.nim.plugins.module_utils._contract import version_of
from ansible_collections.llmops.nim.plugins.module_utils._models import ALL_ADDRESSES, REMOTE_CODE, ROOT
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem

# Documented: since 2.0.10 a key is only for models of the Production Branch (-pbN).
_NO_KEY_SINCE = (2, 0, 10)
_PRODUCTION_BRANCH = re.compile(r"-pb\d+$")

_TRUST = ("NIM_FORCE_TRUST_REMOTE_CODE", "NIM_TRUST_CUSTOM_CODE")
_TRUST_FLAG = re.compile(r"--trust[-_]remote[-_]code\b(?![=\s]+(?:false|0)\b)", re.IGNORECASE)
_OFF = ("", "0", "false", "no", "off")


def problems(model, gateway, rollout):
    """What the model may not have (list of Problem).

    model: dict of MODEL_OPTIONS. gateway: whether it is reached through one. rollout: as in _plan.plans(); without
    C(verify_address) it is not known from where the model is asked.
    """
    found = [_user(model), _code(model)]
    try:
        address = ipaddress.IPv4Address(model["address"])
    except ValueError:
        found.append(
            Problem(
                f"Model {model['name']} is to answer on {model['address']!r}, which is no IPv4 address.",
                remedy="Give an address of the host, such as address: 192.0.2.11, or what the inventory knows it by: "
                'address: "{{ ansible_host }}".',
                code="address_invalid",
            )
        )
    else:
        found += [_exposure(model, address, gateway and rollout.get("gateway_keys")), _reach(model, address, rollout)]
    return [problem for problem in found if problem]


def _allowed(model, what):
    return what in (model.get("allow") or ())


def _user(model):
    if model["uid"] > 0 or (model["uid"] == 0 and _allowed(model, ROOT)):
        return None
    return Problem(
        f"The container of model {model['name']} is to run as root.",
        f"uid: {model['uid']}",
        "Leave uid out, or give another: NIM runs as any, with group 0. If an image insists, set allow: [root].",
        "uid_root",
    )


def _exposure(model, address, keys):
    if not address.is_unspecified or keys or _allowed(model, ALL_ADDRESSES):
        return None
    return Problem(
        f"Model {model['name']} is to answer on all addresses of the host, and nobody is asked for a key.",
        f"address: {address}, and no gateway with gateway_api_keys in front of it; NIM itself asks for no key",
        'Give one address: address: "{{ ansible_host }}". If a firewall keeps strangers out, set '
        "allow: [all_addresses].",
        "address_open",
    )


def _reach(model, address, rollout):
    asked_at = rollout.get("verify_address")
    if not address.is_loopback or asked_at is None or asked_at == "localhost" or asked_at.startswith("127."):
        return None
    return Problem(
        f"Model {model['name']} is to answer on {address} alone, where neither the control node nor a gateway asks it.",
        f"address: {address}; the control node asks at {asked_at}",
        'Give the address by which the host is reached: address: "{{ ansible_host }}". NIM asks nobody for a key, so '
        "let it be a network that you trust.",
        "address_unreachable",
    )


def _code(model):
    variables = {**model["env"], **model["unchecked_env"]}
    trust = [name for name in _TRUST if str(variables.get(name, "")).strip().lower() not in _OFF]
    trust += sorted(name for name, value in variables.items() if _TRUST_FLAG.search(str(value)))
    if not trust or _allowed(model, REMOTE_CODE):
        return None
    return Problem(
        f"Model {model['name']} is to run code that its checkpoint brings.",
        f"{', '.join(trust)} in env",
        "Take it out of env. If you have read that code and trust it, set allow: [remote_code].",
        "remote_code",
    )


def keyless_profiles(model, image, releases, proven):
    """The ids (list of str) of profiles with which a new release needs no NGC key; None: with any.

    A start from a filled cache needs none (documented: the air-gapped start), and what has served from this cache has
    filled it for its image and profile. image: dict of nim_image_info. releases: those of the model on the host.
    proven: ids of those that have served. Without a way to know it, a container gets the key.
    """
    if model.get("ngc_key") == "never" or _wants_none(image):
        return None
    if model.get("ngc_key") == "always":
        return []
    served = (one for one in releases if one["release"] in proven and one["image"] == image["pinned"])
    return sorted({one["profile"] for one in served if one["profile"]})


def _wants_none(image):
    version = version_of(image["nim_version"])
    tag = image["reference"].partition("@")[0]
    return version >= _NO_KEY_SINCE and not _PRODUCTION_BRANCH.search(tag)
