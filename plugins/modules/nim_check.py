#!/usr/bin/python
# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: nim_check
short_description: Find what will break at the next restart of a model that still serves
version_added: 0.1.0
author: The llmops.nim authors (@llmops)
description:
  - Reads, in one call, driver, GPUs as running containers see them, what each kept release needs to start again, disks,
    ports, clock, certificates, and whether registry and hub accept the keys; changes nothing.
  - A problem is there already, a warning is about to come. Neither is a failure of the module; RV(problems) says
    whether to raise an alarm.
  - Wants root, to look into caches, and for the keys that containers are given.
extends_documentation_fragment:
  - llmops.nim.reads_only
  - llmops.nim.nim_models
  - llmops.nim.home
  - llmops.nim.commands
  - llmops.nim.commands.nvidia_smi
options:
  models:
    required: false
    default: []
  certificates:
    description: PEM files on the host, each with a certificate and its key. One that is not there is passed over.
    type: list
    elements: path
    default: []
  warn_days:
    description: A certificate that expires, or a disk that will be full, within so many days is a warning.
    type: int
    default: 14
  registry:
    description: >-
      The registry that is asked whether it gives out the images, with the key that the models' containers have.
    type: str
    default: nvcr.io
  username:
    description: The registry's user name.
    type: str
    default: $oauthtoken
  endpoint:
    description: The hub that is asked for the weights.
    type: str
    default: https://huggingface.co
  token:
    description: The hub's token.
    type: str
  ask:
    description: Whether to ask registry and hub.
    type: bool
    default: true
  controller_time:
    description: Seconds since the epoch on the control node, to compare the clocks. V(0) compares nothing.
    type: float
    default: 0
  clock_tolerance:
    description: Seconds by which the clocks may differ; a part of it is the way to the host.
    type: int
    default: 60
  previous:
    description: >-
      What this module returned for the host some time ago, RV(disks) and RV(checked_at), to tell at which rate its
      disks fill up.
    type: dict
    default: {}
  weights_dir:
    description: Where the weights lie.
    type: path
    default: /var/lib/nim/weights
"""

EXAMPLES = r"""
- name: Look ahead
  llmops.nim.nim_check:
    models: "{{ nim_models }}"
    controller_time: "{{ now().timestamp() }}"
  register: checked
"""

RETURN = r"""
problems:
  description: >-
    What is wrong already, each with C(code), C(what), C(evidence), C(remedy), C(source), C(model) (names, or null when
    it concerns the host) and C(host).
  returned: success
  type: list
  elements: dict
warnings_found:
  description: What will go wrong, as RV(problems).
  returned: success
  type: list
  elements: dict
report:
  description: Both for people.
  returned: success
  type: str
disks:
  description: Free bytes by mount, for O(previous).
  returned: success
  type: dict
certificates:
  description: When each of O(certificates) that can be read expires, in seconds since the epoch, by path.
  returned: success
  type: dict
checked_at:
  description: When it was, in seconds since the epoch.
  returned: success
  type: float
