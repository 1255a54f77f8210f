# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Does the way by which containers are to be given GPUs work on a host? Pure: judges what was observed.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

from ansible_collections.llmops.nim.plugins.module_utils import _contract, _floors
from ansible_collections.llmops.nim.plugins.module_utils._cdi import GENERATE
from ansible_collections.llmops.nim.plugins.module_utils._gpu_checks import CONFIGURE_DOCKER, called, contract_of
from ansible_collections.llmops.nim.plugins.module_utils._gpu_mode import CDI, HOOK
from ansible_collections.llmops.nim.plugins.module_utils._gpus import show
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem

# The first Docker that brings containers with GPUs by CDI back when it starts: those before know CDI too late.
RESTARTS_CDI = "28.2"


def check_mode(findings, seen, models):
    """Can Docker hand out GPUs in the way that is wished for, and these very GPUs?"""
    docker, wish = seen["host"]["docker"], seen["gpu_mode"]
    if not docker["reachable"]:
        return
    if not seen["gpu_modes"]:
        if wish == CDI:
            findings.refuse(seen["cdi_problem"])
        elif seen["host"]["toolkit"] or docker["cdi"]["specs"]:
            findings.refuse(_no_gpus(wish, seen["cdi_problem"]))
        return
    if seen["gpu_modes"][0] == HOOK:
        return
    _check_cdi_devices(findings, seen, docker["cdi"])
    _check_restart(findings, docker, models)
    driver = (seen["host"]["driver"] or {}).get("version")
    for model in models:
        version, contract = contract_of(seen, model)
        trap = contract and contract.cdi_trap
        if driver and trap and _floors.version_key(driver) >= _floors.version_key(trap):
            findings.warn(
                Problem(
                    f"{called(version)} may not find CUDA where CDI hands over the GPU.",
                    evidence=f"driver {driver}, GPUs by CDI",
                    remedy="If it ends with error 803: nim_container_gpu_mode: gpus, or unchecked_env: "
                    "{LD_LIBRARY_PATH: …} with the folder of the host's libcuda.so.1 first.",
                    code="cdi_error_803",
                    source=_contract.CDI_TRAP_SOURCE,
                ),
                [model["name"]],
            )


def _no_gpus(wish, cdi_problem):
    hook = "dockerd knows no runtime named nvidia and finds no nvidia-container-runtime-hook on its PATH"
    if wish == HOOK or cdi_problem is None:
        by_cdi = "; by CDI it could (nim_container_gpu_mode: auto or cdi)" if cdi_problem is None else ""
    else:
        by_cdi = f"; by CDI neither: {cdi_problem.what} {cdi_problem.evidence}"
    return Problem("Docker cannot hand out GPUs.", hook + by_cdi, CONFIGURE_DOCKER, "docker_no_gpus")


def _check_cdi_devices(findings, seen, cdi):
    for name, gpus in seen["assignments"].items():
        missing = [gpu for gpu in gpus if not gpu["cdi_devices"]]
        if missing:
            findings.refuse(
                Problem(
                    f"CDI does not know GPU {missing[0]['index']}, which model {name} is to have.",
                    evidence=f"{', '.join(cdi['specs'])}: {', '.join(cdi['devices'])}; the GPU:\n{show(missing)}",
                    remedy=f"Write the specification anew: {GENERATE}",
                    code="cdi_device_missing",
                ),
                [name],
            )


def _check_restart(findings, docker, models):
    if models and _floors.version_key(docker["version"]) < _floors.version_key(RESTARTS_CDI):
        findings.warn(
            Problem(
                f"Docker {docker['version']} does not start again at boot what has its GPUs by CDI.",
                evidence=f"Docker {docker['version']}; before {RESTARTS_CDI} it starts them before it knows CDI",
                remedy=f"Install Docker Engine {RESTARTS_CDI} or newer, or hand out GPUs by the runtime hook (gpus). "
                "After a reboot: docker start with the container's name.",
                code="cdi_no_restart",
                source='observed with Docker 26.1.5: could not select device driver "cdi" with capabilities: []',
            ),
            [model["name"] for model in models],
        )
