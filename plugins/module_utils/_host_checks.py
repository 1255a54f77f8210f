# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Is a GPU server fit for its models? Everything that stands in the way, at once. Pure: judges what was observed.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

import re

from ansible_collections.llmops.nim.plugins.module_utils import _floors, _gpu_checks, _gpu_mode_checks
from ansible_collections.llmops.nim.plugins.module_utils._findings import Findings
from ansible_collections.llmops.nim.plugins.module_utils._host import GIB
from ansible_collections.llmops.nim.plugins.module_utils._models import NIM_HOME, slots
from ansible_collections.llmops.nim.plugins.module_utils._ports import overlap
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem

# It becomes a directory and part of a container's name; this is what Docker allows in one.
# In NIM_HOME beside the models' directories.
_TAKEN = ("lock", "weights")
MODEL_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")


def check(seen, models, floors):
    """The Findings on a host.

    seen: dict of host, gpus, images, releases, assignments, gpu_problems (list of (model, Problem)), driver_problem
    (Problem or None), gpu_mode (wished for), gpu_modes (offered), cdi_problem (Problem or None), nim_versions,
    image_bytes and held (dict of port to holders).
    models: list of dict of MODEL_OPTIONS. floors: dict of check_floors().
    """
    findings = Findings()
    _check_models(findings, models)
    if seen["driver_problem"]:
        findings.refuse(seen["driver_problem"])
    else:
        _gpu_checks.check_driver(findings, seen, models, floors)
        for name, problem in seen["gpu_problems"]:
            findings.refuse(problem, [name])
        _gpu_checks.check_use(findings, seen, models)
    _gpu_checks.check_docker(findings, seen, models, floors)
    _gpu_mode_checks.check_mode(findings, seen, models)
    _gpu_checks.check_toolkit(findings, seen, models, floors)
    _check_sizes(findings, seen["host"], floors)
    _check_disks(findings, seen, models, floors)
    check_ports(findings, seen, models)
    return findings


def _check_models(findings, models):
    names = [model["name"] for model in models]
    for name in sorted(set(names)):
        if not MODEL_NAME.fullmatch(name):
            findings.refuse(
                Problem(
                    f"The model name {name!r} cannot be part of a container's name.",
                    remedy="Use letters, digits, dots, dashes and underscores, beginning with a letter or digit.",
                    code="model_name",
                ),
                [name],
            )
        if name in _TAKEN:
            findings.refuse(
                Problem(
                    f"No model can be named {name}: it would get the directory of something else.",
                    evidence=f"{NIM_HOME}/{name} is the collection's own",
                    remedy="Give the model another name.",
                    code="model_name",
                ),
                [name],
            )
        if names.count(name) > 1:
            findings.refuse(
                Problem(
                    f"There are {names.count(name)} models named {name}.",
                    evidence="names in nim_models: " + ", ".join(names),
                    remedy="Give each model of a host its own name.",
                    code="model_twice",
                ),
                [name],
            )
    for index, model in enumerate(models):
        for port in slots(model).values():
            if 1 <= port <= 65535:
                continue
            findings.refuse(
                Problem(
                    f"Model {model['name']} wants port {port}, which does not exist.",
                    remedy="Use a port (and second_port) from 1 to 65535.",
                    code="port_invalid",
                ),
                [model["name"]],
            )
        for other in models[:index]:
            same = set(slots(model).values()) & set(slots(other).values())
            if same and overlap(model["address"], other["address"]) and model["name"] != other["name"]:
                findings.refuse(
                    Problem(
                        f"Models {other['name']} and {model['name']} want the same port {min(same)}.",
                        evidence=f"{other['address']}:{min(same)} and {model['address']}:{min(same)}",
                        remedy="Give each model of a host its own port (and second_port).",
                        code="port_twice",
                    ),
                    [other["name"], model["name"]],
                )


def _check_sizes(findings, host, floors):
    for name, found, text in (
        ("cpus", host["cpus"], f"{host['cpus']} CPU cores"),
        ("memory_gib", host["memory_mib"] and host["memory_mib"] / 1024, "{:.1f} GiB of memory"),
    ):
        if found is None:
            continue
        verdict = _floors.judge_size(name, found, floors.get(name))
        findings.judged(
            verdict,
            Problem(
                f"The host has {text.format(found)}, less than NIM asks for.",
                evidence=f"{text.format(found)}, wanted {verdict.floor}",
                remedy="It may do for a small model. A locally built engine wants as much memory as the GPU has.",
                code=f"{name.partition('_')[0]}_small",
            ),
        )


