#!/usr/bin/python
# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: nim_diagnose
short_description: Say why a model does not serve, or what a saved log shows
version_added: 0.1.0
author: The llmops.nim authors (@llmops)
description:
  - Reads log, state, exit status and restarts of the containers of a host's models, and what of the host they need,
    GPUs, disk and port; looks for the signatures of known failures, and tells cause, evidence and remedy.
  - Or looks through a saved log, of Docker, NIM, git or git-lfs, with O(log_file).
  - An unknown failure stays unknown, with the lines that look most telling.
  - A finding is never a failure of the module.
extends_documentation_fragment:
  - llmops.nim.reads_only
  - llmops.nim.home
  - llmops.nim.commands
  - llmops.nim.commands.nvidia_smi
options:
  models:
    description: Names of the models to look at; all of the host where none is named.
    type: list
    elements: str
    default: []
  log_file:
    description: >-
      A saved log on the machine on which the module runs, plain, of C(docker compose), of C(docker logs --timestamps),
      or of JSON lines. Nothing else is looked at then.
    type: path
"""

EXAMPLES = r"""
- name: Say what is wrong with a model
  llmops.nim.nim_diagnose:
    models: [openmath2-8b]
  register: diagnosed

- name: Explain a log that somebody has saved
  llmops.nim.nim_diagnose:
    log_file: "{{ playbook_dir }}/nim.log"
"""

RETURN = r"""
diagnoses:
  description: >-
    One a container, or one for the saved log. Each has C(model), C(container), C(happened) (one sentence), C(well)
    (nothing is wrong), C(causes), and C(lines) (those of the log that tell most). Each of the causes has C(phase),
    C(code), C(what), C(evidence), C(remedy) and C(source), the likeliest first.
  returned: success
  type: list
  elements: dict
report:
  description: The same for people, in a few lines.
  returned: success
  type: str
problem:
  description: What stands in the way, with C(what), C(evidence), C(remedy), C(code) and C(source).
  returned: failure
  type: dict
