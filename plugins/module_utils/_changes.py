# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""In what a wished release differs from one that runs, key by key.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

import re

from ansible_collections.llmops.nim.plugins.module_utils._gpu_mode import HOOK
from ansible_collections.llmops.nim.plugins.module_utils._models import LABEL

# The keys of nim_models, by the labels that carry them.
_LABELS = {
    "image": "image",
    "contract": "contract",
    "weights": "weights.repo",
    "commit": "weights",
    "gpus": "gpus",
    "address": "address",
    "port_wish": "port",
    "served_name": "served_name",
    "profile_wish": "profile",
}
# Said by other keys.
_UNTOLD = {"NIM_CUSTOM_MODEL_NAME", "NIM_SERVED_MODEL_NAME"}
_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSW|CREDENTIAL", re.IGNORECASE)
_UNITS = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}


def changes(wanted, old):
    """The differences, list of dict key, from, to (str; C(-) for not set).

    wanted: dict of _release.release(). old: a release on the host, of gpu_host_info.
    """
    found = []

    def differ(key, before, after):
        if before != after:
            found.append({"key": key, "from": "-" if before is None else before, "to": "-" if after is None else after})

    for label, key in _LABELS.items():
        differ(key, old["labels"].get(LABEL + label), wanted["labels"].get(LABEL + label))
    differ("gpu_mode", old["labels"].get(LABEL + "gpu_mode", HOOK), wanted["gpu_mode"])
    settings = old["settings"]
    # The container has the image's own variables as well; the label names those that it was given.
    given = set(filter(None, old["labels"].get(LABEL + "env", "").split(",")))
    for name in sorted({*given, *wanted["env"]} - _UNTOLD):
        before = settings["env"].get(name) if name in given else None
        if not _SECRET.search(name):
            differ(f"env.{name}", before, wanted["env"].get(name))
    size = size_bytes(wanted["shm_size"])
    if None not in (size, settings["shm_size"]):
        differ("shm_size", _size(settings["shm_size"]), _size(size))
    differ("uid", (settings["user"] or "").partition(":")[0], wanted["user"].partition(":")[0])
    return found


def size_bytes(text):
    """A size as Docker takes it (str such as C(16g)) in bytes, or None when it is none."""
    match = re.fullmatch(r"([0-9]{1,12}(?:\.[0-9]+)?)\s*([kmg]?)b?", str(text).strip().lower())
    return int(float(match.group(1)) * _UNITS[match.group(2)]) if match else None


def _size(size):
    for unit in ("g", "m", "k"):
        if size and size % _UNITS[unit] == 0:
            return f"{size // _UNITS[unit]}{unit}"
    return str(size)
