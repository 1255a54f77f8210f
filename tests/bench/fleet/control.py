"""What the control process of 500 hosts holds. Their Pythons are one file that says what a server of the lab has said:
to Ansible and the collection they are hosts as any others.
"""

from __future__ import annotations

import importlib
import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

import yaml

lab, names, nothing = map(importlib.import_module, ("lab", "names", "nothing"))

HOSTS = 500


def saved():
    """What a server of the lab answers to the look (dict), as a plan got it."""
    environment = dict(
        os.environ, ANSIBLE_CONFIG=str(lab.ROOT / "ansible.cfg"), ANSIBLE_STDOUT_CALLBACK="ansible.posix.json"
    )
    program = Path(sys.executable).with_name("ansible-playbook")
    done = subprocess.run(
        [program, "playbooks/plan.yml", "-i", names.inventory(1)],
        cwd=lab.ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    told = json.loads(done.stdout[done.stdout.index("{") :])
    tasks = [task for play in told["plays"] for task in play["tasks"]]
    (look,) = (task["hosts"]["name01"] for task in tasks if task["task"]["name"].endswith("Look at the host"))
    return {key: value for key, value in look.items() if not key.startswith("_") and key != "action"}


def inventory():
    folder = names.FOLDER / f"names_{HOSTS}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "look.json").write_text(json.dumps(saved()))
    python = folder / "python"
    # It takes the module from its input, as a Python would, and answers without having run it.
    python.write_text(f"#!/bin/sh\ncat >/dev/null\nexec cat {shlex.quote(str(folder / 'look.json'))}\n")
    python.chmod(0o755)
    here = yaml.safe_load((names.inventory(1) / "hosts.yml").read_text())["servers"]["children"]["gpu_servers"]["vars"]
    local = {"ansible_connection": "local", "ansible_python_interpreter": str(python), "ansible_become": False}
    hosts = {f"gpu{number:03}": {"ansible_host": f"192.0.2.{number % 256}"} for number in range(HOSTS)}
    hosts["resolver"] = {"ansible_python_interpreter": sys.executable}
    (folder / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": hosts, "vars": dict(here, **local)}}))
    return folder


def measure():
    """MiB of the largest process of a plan of 500 hosts, and its seconds."""
    environment = dict(os.environ, ANSIBLE_CONFIG=str(lab.ROOT / "ansible.cfg"))
    program = Path(sys.executable).with_name("ansible-playbook")
    wishes = json.dumps({"nim_resolver": "resolver", "nim_hosts": "all:!resolver"})
    command = [program, "playbooks/plan.yml", "-i", inventory(), "-e", wishes]
    begin = time.perf_counter()
    with open(names.FOLDER / "control.log", "w") as log:
        process = subprocess.Popen(command, cwd=lab.ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT)
        _pid, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit((names.FOLDER / "control.log").read_text()[-4000:])
    return used.ru_maxrss / 1024, time.perf_counter() - begin