"""

from datetime import datetime, timezone

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.llmops.nim.plugins.module_utils import (
    _circumstances,
    _diagnosis,
    _host,
    _host_docker,
    _host_releases,
    _ledger,
    _log_text,
    _nvidia_smi,
    _phases,
    _ports,
)
from ansible_collections.llmops.nim.plugins.module_utils._container import Container
from ansible_collections.llmops.nim.plugins.module_utils._failures import Cause, explain_lines, unexplained
from ansible_collections.llmops.nim.plugins.module_utils._health import is_ready
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem
from ansible_collections.llmops.nim.plugins.module_utils._signature import CAUSE

ARGUMENTS = {
    "models": {"type": "list", "elements": "str", "default": []},
    "log_file": {"type": "path"},
    "home": {"type": "path", "default": "/var/lib/nim"},
    "docker": {"type": "str", "default": "docker"},
    "nvidia_smi": {"type": "str", "default": "nvidia-smi"},
}

# With less free space neither Docker nor NIM can work.
FULL_BYTES = 512 * _host.MIB


def of_log(path):
    """The diagnosis (dict) of a saved log; raises Problem when it cannot be read."""
    try:
        with open(path, "rb") as stream:
            stream.seek(max(stream.seek(0, 2) - _log_text.MOST_CHARACTERS, 0))
            text = stream.read(_log_text.MOST_CHARACTERS).decode("utf-8", "replace")
    except OSError as error:
        raise Problem(
            "The log cannot be read.", f"{path}: {error.strerror}", "Give the path of a file here.", "log_unreadable"
        ) from None
    causes = explain_lines(_log_text.lines(text))
    return diagnosis(None, path, "what the log shows" if causes else "the log shows no known failure", causes, text)


def diagnosis(model, container, happened, causes, log, well=False):
    """What the module returns of one container, or of a log (dict), with its report."""
    lines = "" if well else unexplained(log)
    subject = f"{container}: {happened}" if model is None else f"{container} (model {model}): {happened}"
    return {
        "model": model,
        "container": container,
        "happened": happened,
        "well": well,
        "causes": [cause.as_dict() for cause in causes],
        "lines": lines.split("\n") if lines else [],
        "report": _diagnosis.report(subject, causes, lines, well),
    }


def of_release(run, params, release, containers, host):
    """The diagnosis (dict) of a release; containers: of the host; host: what is wrong with it (list of Cause)."""
    container = Container(run, params["docker"], release["container"])
    state, now = container.state(), datetime.now(timezone.utc)
    ready = state["Status"] == "running" and is_ready(_host_releases.health_url(release))
    # Of a container that is restarted again and again the last run may have said nothing yet.
    log = container.log(_circumstances.LOG_LINES, None if state["RestartCount"] else state["StartedAt"])
    lines = _log_text.lines("\n".join(log))
    causes = _circumstances.causes([*lines, state.get("Error") or ""], state, release["settings"]["env"])
    causes = _diagnosis.relevant(causes, ready)
    if not ready:
        causes = sorted([*causes, *host, *taken(release, state, containers)], key=lambda cause: cause.weight)
    progress = _phases.Progress(0)
    progress.read(lines, 0)
    happened = _diagnosis.happened(state, ready, progress.phase, now)
    well = ready and not causes or (state["Status"] == "created" and not state.get("Error"))
    return diagnosis(release["model"], release["container"], happened, causes, "\n".join(log), well)


def taken(release, state, containers):
    """That somebody else has the port of a release that does not run (list of Cause)."""
    if state["Status"] in ("running", "restarting") or not release["port"]:
        return []
    held = _ports.holders([release["port"]], containers)[release["port"]]
    others = [one for one in held if one["model"] != release["model"]]
    if not others:
        return []
    who = others[0]["container"] or others[0]["process"] or "a process that only root can see"
    problem = Problem(
        f"The port {release['port']} of the model is held by {who}.",
        f"{others[0]['address']}:{release['port']}, pid {others[0]['pid']}",
        "Stop it, or give the model another port.",
        "port_in_use",
    )
    return [Cause("docker", problem, CAUSE, True)]


def of_host(params):
    """What is wrong with GPUs and disks (list of Cause)."""
    info = _host_docker.commands(params["docker"], ())["info"]
    results = _host.run_all({"smi": [params["nvidia_smi"], "-L"], "info": info})
    problems = []
    if results["smi"].rc:
        facts = _host.facts()
        problems.append(_nvidia_smi.failure(results["smi"], facts["module_version"], facts["pci_devices"]))
    elif "GPU" not in results["smi"].out:
        problems.append(_nvidia_smi.no_gpus("nvidia-smi -L lists none"))
    root = _host_docker.engine(results["info"])["root_dir"] or _host_docker.DEFAULT_ROOT
    full = {}
    for purpose, path in (("image", root), ("cache", params["home"])):
        disk = _host.disk(purpose, path)
        if disk["free_bytes"] < FULL_BYTES:
            full[disk["mount"]] = disk["free_bytes"]
    for mount, free in full.items():
        problems.append(
            Problem(
                f"The disk at {mount} is full.",
                f"{free // _host.MIB} MiB are free",
                "Free space there (docker system df; playbooks/prune.yml).",
                "disk_full",
            )
        )
    return [Cause("host", problem, CAUSE, True) for problem in problems]


def diagnose(module):
    """All diagnoses (list of dict); raises Problem when Docker does not answer or there is nothing to look at."""
    params = module.params
    if params["log_file"]:
        return [of_log(params["log_file"])]
    containers = _host_releases.containers(params["docker"])
    releases, _ids = _host_releases.releases(params["docker"], containers)
    ledgers = {model: _ledger.read(params["home"], model) for model in _ledger.models(params["home"])}
    chosen = _diagnosis.choose(releases, ledgers, params["models"])
    host = of_host(params)
    if not chosen:
        named = ", ".join(params["models"]) or "any model"
        text = f"there is no container of {named}" + ("" if host else ": deploy it")
        return [diagnosis(None, "the host", text, host, "")]
    return [of_release(module.run_command, params, release, containers, host) for release in chosen]


def main():
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    try:
        found = diagnose(module)
    except Problem as problem:
        module.fail_json(msg=str(problem), problem=problem.as_dict())
    report = "\n".join(one.pop("report") for one in found)
    module.exit_json(changed=False, diagnoses=found, report=report)


if __name__ == "__main__":
    main()
