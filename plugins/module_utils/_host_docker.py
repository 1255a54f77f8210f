# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What the docker command says of Engine, containers and images of a host.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

import json
import os
import re
import shutil

from ansible_collections.llmops.nim.plugins.module_utils._contract import nim_version
from ansible_collections.llmops.nim.plugins.module_utils._host import SEARCH_PATH, read
from ansible_collections.llmops.nim.plugins.module_utils._models import LABEL
from ansible_collections.llmops.nim.plugins.module_utils._ports import parse_published
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem

HOOKS = ("nvidia-container-runtime-hook", "nvidia-container-toolkit")
DEFAULT_ROOT = "/var/lib/docker"

# .Label takes one label out of the list that docker ps would otherwise join with commas.
PS_FORMAT = (
    '{"id": {{json .ID}}, "name": {{json .Names}}, "state": {{json .State}}, "ports": {{json .Ports}}, '
    '"model": {{json (.Label "' + LABEL + 'model")}}}'
)

_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSW|CREDENTIAL", re.IGNORECASE)
# A secret in a value: a flag of an engine, or the user of a URL.
_SECRET_VALUE = re.compile(r"--(api|hf)[-_](key|token)\b|://[^/\s]*@")


def commands(docker, references):
    """The commands (dict of name to argv) that read everything but the releases; references: images to look for."""
    found = {
        "info": [docker, "info", "--format", "{{json .}}"],
        "ps": [docker, "ps", "--all", "--no-trunc", "--format", PS_FORMAT],
    }
    if references:
        found["images"] = [docker, "image", "inspect", "--format", "{{json .}}"] + sorted(references)
    return found


def inspect_command(docker, containers):
    """The command (argv) that reads the releases among the containers (list of ps()); None when there are none."""
    ids = [container["id"] for container in containers if container["model"]]
    return [docker, "inspect", "--type", "container", "--format", "{{json .}}"] + ids if ids else None


def json_lines(text):
    """The JSON objects (list of dict) of a text with one on each line; what is none is passed over."""
    found = []
    for line in text.splitlines():
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict):
            found.append(value)
    return found


def engine(result, hook=None):
    """What C(docker info) (a Result) says of the Engine.

    hook: path of NVIDIA's hook as dockerd finds it, or None.
    """
    info = (json_lines(result.out) or [{}])[-1]
    errors = info.get("ServerErrors") or ([] if result.rc == 0 else [result.err.strip()])
    reachable = not errors and bool(info.get("ServerVersion"))
    via = _gpus_via(info, hook) if reachable else None
    return {
        "installed": not result.missing,
        "version": info.get("ServerVersion") or None,
        "root_dir": info.get("DockerRootDir") or None,
        "storage_driver": info.get("Driver") or None,
        "gpus": via is not None,
        "gpus_via": via,
        # Empty where the feature is off, and in a Docker that does not know it.
        "cdi_folders": info.get("CDISpecDirs") or [],
        "rootless": any("name=rootless" in option for option in info.get("SecurityOptions") or []),
        "reachable": reachable,
        "error": None if reachable else "\n".join(errors)[:1000] or "docker info names no server version",
    }


def _gpus_via(info, hook):
    """How Docker hands out GPUs by C(--gpus): C(runtime), C(hook), or None."""
    if "nvidia" in (info.get("Runtimes") or {}):
        return "runtime"
    return "hook" if hook else None


def find_hook(proc="/proc", pid_file="/run/docker.pid"):
    """Where dockerd finds NVIDIA's hook on its own PATH (path as str), or None.

    Only root may read that PATH; the usual one stands in for it.
    """
    search = SEARCH_PATH
    pid = read(pid_file).strip()
    for candidate in [pid] if pid.isdigit() else []:
        for variable in read(os.path.join(proc, candidate, "environ")).split("\0"):
            if variable.startswith("PATH="):
                search = variable[len("PATH=") :]
    return next((path for path in (shutil.which(hook, path=search) for hook in HOOKS) if path), None)


def ps(result):
    """The containers in the output (a Result) of C(docker ps): dicts of id, name, running, model and published."""
    return [
        {
            "id": line["id"],
            "name": line["name"],
            "running": line["state"] in ("running", "paused", "restarting"),
            "model": line.get("model") or None,
            "published": parse_published(line.get("ports") or ""),
        }
        for line in json_lines(result.out)
        if {"id", "name", "state"} <= set(line)
    ]


def releases(result):
    """The NIM containers in the output (a Result) of C(docker inspect), running first, newest first."""
    found = [_release(container) for container in json_lines(result.out)]
    found.sort(key=lambda one: one["created"], reverse=True)
    found.sort(key=lambda one: (one["model"], not one["running"]))
    return found


