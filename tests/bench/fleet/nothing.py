"""Nothing to change, on few and on many names: ours, its peers, and what it costs to reach the hosts at all."""

from __future__ import annotations

import importlib
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

lab, names = map(importlib.import_module, ("lab", "names"))

HERE = Path(__file__).resolve().parent
OURS, SSH, ONE_TASK, IDIOMATIC, PYINFRA = "ours", "ssh", "one task", "idiomatic role", "pyinfra"
# These take minutes for 50 names: measured less often there.
SLOW = (IDIOMATIC, PYINFRA)
KEYS = lab.ROOT / ".lab" / "keys"


def run(command, **more):
    """Runs a command to its end, in the collection's folder; what it printed. Ends the bench if it fails."""
    environment = dict(os.environ, ANSIBLE_CONFIG=str(lab.ROOT / "ansible.cfg"), ANSIBLE_NOCOLOR="1")
    done = subprocess.run(
        command, cwd=lab.ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **more
    )
    if done.returncode:
        raise SystemExit(f"{command}\n{done.stdout[-4000:]}")
    return done.stdout


def ansible_playbook(playbook, number, **variables):
    """A playbook on so many names (int); what it printed."""
    return played(playbook, names.inventory(number), **variables)


def played(playbook, inventory, **variables):
    """A playbook on an inventory (path); what it printed."""
    program = Path(sys.executable).with_name("ansible-playbook")
    return run([program, playbook, "-i", inventory, "-e", json.dumps(variables)])


def unchanged(output):
    """Ends the bench where a run on names has changed something."""
    counts = lab.recap(output)
    if not counts or any(one["changed"] for one in counts.values()):
        raise SystemExit(output)


def ours(number):
    unchanged(ansible_playbook("playbooks/deploy.yml", number))


def one_task(number):
    unchanged(ansible_playbook(str(HERE / "one_task.yml"), number))


def idiomatic(number):
    unchanged(ansible_playbook(str(HERE.parent / "idiomatic_whole.yml"), number))


def ssh(number):
    options = ["-F", str(lab.SSH_CONFIG), "-o", "ControlPath=none"]
    running = [subprocess.Popen(["ssh", *options, server, "true"]) for server in names.named(number).values()]
    if any(list(map(subprocess.Popen.wait, running))):
        raise SystemExit("ssh cannot reach the lab's servers")


def pyinfra(number):
    """pyinfra calls a shell command changed whatever it does: that nothing is, the idiomatic role's run shows."""
    data = {
        "ssh_user": "ops",
        "ssh_key": str(KEYS / "id_ed25519"),
        "ssh_known_hosts_file": str(KEYS / "known_hosts"),
        "nim_image": lab.IMAGE,
        "nim_repo": "https://hub.lab/lab/Llama-3.2-1B-capitals",
        "nim_registry": "nvcr.lab",
        "nim_key": lab.KEY,
    }
    hosts = [
        (
            name,
            {
                **data,
                "ssh_hostname": names.SERVERS[server],
                "nim_cdi": server == "gpu3",
                "nim_clone": names.clone("pyinfra", index),
            },
        )
        for index, (name, server) in enumerate(names.named(number).items())
    ]
    inventory = names.FOLDER / f"pyinfra_{number}.py"
    inventory.write_text(f"hosts = {hosts!r}\n")
    run([names.FOLDER / "venv" / "bin" / "pyinfra", "-y", "--sudo", inventory, HERE / "pyinfra_deploy.py"])


WAYS = {OURS: ours, SSH: ssh, ONE_TASK: one_task, IDIOMATIC: idiomatic, PYINFRA: pyinfra}


def prepare(most):
    """Each way has a release of its own on every server, and its weights for the most names (int)."""
    ansible_playbook("playbooks/deploy.yml", len(names.SERVERS))
    for number in (len(names.SERVERS), most):
        ansible_playbook(str(HERE.parent / "idiomatic_whole.yml"), number)
        pyinfra(number)


def remove():
    """What the peers have made."""
    for server in names.SERVERS:
        lab.run(
            server,
            "docker rm --force nim-idiomatic nim-pyinfra >/dev/null 2>&1; docker logout nvcr.lab >/dev/null;"
            " rm -rf /var/lib/idiomatic /var/lib/pyinfra",
        )


def measure(sizes, runs, slow_runs):
    """Each way and each of sizes (names, the most last), in turn: dict of seconds and processor (seconds of it that the
    control node has computed), each a dict of way to dict of size to list.
    """
    taken, computed = ({way: {size: [] for size in sizes} for way in WAYS} for _both in range(2))
    for number in range(runs):
        for size in sizes:
            for way, job in WAYS.items():
                if number >= slow_runs and way in SLOW and size == sizes[-1]:
                    continue
                names.disconnect()
                begin, before = time.perf_counter(), processor()
                job(size)
                taken[way][size].append(time.perf_counter() - begin)
                computed[way][size].append(processor() - before + names.processor())
                print(f"{way:<16} {size:>3} names {taken[way][size][-1]:7.1f} s", flush=True)
    return {"seconds": taken, "processor": computed}


def processor():
    """Seconds that processes of this machine which the bench has started have computed; the lab's are Docker's."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
