#!/usr/bin/python
# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: gpu_host_info
short_description: Read all of a GPU server that matters for NIM, and say what stands in the way
version_added: 0.1.0
author: The llmops.nim authors (@llmops)
description:
  - Reads, in one call, GPUs and driver, container toolkit, Docker, memory, disks, the wanted ports, what the models'
    containers do, and judges whether the host is fit for its models. All problems are told at once, each with evidence
    and remedy.
  - A finding is never a failure of the module. It fails for wrong options alone; RV(problems) says whether to go on.
  - What is known to fail is a problem. A documented floor below which a success is known is a warning, with its source.
  - Wants root for two things, the process behind a port and the search path of dockerd; without root they stay unknown.
extends_documentation_fragment:
  - llmops.nim.reads_only
  - llmops.nim.nim_models
  - llmops.nim.commands
  - llmops.nim.commands.nvidia_smi
options:
  nim_versions:
    description:
      - NIM version by image reference, as M(llmops.nim.nim_image_info) found it. For an image that is not named here
        the version is taken from the image, if that is on the host.
      - Where it stays unknown, only that is a problem which every generation of NIM refuses.
    type: dict
    default: {}
  image_digests:
    description:
      - Digest by image reference, as C(repository@sha256:...). With a digest only that image counts as present.
    type: dict
    default: {}
  image_bytes:
    description: Compressed size in bytes by image reference, to know how much disk a pull takes.
    type: dict
    default: {}
  weights_dir:
    description: Where the weights will lie.
    type: path
    default: /var/lib/nim/weights
  snapshots:
    description:
      - Snapshots to look for beneath O(weights_dir), each C(org/repo@commit) with the whole commit, as
        RV(llmops.nim.nim_weights_info#module:snapshots) names them. See RV(snapshots).
    type: list
    elements: str
    default: []
  floors:
    description:
      - Floors to set otherwise, by name. C(driver), C(docker) and C(toolkit) are versions in quotes; C(cpus),
        C(memory_gib), C(disk_image_gib), C(disk_weights_gib) and C(disk_cache_gib) are numbers.
      - Below a floor of one's own C(toolkit), C(cpus) and C(memory_gib) warn and the others are problems, as before.
    type: dict
    default: {}
  gpu_mode:
    description:
      - How containers are to be given their GPUs, V(gpus) by NVIDIA's runtime or hook (C(docker run --gpus)), V(cdi) by
        the Container Device Interface (C(--device nvidia.com/gpu=...), from Docker 25 on), V(auto) by what the server
        offers, V(gpus) first.
    type: str
    choices: [auto, gpus, cdi]
    default: auto
"""

EXAMPLES = r"""
- name: Look at the host
  llmops.nim.gpu_host_info:
    models: "{{ nim_models }}"
  register: observed

- name: Go no further with a host that is not fit
  ansible.builtin.fail:
    msg: "{{ observed.report }}"
  when: observed.problems | length > 0

- name: Accept an older Docker and a small disk
  llmops.nim.gpu_host_info:
    models:
      - name: capitals
        image: nvcr.io/nim/meta/llama-3.2-1b-instruct:1.8.4
        weights: {repo: example/Llama-3.2-1B-capitals}
        gpus: [0]
    nim_versions:
      nvcr.io/nim/meta/llama-3.2-1b-instruct:1.8.4: 1.8.4
    floors: {docker: "20.10", disk_image_gib: 1}
"""

RETURN = r"""
models:
  description: O(models) with every default filled in.
  returned: success
  type: list
  elements: dict
host:
  description: The host.
  returned: success
  type: dict
  contains:
    hostname:
      description: Its own name.
      type: str
    os:
      description: The distribution, with C(id), C(version) and C(family) (V(debian), V(rhel), V(suse) or the id).
      type: dict
    cpus:
      description: CPU cores.
      type: int
    memory_mib:
      description: Memory in MiB.
      type: int
    memory_available_mib:
      description: Memory that new processes can have, in MiB.
      type: int
    python:
      description: >-
        The Python that runs modules, with C(version), and C(requests) and C(libtorrent), their versions or null.
      type: dict
    driver:
      description: The NVIDIA driver, with C(version) and C(cuda_version); null when nvidia-smi fails.
      type: dict
    toolkit:
      description: The NVIDIA container toolkit, with C(version); null when there is none.
      type: dict
    docker:
      description: >-
        Docker, with C(installed), C(reachable), C(error) (why not), C(version), C(root_dir), C(storage_driver),
        C(rootless), C(gpus) (can it hand out GPUs by C(--gpus)?), C(gpus_via) (V(runtime), V(hook) or null) and
        C(cdi), which has C(works), C(why) (not, as a text, else null), C(specs) (files) and C(devices) (names).
      type: dict
    git:
      description: Version of git, or null.
      type: str
    git_lfs:
      description: Version of git-lfs, or null.
      type: str
    disks:
      description: >-
        Where image, weights and caches will lie, each with C(purpose) (V(image), V(weights) or V(cache)), C(model) (of
        a cache, else null), C(path) (what of it exists), C(mount), C(device), C(free_bytes) and C(total_bytes).
      type: list
      elements: dict
    ports:
      description: >-
        The wanted ports, each with C(port) and C(holder), null or a dict of C(address), C(process), C(pid),
        C(container), C(model) (whose release the container is) and C(leftover) (a docker-proxy without a container).
      type: list
      elements: dict
gpus:
  description: >-
    The GPUs, in the order of their indexes. C(cdi_devices) are the names under which a CDI specification hands them
    out, C(nvidia.com/gpu=) left away. Their C(processes) are those that compute and that C(nvidia-smi) names;
    null stands for what it does not say of one.
  returned: success
  type: list
  elements: dict
  sample:
    - index: 0
      uuid: GPU-657f3f41-88fb-84c3-674b-df3e28034377
      name: NVIDIA H100 80GB HBM3
      pci_bus_id: "00000000:00:06.0"
      pci_device_id: 2330:10de
      memory_total_mib: 81559
      memory_used_mib: 8719
      compute_capability: "9.0"
      architecture: Hopper
      data_center: true
      mig: false
      utilization_percent: 0
      cdi_devices: ["0", GPU-657f3f41-88fb-84c3-674b-df3e28034377]
      processes: [{pid: 4711, name: python3, used_memory_mib: 8710}]
images:
  description: >-
    Those images of O(models) that are on the host, by reference, each with C(id), C(digests), C(bytes) (unpacked),
    C(nim_version), and those of C(labels) and C(env) that tell of NIM.
  returned: success
  type: dict
releases:
  description: >-
    The NIM containers of this collection, running or not, by model, running ones first, newest first. Each has
    C(id) (of the container), C(model), C(release), C(container), C(running), C(status), C(exit_code), C(restarting),
    C(restart_count), C(created), C(started), C(image), C(weights), C(commit), C(profile), C(profile_name), C(gpus)
    (UUIDs), C(port), C(served_name), C(labels), C(settings), C(missing_mounts) (what it mounts and the host does not
    have) and C(memory_mib).
  returned: success
  type: list
  elements: dict
  contains:
    settings:
      description: >-
        What the container was started with, C(env) (its C(NIM_*) variables, those of the image included, without
        what may be a secret), C(shm_size) in bytes, C(user), and C(mounts), its bind mounts as C(source:target:mode),
        in order.
      type: dict
      sample:
        env: {NIM_FT_MODEL: /model, NIM_SERVED_MODEL_NAME: capitals}
        shm_size: 17179869184
        user: "1000:0"
        mounts: ["/var/lib/nim/capitals/cache:/opt/nim/.cache:rw"]
    memory_mib:
      description: >-
        GPU memory in MiB that the container holds, by UUID of each GPU that it was given or is seen on; empty when it
        does not run. Where C(nvidia-smi) does not name who holds the memory in use, the one release on that GPU holds
        all that is not named as another's; with several it is null, unknown.
      type: dict
      sample: {GPU-657f3f41-88fb-84c3-674b-df3e28034377: 73402}
engines:
  description: >-
    Names of the engines that NIM built and cached, by name of each of O(models). Empty where there are none, and
    where this user may not look.
  returned: success
  type: dict
  sample: {capitals: [capitals-0a1b2c3d4e5f]}
snapshots:
  description: >-
    Of each of O(snapshots), whether it is on the host, complete and as M(llmops.nim.lfs_snapshot) published it (by
    names, sizes and seals of its files).
  returned: success
  type: dict
  sample: {example/Llama-3.2-1B-capitals@0123456789abcdef0123456789abcdef01234567: true}
ledger:
  description: >-
    What the ledger of each of O(models) says, by name: C(current) and C(previous) (the release that was proven last and
    the one before, or null) and C(last) (its last record, or null).
  returned: success
  type: dict
lock:
  description: Who works on the host at present, as M(llmops.nim.nim_ledger) wrote it, or null.
  returned: success
  type: dict
gpu_modes:
  description: >-
    The ways in which Docker can hand out GPUs, of those that O(gpu_mode) allows, the preferred one first; empty where
    there is none.
  returned: success
  type: list
  elements: str
  sample: [gpus, cdi]
assignments:
  description: The GPUs each model is to have, by its name, entries of RV(gpus). A model with a problem is missing.
  returned: success
  type: dict
problems:
  description: >-
    What stands in the way, each with C(code), C(what), C(evidence), C(remedy), C(source), C(model) (names, or null when
    it concerns the host) and C(host).
  returned: success
  type: list
  elements: dict
warnings_found:
  description: What may stand in the way, as RV(problems).
  returned: success
  type: list
  elements: dict
report:
  description: RV(problems) as one text, for people.
  returned: success
  type: str
warnings_report:
  description: RV(warnings_found) as one text, for people.
  returned: success
  type: str
missing_packages:
  description: >-
    What the host lacks of V(git), V(git_lfs), V(requests) and V(libtorrent) (the last two for the Python that runs
    modules). Nothing but the carrying of weights from host to host needs V(libtorrent).
  returned: success
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.llmops.nim.plugins.module_utils import (
    _cdi,
    _floors,
    _gpu_memory,
    _gpu_mode,
    _gpus,
    _host,
    _host_checks,
    _host_docker,
    _ledger,
    _lock,
    _nvidia_smi,
    _on_disk,
    _ports,
)
from ansible_collections.llmops.nim.plugins.module_utils._changes import size_bytes
from ansible_collections.llmops.nim.plugins.module_utils._findings import as_dicts
from ansible_collections.llmops.nim.plugins.module_utils._models import MODELS_SPEC, NIM_HOME, cache_dir, slots
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem, report
from ansible_collections.llmops.nim.plugins.module_utils._secrets import only_secrets


def wrong_options(params):
    """What is wrong with the options beyond their types: list of Problem, and the floors as text."""
    problems, floors = [], {}
    try:
        floors = _floors.check_floors(params["floors"])
    except Problem as problem:
        problems.append(problem)
    for model in params["models"]:
        try:
            _gpus.parse_wish(model["gpus"])
        except Problem as problem:
            problem.what = f"Model {model['name']}: {problem.what}"
            problems.append(problem)
        if size_bytes(model["shm_size"]) is None:
            problems.append(
                Problem(
                    f"Model {model['name']}: shm_size is no size.",
                    f"shm_size: {model['shm_size']!r}",
                    "Give it as Docker takes it: shm_size: 16g.",
                    "shm_size_invalid",
                )
            )
    for snapshot in params["snapshots"]:
        try:
            _on_disk.parse_snapshot(snapshot)
        except Problem as problem:
            problems.append(problem)
    for image, size in params["image_bytes"].items():
        if isinstance(size, bool) or not isinstance(size, (int, type(None))):
            problems.append(Problem("image_bytes is not a number.", f"{image}: {size!r}", code="image_bytes_invalid"))
    return problems, floors


def commands(params):
    """All that is run on the host and does not depend on one another, dict of name to argv."""
    references = {model["image"] for model in params["models"]} | set(filter(None, params["image_digests"].values()))
    smi = params["nvidia_smi"]
    return dict(
        _host_docker.commands(params["docker"], references),
        smi=[smi, "-q", "-x"],
        capability=[smi, "--query-gpu=uuid,compute_cap", "--format=csv,noheader"],
        toolkit=["nvidia-ctk", "--version"],
        toolkit_cli=["nvidia-container-cli", "--version"],
        git=["git", "--version"],
        git_lfs=["git", "lfs", "version"],
    )


def look_at_gpus(results, facts):
    """Driver (dict or None), GPUs (list) and the Problem (or None) in what nvidia-smi said."""
    if results["smi"].rc != 0:
        return None, [], _nvidia_smi.failure(results["smi"], facts["module_version"], facts["pci_devices"])
    try:
        found = _nvidia_smi.parse(results["smi"].out)
    except Problem as problem:
        return None, [], problem
    capabilities = _nvidia_smi.compute_capabilities(results["capability"].out)
    gpus = [dict(gpu, compute_capability=capabilities.get(gpu["uuid"])) for gpu in found["gpus"]]
    driver = {"version": found["driver_version"], "cuda_version": found["cuda_version"]}
    return driver, gpus, None if gpus else _nvidia_smi.no_gpus("nvidia-smi -q -x lists none")


def look_at_docker(results, driver):
    """Docker (dict) with what it can hand out by CDI, and the Problem (or None) that keeps CDI from working."""
    docker = _host_docker.engine(results["info"], _host_docker.find_hook())
    cdi, problem = {"specs": [], "devices": []}, None
    if docker["reachable"]:
        cdi, problem = _cdi.look(docker, driver and driver["version"])
    works = docker["reachable"] and problem is None
    return dict(docker, cdi=dict(cdi, works=works, why=str(problem) if problem else None)), problem


def look_at_toolkit(results):
    """The container toolkit, dict of version, or None. nvidia-ctk is younger than the toolkit, hence two commands."""
    for name, pattern in (
        ("toolkit", r"version v?([0-9][0-9A-Za-z.+-]*)"),
        ("toolkit_cli", r"version: v?([0-9][0-9A-Za-z.+-]*)"),
    ):
        if results[name].rc == 0:
            return {"version": _host.version_in(results[name], pattern)}
    return None


def disks(params, docker):
    """Where image, weights and caches will lie, list of dicts."""
    places = [
        ("image", None, docker["root_dir"] or _host_docker.DEFAULT_ROOT),
        ("weights", None, params["weights_dir"]),
    ]
    places += [("cache", model["name"], cache_dir(model["name"])) for model in params["models"]]
    return [dict(_host.disk(purpose, path), model=model) for purpose, model, path in places]


def look_at_releases(params, containers, gpus):
    """The releases among the containers (list of ps(), or None), each with the GPU memory that it holds."""
    inspect = _host_docker.inspect_command(params["docker"], containers or [])
    releases = _host_docker.releases(_host.run(inspect)) if inspect else []
    owners = _gpu_memory.containers_of(_gpu_memory.processes(gpus), {release["id"] for release in releases})
    return _gpu_memory.attribute(gpus, releases, owners)


def observe(params):
    """What is on the host, a dict for _host_checks.check; judges nothing but the GPUs' assignment."""
    results = _host.run_all(commands(params))
    facts = _host.facts()
    driver, gpus, driver_problem = look_at_gpus(results, facts)
    docker, cdi_problem = look_at_docker(results, driver)
    gpus = [dict(gpu, cdi_devices=_cdi.device_names(gpu, docker["cdi"]["devices"])) for gpu in gpus]
    containers = _host_docker.ps(results["ps"]) if docker["reachable"] else None
    releases = look_at_releases(params, containers, gpus)
    wanted = {model["image"]: params["image_digests"].get(model["image"]) for model in params["models"]}
    images = _host_docker.images(results["images"], wanted) if docker["reachable"] and wanted else {}
    assignments, gpu_problems = ({}, []) if driver_problem else _gpus.assign(params["models"], gpus, releases)
    held = _ports.holders({port for model in params["models"] for port in slots(model).values()}, containers)
    host = {key: facts[key] for key in ("hostname", "os", "cpus", "memory_mib", "memory_available_mib", "python")}
    host.update(
        driver=driver,
        toolkit=look_at_toolkit(results),
        docker=docker,
        git=_host.version_in(results["git"], r"version ([0-9][0-9.]*)"),
        git_lfs=_host.version_in(results["git_lfs"], r"git-lfs/([0-9][0-9.]*)"),
        disks=disks(params, docker),
        ports=[{"port": port, "holder": found[0] if found else None} for port, found in sorted(held.items())],
    )
    return {
        "host": host,
        "gpus": gpus,
        "images": images,
        "releases": releases,
        "engines": {model["name"]: _on_disk.engines(cache_dir(model["name"])) for model in params["models"]},
        "snapshots": {
            one: _on_disk.is_published(params["weights_dir"], *_on_disk.parse_snapshot(one))
            for one in params["snapshots"]
        },
        "ledger": {model["name"]: _ledger.read(NIM_HOME, model["name"]) for model in params["models"]},
        "lock": _lock.read(_lock.path()),
        "assignments": assignments,
        "gpu_problems": gpu_problems,
        "driver_problem": driver_problem,
        "gpu_mode": params["gpu_mode"],
        "gpu_modes": _gpu_mode.offered(params["gpu_mode"], docker),
        "cdi_problem": cdi_problem,
        "nim_versions": params["nim_versions"],
        "image_bytes": params["image_bytes"],
        "held": held,
    }


def missing_packages(host):
    """What the roles may need and the host lacks, as the names in the role's vars."""
    have = {"git": host["git"], "git_lfs": host["git_lfs"], **{name: host["python"][name] for name in _host.LIBRARIES}}
    return [name for name, version in have.items() if not version]


def main():
    module = AnsibleModule(
        argument_spec={
            "models": MODELS_SPEC,
            "nim_versions": {"type": "dict", "default": {}},
            "image_digests": {"type": "dict", "default": {}},
            "image_bytes": {"type": "dict", "default": {}},
            "weights_dir": {"type": "path", "default": f"{NIM_HOME}/weights"},
            "snapshots": {"type": "list", "elements": "str", "default": []},
            "floors": {"type": "dict", "default": {}},
            "gpu_mode": {"type": "str", "choices": list(_gpu_mode.WISHES), "default": "auto"},
            "nvidia_smi": {"type": "str", "default": "nvidia-smi"},
            "docker": {"type": "str", "default": "docker"},
        },
        supports_check_mode=True,
    )
    only_secrets(module.no_log_values, module.params["models"])
    wrong, floors = wrong_options(module.params)
    if wrong:
        module.fail_json(msg=report(wrong), problems=[problem.as_dict() for problem in wrong])
    seen = observe(module.params)
    findings = _host_checks.check(seen, module.params["models"], floors)
    hostname = seen["host"]["hostname"]
    module.exit_json(
        changed=False,
        models=module.params["models"],
        host=seen["host"],
        gpus=seen["gpus"],
        images=seen["images"],
        releases=seen["releases"],
        engines=seen["engines"],
        snapshots=seen["snapshots"],
        ledger=seen["ledger"],
        lock=seen["lock"],
        gpu_modes=seen["gpu_modes"],
        assignments=seen["assignments"],
        problems=as_dicts(findings.problems, hostname),
        warnings_found=as_dicts(findings.warnings, hostname),
        report=report([problem for problem, dummy in findings.problems]),
        warnings_report=report([problem for problem, dummy in findings.warnings]),
        missing_packages=missing_packages(seen["host"]),
    )


if __name__ == "__main__":
    main()