"""

import glob
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.llmops.nim.plugins.module_utils import (
    _certificate,
    _drift,
    _host,
    _host_checks,
    _host_docker,
    _host_releases,
    _hub,
    _ledger,
    _nvidia_smi,
    _outlook,
    _ports,
    _profile_run,
    _readable,
)
from ansible_collections.llmops.nim.plugins.module_utils._findings import Findings, as_dicts
from ansible_collections.llmops.nim.plugins.module_utils._models import MODELS_SPEC, secrets_file, slots
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem, report
from ansible_collections.llmops.nim.plugins.module_utils._registry import Reference, Registry
from ansible_collections.llmops.nim.plugins.module_utils._secrets import only_secrets

ARGUMENTS = {
    "models": dict(MODELS_SPEC, required=False, default=[]),
    "certificates": {"type": "list", "elements": "path", "default": []},
    "warn_days": {"type": "int", "default": 14},
    "registry": {"type": "str", "default": "nvcr.io"},
    "username": {"type": "str", "default": "$oauthtoken"},
    "endpoint": {"type": "str", "default": _hub.HUB},
    "token": {"type": "str", "no_log": True},
    "ask": {"type": "bool", "default": True},
    "controller_time": {"type": "float", "default": 0},
    "clock_tolerance": {"type": "int", "default": 60},
    "previous": {"type": "dict", "default": {}},
    "weights_dir": {"type": "path", "default": "/var/lib/nim/weights"},
    "home": {"type": "path", "default": "/var/lib/nim"},
    "docker": {"type": "str", "default": "docker"},
    "nvidia_smi": {"type": "str", "default": "nvidia-smi"},
}

# A registry or hub that is down now may be up again at the next restart, and the weights are there.
PASSING = (*_hub.PASSING, "hub_tls", "registry_unreachable", "registry_tls")


class Check:
    """One look at a host, with the params of the module."""

    def __init__(self, module):
        self.module = module
        self.params = module.params
        only_secrets(module.no_log_values, self.params["models"])
        self.findings = Findings()
        self.began = time.time()
        self.disks = {}
        self.expiries = {}
        self.noted = set()

    def note(self, problem, bad=True, models=()):
        """Takes a Problem (or None) into account; bad: whether it is one already. What several share is told once."""
        key = problem and (problem.code, problem.evidence)
        if problem and key not in self.noted:
            self.noted.add(key)
            (self.findings.refuse if bad else self.findings.warn)(problem, models)

    def look(self):
        """Everything, in the order in which it is told."""
        if self.params["controller_time"]:
            timedatectl = _host.run(["timedatectl", "show", "--property=NTPSynchronized", "--value"])
            synchronized = {"yes": True, "no": False}.get(timedatectl.out.strip()) if timedatectl.rc == 0 else None
            own, controller = self.began, self.params["controller_time"]
            self.note(_outlook.clock(own, controller, synchronized, self.params["clock_tolerance"]))
        self.certificates()
        if self.params["models"]:
            self.driver()
            self.host()
            if self.params["ask"]:
                self.keys()
        self.space()

    def driver(self):
        """The driver: does it work, and will it be the same one after a reboot?"""
        results = _host.run_all(
            {"smi": [self.params["nvidia_smi"], "-L"], "module": ["modinfo", "--field", "version", "nvidia"]}
        )
        facts = _host.facts()
        smi = results["smi"]
        problem = _nvidia_smi.failure(smi, facts["module_version"], facts["pci_devices"]) if smi.rc else None
        installed = results["module"].out.strip() if results["module"].rc == 0 else None
        for found, bad in _outlook.driver(problem, facts["module_version"], installed):
            self.note(found, bad)

    def host(self):
        """The releases, what they need, and their ports."""
        try:
            containers = _host_releases.containers(self.params["docker"])
        except Problem as problem:
            self.note(problem)
            return
        releases, ids = _host_releases.releases(self.params["docker"], containers)
        names = {model["name"] for model in self.params["models"]}
        releases = [one for one in releases if one["model"] in names]
        ledgers = {name: _ledger.read(self.params["home"], name) for name in sorted(names)}
        images = _host_releases.image_names(self.params["docker"], ids)
        altered = {one["container"]: _drift.altered(one) for one in releases}
        self.serving(releases, ledgers, images)
        # First those that matter most, for what they share with others.
        by_role = [{(one[role] or {}).get("id") for one in ledgers.values()} for role in ("current", "previous")]
        for release in sorted(releases, key=lambda one: [one["release"] not in ids_ for ids_ in by_role]):
            self.bootable(release, ledgers[release["model"]], release["container"] in images, altered)
        there = {one["release"] for one in releases}
        for name, ledger in ledgers.items():
            for role in ("current", "previous"):
                if ledger[role] and ledger[role].get("id") not in there:
                    self.note(_outlook.gone(name, role, ledger[role]), role == "current", [name])
        wanted = {port for model in self.params["models"] for port in slots(model).values()}
        held = _ports.holders(wanted, containers)
        _host_checks.check_ports(self.findings, {"held": held}, self.params["models"])

    def serving(self, releases, ledgers, images):
        """Those that run: are they ready, do they see their GPUs, and are they what the ledger says?"""
        running, now = [one for one in releases if one["running"]], datetime.now(timezone.utc)
        with ThreadPoolExecutor(max_workers=8) as pool:
            seen = list(pool.map(lambda release: _host_releases.observed(release, 5, now), running))
            inside = list(pool.map(self.inside, running))
        for release, found in zip(seen, inside):
            if release["health"] != "ready":
                what, where = f"{release['container']} runs and is not ready.", f"port {release['port']}"
                see = "See why: playbooks/diagnose.yml"
                self.note(Problem(what, where, see, "release_not_ready"), True, [release["model"]])
            self.note(_outlook.gpus_inside(release, found.rc, found.out + found.err), True, [release["model"]])
        # Its weights and what is gone are told elsewhere.
        for one in _drift.drift(releases, ledgers, images, {}):
            if one["kind"] != _drift.NOT_RUNNING or one["release"] in {other["release"] for other in releases}:
                problem = Problem(f"{one['container']}: {one['what']}", one["kind"], "Deploy again.", "drift")
                self.note(problem, one["kind"] in (_drift.NOT_RUNNING, _drift.NOT_CURRENT), [one["model"]])

    def inside(self, release):
        """What nvidia-smi says inside a release's container (Result)."""
        return _host.run([self.params["docker"], "exec", release["container"], "nvidia-smi", "-L"], timeout=30)

    def bootable(self, release, ledger, image, altered):
        """Could this release start again?"""
        roles = {(ledger[role] or {}).get("id"): role for role in ("previous", "current")}
        role = roles.get(release["release"], "kept")
        user, denied = _readable.ids(release["settings"]["user"]), []
        for mount in release["settings"]["mounts"] if user else ():
            source, _target, mode = mount.rsplit(":", 2)
            if source not in release["missing_mounts"]:
                denied += _readable.denied(source, *user, writable=mode == "rw")
        for problem in _outlook.kept(release, role, denied, image, altered[release["container"]]):
            # What only an old release lacks keeps nobody from serving.
            self.note(problem, role != "kept", [release["model"]])

    def keys(self):
        """Do registry and hub give out what the models are made of?"""
        for model in self.params["models"]:
            for ask in (self.ask_registry, self.ask_hub):
                try:
                    ask(model)
                except Problem as problem:
                    self.note(problem, problem.code not in PASSING, [model["name"]])

    def ask_registry(self, model):
        reference = Reference(model["image"])
        variables = _profile_run.read_env_file(_host.read(secrets_file(model["name"], self.params["home"])))
        key = variables.get("NGC_API_KEY")
        own = reference.registry == self.params["registry"] and key
        if key:
            self.module.no_log_values.add(key)
        Registry(reference.registry, self.params["username"] if own else None, key if own else None).resolve(reference)

    def ask_hub(self, model):
        weights = (self.params["endpoint"], model["weights"]["repo"])
        _hub.resolve(self.module.run_command, *weights, "HEAD", self.params["token"])

    def space(self):
        """The disks, by mount, and at which rate they fill."""
        docker = _host_docker.engine(_host.run(_host_docker.commands(self.params["docker"], ())["info"]))
        places = [docker["root_dir"] or _host_docker.DEFAULT_ROOT, self.params["home"], self.params["weights_dir"]]
        devices, before, seconds = set(), self.params["previous"].get("disks") or {}, None
        if self.params["previous"].get("checked_at"):
            seconds = self.began - float(self.params["previous"]["checked_at"])
        for disk in (_host.disk("", place) for place in places):
            self.disks[disk["mount"]] = disk["free_bytes"]
            if disk["device"] in devices:
                continue
            devices.add(disk["device"])
            earlier = before.get(disk["mount"]) if seconds else None
            self.note(*(_outlook.disk(disk, earlier, seconds or 0, self.params["warn_days"]) or (None,)))

    def certificates(self):
        """The certificates: do they match their keys, and for how long are they good?"""
        for path in self.params["certificates"]:
            if not glob.glob(glob.escape(path)):
                continue
            try:
                found = _certificate.read(path)
                self.expiries[path] = found.expires.timestamp()
                days = _certificate.judge(found, datetime.now(timezone.utc))
                self.note(_outlook.certificate(found, days, self.params["warn_days"]), False)
            except Problem as problem:
                self.note(problem)


def told(findings):
    """Both kinds of findings as one text (str)."""
    problems = [problem for problem, _models in findings.problems]
    warnings = [problem for problem, _models in findings.warnings]
    parts = [report(problems)] if problems else []
    if warnings:
        parts.append("Not yet, but soon:\n" + report(warnings))
    return "\n".join(parts) or "nothing is wrong"


def main():
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    check = Check(module)
    check.look()
    hostname = _host.facts()["hostname"]
    module.exit_json(
        changed=False,
        problems=as_dicts(check.findings.problems, hostname),
        warnings_found=as_dicts(check.findings.warnings, hostname),
        report=told(check.findings),
        disks=check.disks,
        certificates=check.expiries,
        checked_at=check.began,
    )


if __name__ == "__main__":
    main()