def _release(container):
    state = container.get("State") or {}
    config = container.get("Config") or {}
    labels = {key: value for key, value in (config.get("Labels") or {}).items() if key.startswith(LABEL)}

    def label(name):
        return labels.get(LABEL + name) or None

    port = label("port") or ""
    return {
        "id": container.get("Id"),
        "model": label("model") or "",
        "release": label("release"),
        "container": (container.get("Name") or "").lstrip("/"),
        "running": bool(state.get("Running")),
        "status": state.get("Status"),
        "exit_code": state.get("ExitCode"),
        "restarting": bool(state.get("Restarting")),
        "restart_count": container.get("RestartCount", 0),
        "created": container.get("Created") or "",
        "started": state.get("StartedAt"),
        "image": label("image"),
        "weights": label("weights"),
        "commit": label("commit"),
        "profile": label("profile"),
        "profile_name": label("profile_name"),
        "gpus": [uuid for uuid in (label("gpus") or "").split(",") if uuid],
        "port": int(port) if port.isdigit() else None,
        "served_name": label("served_name"),
        "settings": _settings(container),
        # Without these it could not be started again.
        "missing_mounts": [
            mount["Source"]
            for mount in container.get("Mounts") or []
            if mount.get("Type") == "bind" and not os.path.exists(mount.get("Source") or "")
        ],
        "labels": labels,
    }


def _settings(container):
    """What a container was started with, as far as it may be shown: dict of env, shm_size (bytes), user and mounts."""
    config = container.get("Config") or {}
    return {
        "env": {
            key: value
            for key, value in _variables(config).items()
            if key.startswith("NIM_") and not _SECRET.search(key) and not _SECRET_VALUE.search(value)
        },
        "shm_size": (container.get("HostConfig") or {}).get("ShmSize"),
        "user": config.get("User") or None,
        # Docker lists them in any order; a volume that the image asks for has a new name each time.
        "mounts": sorted(
            f"{mount.get('Source')}:{mount.get('Destination')}:{'rw' if mount.get('RW') else 'ro'}"
            for mount in container.get("Mounts") or []
            if mount.get("Type") == "bind"
        ),
    }


def _variables(config):
    return dict(variable.partition("=")[::2] for variable in config.get("Env") or [])


def images(result, wanted):
    """Which of the wanted images are on the host, from the output (a Result) of C(docker image inspect).

    wanted: dict of reference to digest (C(repo@sha256:…)) or None. With a digest only that image counts: a tag may
    have moved since it was pulled. Returns dict of reference to what the image is.
    """
    inspected = json_lines(result.out)
    found = {}
    for reference, digest in wanted.items():
        name = normal(digest or reference)
        for image in inspected:
            names = (image.get("RepoTags") or []) + (image.get("RepoDigests") or [])
            if name in map(normal, names) or name == image.get("Id"):
                found[reference] = _image(image)
                break
    return found


def normal(reference):
    """A reference as Docker prints it: without docker.io, with a tag; a tag beside a digest is dropped."""
    name, at, digest = reference.partition("@")
    for prefix in ("index.docker.io/", "docker.io/", "library/"):
        if name.startswith(prefix):
            name = name[len(prefix) :]
    tagged = ":" in name.rsplit("/", 1)[-1]
    if at:
        return f"{name.rsplit(':', 1)[0] if tagged else name}@{digest}"
    return name if tagged or re.fullmatch(r"sha256:[0-9a-f]{64}", name) else f"{name}:latest"


def _image(image):
    config = image.get("Config") or {}
    labels = config.get("Labels") or {}
    env = _variables(config)
    return {
        "id": image.get("Id"),
        "digests": image.get("RepoDigests") or [],
        "bytes": image.get("Size"),
        "nim_version": nim_version(labels, env),
        "labels": {key: value for key, value in labels.items() if key.startswith("com.nvidia.")},
        "env": {
            key: value
            for key, value in env.items()
            if key.startswith(("NIM_", "INFERENCE_MICROSERVICE_")) and not _SECRET.search(key)
        },
    }


def unreachable(docker):
    """The Problem of a Docker (dict of engine()) that is missing or does not answer."""
    error = docker["error"]
    if not docker["installed"]:
        return Problem(
            "Docker is not installed.",
            evidence=error,
            remedy="Install Docker Engine 23.0.1 or newer (24.0 for NIM 2.x), then the NVIDIA container toolkit.",
            code="docker_missing",
        )
    if "permission denied" in error.lower():
        return Problem(
            "This user may not talk to Docker.",
            evidence=error,
            remedy="Run the play with become: true, or add the user to the group docker and log in again.",
            code="docker_permission",
        )
    return Problem(
        "Docker does not answer.",
        evidence=error,
        remedy="Start it (systemctl start docker) and look into its log (journalctl -u docker).",
        code="docker_unreachable",
    )
