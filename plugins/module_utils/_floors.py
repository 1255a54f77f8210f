# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What each generation of NIM asks of a host, as data with its sources, and whether what was found meets it.

Sources are tagged C(documented) (a vendor's page says it), C(observed) (seen in a published log or file),
C(inferred) or C(estimate) (ours).

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from ansible_collections.llmops.nim.plugins.module_utils._contract import GENERATIONS
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem

# Peak of a pull: the compressed layers and what they unpack to (about twice that) lie on the disk together.
IMAGE_UNPACK_FACTOR = 3


class Floor(NamedTuple):
    """The least of something that NIM asks for.

    documented: below it there is at least a warning.
    refused_below: below it the host is refused; None: never. Lower than C(documented) where a success is known.
    source: who says so.
    undercut: the known success below C(documented), if there is one.
    """

    documented: str
    refused_below: str | None
    source: str
    undercut: str = ""


_PREREQUISITES = "documented: NIM for LLMs, prerequisites"
_DRIVER_535 = Floor("535", "535", f"{_PREREQUISITES} of 1.0 to 1.2: driver 535 or newer")
_DRIVER_560 = Floor(
    "560",
    "535.183.01",
    f"{_PREREQUISITES} of 1.3 to 1.10: driver 560 or newer; data-centre GPUs also 470.57+, 525.85+, 535.86+, 550.54+",
    "observed: NIM 1.8.4 served on an RTX 6000 Ada with driver 535.183.01",
)
_DRIVER_575 = Floor(
    "575",
    "535",
    "inferred: the images of 1.12 hold CUDA 12.9, which came with driver 575 (1.15: CUDA 13.0, driver 580); "
    "no floor is documented for 1.11 to 1.15",
)

# (generation, data-centre GPU) -> Floor
DRIVER = {
    ("1.0", False): _DRIVER_535,
    ("1.0", True): _DRIVER_535,
    ("1.3", False): _DRIVER_560,
    ("1.3", True): _DRIVER_560,
    ("1.11", False): _DRIVER_575,
    ("1.11", True): _DRIVER_575,
    ("2", False): Floor("580", "580", f"{_PREREQUISITES} of 2.x: driver 580 or newer"),
    ("2", True): Floor(
        "580",
        "535",
        f"{_PREREQUISITES} of 2.x: driver 580 or newer; data-centre GPUs may use CUDA compatibility from 535",
        "observed: NIM 2.x served on an A100 with driver 565 through CUDA compatibility",
    ),
}

# Branches of the driver that are as good as the floor on data-centre GPUs.
DATA_CENTER_BRANCHES = {"1.3": ("470.57", "525.85", "535.86", "550.54")}

_DOCKER_23 = Floor("23.0.1", "23.0.1", f"{_PREREQUISITES} of 1.x: Docker 23.0.1 or newer")
DOCKER = {
    "1.0": _DOCKER_23,
    "1.3": _DOCKER_23,
    "1.11": _DOCKER_23,
    "2": Floor("24.0", "24.0", f"{_PREREQUISITES} of 2.x: Docker 24.0 or newer"),
}

_TOOLKIT_1_13_5 = Floor("1.13.5", None, "documented for sister NIMs of 1.x: container toolkit 1.13.5 or newer")
TOOLKIT = {
    "1.0": _TOOLKIT_1_13_5,
    "1.3": _TOOLKIT_1_13_5,
    "1.11": _TOOLKIT_1_13_5,
    "2": Floor("1.14.0", None, f"{_PREREQUISITES} of 2.x: container toolkit 1.14.0 or newer"),
}

SIZES = {
    "cpus": Floor("8", None, f"{_PREREQUISITES}: 8 CPU cores or more"),
    "memory_gib": Floor("26", None, f"{_PREREQUISITES}: 5 to 10 GB for the system and 16 GB for Docker"),
    "disk_image_gib": Floor("26", "26", "documented: images from 13 GB; observed: twice that while unpacking"),
    "disk_weights_gib": Floor("3", "3", "observed: the smallest model, Llama 3.2 1B in bf16, has 2.3 GiB of weights"),
    "disk_cache_gib": Floor("4", "4", "observed: the engine built for Llama 3.2 1B takes 3.1 GB"),
}

VERSION_FLOORS = ("driver", "docker", "toolkit")
FLOOR_NAMES = VERSION_FLOORS + tuple(SIZES)


class Verdict(NamedTuple):
    """What a floor says of what was found: severity is C(ok), C(warning) or C(problem)."""

    severity: str
    floor: str
    source: str


_OK = Verdict("ok", "", "")


def version_key(text):
    """The leading numbers of a version (str) as a tuple to compare by; empty when there are none."""
    match = re.match(r"\s*v?([0-9]{1,9}(?:\.[0-9]{1,9})*)", str(text))
    if not match:
        return ()
    key = [int(part) for part in match.group(1).split(".")]
    while key and key[-1] == 0:
        key.pop()
    return tuple(key) or (0,)


def check_floors(floors):
    """The overrides of floors (dict of name to value) with every value as a str; a L(Problem) when one is wrong."""
    checked = {}
    for name, value in floors.items():
        if name not in FLOOR_NAMES:
            raise Problem(
                f"There is no floor named {name}.",
                evidence=f"floors: {name}",
                remedy="Use one of: " + ", ".join(FLOOR_NAMES),
                code="floor_unknown",
            )
        if name in VERSION_FLOORS:
            # YAML reads 20.10 as the number 20.1, which is another version.
            good = not isinstance(value, (bool, float)) and version_key(value)
            wanted = "a version in quotes"
        else:
            good = not isinstance(value, bool) and re.fullmatch(r"[0-9]{1,9}(\.[0-9]+)?", str(value))
            wanted = "a number, 0 or more"
        if not good:
            raise Problem(
                f"The floor {name} is not {wanted}.",
                evidence=f"floors: {name}: {value!r}",
                remedy='Write for example floors: {docker: "20.10", disk_image_gib: 1}',
                code="floor_invalid",
            )
        checked[name] = str(value)
    return checked


def judge_driver(found, of_generation, data_center, override=None):
    """The Verdict on a driver version (str) for a generation (None: unknown) on data-centre GPUs or others (bool)."""

    def by(one):
        for branch in DATA_CENTER_BRANCHES.get(one, ()) if data_center else ():
            if version_key(found)[0] == version_key(branch)[0] and version_key(found) >= version_key(branch):
                return _OK
        return _judge(found, DRIVER[one, data_center], version_key)

    return _by_generation("driver", found, of_generation, by, override)


def judge_version(name, found, of_generation, override=None):
    """The Verdict on a version (str) of C(docker) or C(toolkit) for a generation (None: unknown)."""
    floors = {"docker": DOCKER, "toolkit": TOOLKIT}[name]
    return _by_generation(name, found, of_generation, lambda one: _judge(found, floors[one], version_key), override)


def judge_size(name, found, override=None):
    """The Verdict on an amount (number) by the name of a size; an override keeps the severity of the floor."""
    floor = SIZES[name]
    if override is not None:
        floor = Floor(override, override if floor.refused_below else None, _override_source(name))
    return _judge(found, floor, float)


def size(name, override=None):
    """The amount (float) that the floor called name asks for, and its source."""
    if override is not None:
        return float(override), _override_source(name)
    return float(SIZES[name].documented), SIZES[name].source


def _override_source(name):
    return f"your own floor: {name}"


def _by_generation(name, found, of_generation, judge, override):
    """The verdict for one generation; when it is unknown, refused is only what every generation refuses."""
    if not version_key(found):
        return _OK
    if override is not None:
        never = name == "toolkit"
        return _judge(found, Floor(override, None if never else override, _override_source(name)), version_key)
    if of_generation is not None:
        return judge(of_generation)
    verdicts = [judge(one) for one in GENERATIONS]
    if all(verdict.severity == "problem" for verdict in verdicts):
        return min(verdicts, key=lambda verdict: version_key(verdict.floor))
    newest = verdicts[-1]
    return newest._replace(severity="warning") if newest.severity == "problem" else newest


def _judge(found, floor, key):
    """The Verdict of one Floor on what was found, both made comparable by key."""
    if key(found) >= key(floor.documented):
        return _OK
    refused = floor.refused_below is not None and key(found) < key(floor.refused_below)
    source = floor.source if refused or not floor.undercut else f"{floor.source}; {floor.undercut}"
    return Verdict("problem" if refused else "warning", floor.documented, source)
