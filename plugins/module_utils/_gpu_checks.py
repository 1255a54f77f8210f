# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Is the way from a container to the GPU open: driver, GPUs, Docker, container toolkit? Pure: judges what was observed.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

import re

from ansible_collections.llmops.nim.plugins.module_utils import _contract, _floors
from ansible_collections.llmops.nim.plugins.module_utils._gpu_mode import CDI
from ansible_collections.llmops.nim.plugins.module_utils._gpus import busy, show
from ansible_collections.llmops.nim.plugins.module_utils._host_docker import unreachable
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem

# Skips the check of NIM 1.x that nearly all of a GPU's memory is free (observed in use from 1.8 on).
_RELAX = "NIM_RELAX_MEM_CONSTRAINTS"
_SHARE = "from NIM 1.8 on, memory_share lets it start beside others and limits what it takes."

CONFIGURE_DOCKER = "nvidia-ctk runtime configure --runtime=docker && systemctl restart docker"


def _speaks(seen, model):
    """The NIM version of a model's image, as resolved or as the image on the host says, and its generation."""
    version, contract = contract_of(seen, model)
    return version, contract.generation if contract else None


def contract_of(seen, model):
    """The same version, and the Contract that the image speaks, or None."""
    image = model["image"]
    version = seen["nim_versions"].get(image) or seen["images"].get(image, {}).get("nim_version")
    name = _contract.contract_name(image, version, model["contract"])
    return version, _contract.CONTRACTS.get(name)


def _by(models, key):
    """Names of models by what key says of each, in the order of the models."""
    groups = {}
    for model in models:
        groups.setdefault(key(model), []).append(model["name"])
    return groups


def called(version):
    return f"NIM {version}" if version else "a NIM of unknown version"


def _override(verdict, name, found):
    if verdict.severity != "problem":
        return ""
    value = re.split(r"[^0-9.]", found)[0]
    return f' To go on anyway, lower the floor by name: floors: {{{name}: "{value}"}} (gpu_host_floors in the role).'


def check_driver(findings, seen, models, floors):
    found = seen["host"]["driver"]["version"] or ""

    def key(model):
        gpus = seen["assignments"].get(model["name"]) or seen["gpus"]
        return _speaks(seen, model), bool(gpus) and all(gpu["data_center"] for gpu in gpus)

    for ((version, generation), data_center), names in _by(models, key).items():
        verdict = _floors.judge_driver(found, generation, data_center, floors.get("driver"))
        below = "is too old" if verdict.severity == "problem" else "is older than what is documented"
        findings.judged(
            verdict,
            Problem(
                f"The NVIDIA driver {found} {below} for {called(version)}.",
                evidence=f"driver {found}, wanted {verdict.floor} or newer"
                f" ({'data-centre' if data_center else 'workstation or other'} GPU)",
                remedy=f"Install driver {verdict.floor} or newer and reboot." + _override(verdict, "driver", found),
                code="driver_too_old",
            ),
            names,
        )


def check_use(findings, seen, models):
    """What is known to go wrong with GPUs that are there: MIG, memory in use, several models on one."""
    relaxed = {model["name"] for model in models if model["memory_share"] or str(model["env"].get(_RELAX)) == "1"}
    users = {}
    for name, gpus in seen["assignments"].items():
        own = {uuid for one in seen["releases"] if one["running"] and one["model"] == name for uuid in one["gpus"]}
        for gpu in gpus:
            users.setdefault(gpu["index"], []).append(name)
            if gpu["mig"]:
                findings.warn(
                    Problem(
                        f"GPU {gpu['index']}, which model {name} is to have, is in MIG mode.",
                        evidence=show([gpu]),
                        remedy=f"Switch it off (nvidia-smi -i {gpu['index']} -mig 0) or choose another GPU.",
                        code="gpu_mig",
                        source="documented: NIM 1.7 and 1.11 don't support MIG; 1.13 and 1.15 do, for small models",
                    ),
                    [name],
                )
            if busy(gpu) and gpu["uuid"] not in own and name not in relaxed:
                findings.warn(
                    Problem(
                        f"GPU {gpu['index']}, which model {name} is to have, is in use.",
                        evidence=f"{gpu['memory_used_mib']} of {gpu['memory_total_mib']} MiB are used",
                        remedy=f"Stop what uses it (nvidia-smi names it) or choose another GPU; {_SHARE}",
                        code="gpu_busy",
                        source=_contract.FREE_GPU_SOURCE,
                    ),
                    [name],
                )
    for index, names in sorted(users.items()):
        if len(names) > 1 and not relaxed.issuperset(names):
            findings.warn(
                Problem(
                    f"Models {', '.join(names)} are to share GPU {index}.",
                    evidence=f"gpus of each: {index}",
                    remedy=f"Give each its own GPU; or, where they fit together: {_SHARE}",
                    code="gpu_shared",
                    source=_contract.FREE_GPU_SOURCE,
                ),
                names,
            )


def check_docker(findings, seen, models, floors):
    docker = seen["host"]["docker"]
    if not docker["reachable"]:
        findings.refuse(unreachable(docker))
        return
    found = docker["version"]
    for (version, generation), names in _by(models, lambda model: _speaks(seen, model)).items():
        verdict = _floors.judge_version("docker", found, generation, floors.get("docker"))
        findings.judged(
            verdict,
            Problem(
                f"Docker {found} is older than {called(version)} asks for.",
                evidence=f"Docker {found}, wanted {verdict.floor} or newer",
                remedy=f"Install Docker Engine {verdict.floor} or newer." + _override(verdict, "docker", found),
                code="docker_too_old",
            ),
            names,
        )
    if docker["rootless"]:
        findings.warn(
            Problem(
                "Docker runs rootless.",
                evidence="docker info: name=rootless",
                remedy="Use the Docker Engine of the system; if not, see to no-cgroups in the toolkit's configuration.",
                code="docker_rootless",
                source='observed: rootless Docker breaks --gpus "device=0"',
            )
        )


def check_toolkit(findings, seen, models, floors):
    toolkit = seen["host"]["toolkit"]
    if toolkit:
        found = toolkit["version"]
        for (version, generation), names in _by(models, lambda model: _speaks(seen, model)).items():
            verdict = _floors.judge_version("toolkit", found, generation, floors.get("toolkit"))
            findings.judged(
                verdict,
                Problem(
                    f"The NVIDIA container toolkit {found} is older than {called(version)} asks for.",
                    evidence=f"container toolkit {found}, wanted {verdict.floor} or newer",
                    remedy=f"Install nvidia-container-toolkit {verdict.floor} or newer.",
                    code="toolkit_too_old",
                ),
                names,
            )
        return
    by_cdi = CDI in seen["gpu_modes"]
    (findings.warn if by_cdi else findings.refuse)(
        Problem(
            "The NVIDIA container toolkit is missing.",
            evidence="no nvidia-ctk and no nvidia-container-cli"
            + ("; Docker hands out GPUs by a CDI specification" if by_cdi else ""),
            remedy=f"Install the package nvidia-container-toolkit, then: {CONFIGURE_DOCKER}",
            code="toolkit_missing",
            source="observed: a hand-written CDI specification serves without it" if by_cdi else "",
        )
    )