def needs(seen, models, floors):
    """What has to lie on the disks still: list of (purpose, model or None, GiB, why).

    Images that are on the host need nothing. Weights and cache count for models that are new here: what a further
    revision takes is known, and checked, when it is fetched.
    """
    found = []
    for image in sorted({model["image"] for model in models} - set(seen["images"])):
        size = seen["image_bytes"].get(image)
        override = floors.get("disk_image_gib")
        if size and override is None:
            gib = size * _floors.IMAGE_UNPACK_FACTOR / GIB
            why = (
                f"{size / GIB:.1f} GiB compressed, times {_floors.IMAGE_UNPACK_FACTOR} for download and unpacked "
                "layers side by side (our estimate)"
            )
        else:
            gib, why = _floors.size("disk_image_gib", override)
        found.append(("image", None, gib, f"image {image}: {gib:.1f} GiB, {why}"))
    here = {one["weights"] for one in seen["releases"]}
    for repo in sorted({model["weights"]["repo"] for model in models} - here):
        gib, why = _floors.size("disk_weights_gib", floors.get("disk_weights_gib"))
        found.append(("weights", None, gib, f"weights {repo}: {gib:.1f} GiB, {why}"))
    for model in models:
        if not any(one["model"] == model["name"] for one in seen["releases"]):
            gib, why = _floors.size("disk_cache_gib", floors.get("disk_cache_gib"))
            found.append(("cache", model["name"], gib, f"cache of {model['name']}: {gib:.1f} GiB, {why}"))
    return found


def _check_disks(findings, seen, models, floors):
    by_device = {}
    for purpose, name, gib, why in needs(seen, models, floors):
        for disk in seen["host"]["disks"]:
            if disk["purpose"] == purpose and name in (None, disk["model"]):
                by_device.setdefault(disk["device"], []).append((gib, why, disk))
                break
    for entries in by_device.values():
        disk = entries[0][2]
        wanted, free = sum(gib for gib, dummy, dummy in entries), disk["free_bytes"] / GIB
        if wanted > free:
            findings.refuse(
                Problem(
                    f"The disk at {disk['mount']} is too small: {free:.1f} GiB are free, {wanted:.1f} GiB are needed.",
                    evidence="\n".join(why for dummy, why, dummy in entries),
                    remedy=f"Free {wanted - free:.1f} GiB there, or move what lies there (Docker: data-root in "
                    "/etc/docker/daemon.json; weights: weights_dir). If you know better, set the floors "
                    + ", ".join(sorted({f"disk_{entry[2]['purpose']}_gib" for entry in entries}))
                    + " (gpu_host_floors in the role).",
                    code="disk_too_small",
                )
            )


def check_ports(findings, seen, models):
    """Refuses ports of models that somebody else holds; of seen C(held) is needed."""
    for model in models:
        held = [(port, holder) for port in slots(model).values() for holder in seen["held"].get(port, [])]
        for port, holder in held:
            if holder["model"] == model["name"] or not overlap(model["address"], holder["address"]):
                continue
            findings.refuse(_port_problem(model, port, holder), [model["name"]])
            break


def _port_problem(model, port, holder):
    pid = holder["pid"]
    process = f"process {holder['process']} (pid {pid})" if pid else "a process that only root can see"
    where = f"{holder['address']}:{port}"
    if holder["leftover"]:
        return Problem(
            f"Port {port}, which model {model['name']} wants, is held by a leftover docker-proxy (pid {pid}).",
            evidence=f"{process} listens on {where}, and no running container publishes that port",
            remedy=f"kill {pid} (restarting Docker helps too, but interrupts its containers)",
            code="port_in_use",
        )
    if holder["container"]:
        of = f" (a release of model {holder['model']})" if holder["model"] else ""
        return Problem(
            f"Port {port}, which model {model['name']} wants, is held by container {holder['container']}{of}.",
            evidence=f"container {holder['container']} has {where}" + (f", {process}" if pid else ""),
            remedy=f"Stop that container (docker stop {holder['container']}) or give the model another port.",
            code="port_in_use",
        )
    return Problem(
        f"Port {port}, which model {model['name']} wants, is held by {process}.",
        evidence=f"{process} listens on {where}",
        remedy="Stop it or give the model another port."
        + ("" if pid else " Run the play with become: true to see which process it is."),
        code="port_in_use",
    )
