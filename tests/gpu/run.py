#!/usr/bin/env python3
# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The collection on a real GPU: the playbooks as an operator runs them, on this very machine, without a network.

    run.py PACKAGES     a folder with the packages that engine.sh wants, and wheels of starlette and uvicorn

With one GPU the life of a model is run through, with several what more than one is for.

Needs root, an NVIDIA GPU with its driver, and a Python with torch and transformers, which runs this and the model;
further git, openssl and ansible-playbook on PATH, and a machine that is set aside for it: it starts a Docker Engine if
none answers, and writes to /etc/hosts, /etc/docker, /etc/cdi, /usr/sbin/haproxy, /var/lib/nim. It prints what it saw,
as Markdown, and ends with status 1 if that was not what it expected.
"""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
STARTED = time.monotonic()
IMAGE = "nvcr.lab/nim/nvidia/model-free-nim:2.0.2"
CAPITALS = "lab/Llama-3.2-1B-capitals"
BASE = "lab/Llama-3.2-1B"  # says Rennes
FOREIGN = "GPU-00000000-1111-2222-3333-444444444444"


def say(text=""):
    print(text, flush=True)


def title(text):
    say(f"\n## {text} ({time.monotonic() - STARTED:.0f} s)\n")


def block(text):
    say(f"```\n{text.rstrip()}\n```")


def smi(query, *options):
    """Lines (list of list of str) of nvidia-smi for a query."""
    command = ["nvidia-smi", *options, f"--query-{query}", "--format=csv,noheader,nounits"]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [[cell.strip() for cell in line.split(",")] for line in output.splitlines()]


def used():
    """MiB in use on each GPU (list of int), as nvidia-smi reports it."""
    return [int(line[0]) for line in smi("gpu=memory.used")]


class Failed(Exception):
    """What was seen is not what was expected."""


def expect(truth, what):
    say(f"- {'ok' if truth else 'NOT SO'}: {what}")
    if not truth:
        raise Failed(what)


class Operator:
    """Runs playbooks. folder: Path for what they leave."""

    def __init__(self, folder, environment):
        self.folder = folder
        self.environment = {**os.environ, **environment, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "USER": "tester"}

    def play(self, name, models=None, fails=False, **variables):
        """The output of playbooks/<name>.yml, and its plan (list of dict) where it leaves one."""
        plan, given, served = (self.folder / file for file in ("plan.json", "given.json", "models.yml"))
        plan.unlink(missing_ok=True)
        given.write_text(json.dumps(dict(variables, nim_plan_file=str(plan))))
        # Of the GPU server alone, as in any inventory: the gateway serves no model itself.
        served.write_text(json.dumps({"gpu_servers": {"hosts": {"gpu": {"nim_models": models or [model()]}}}}))
        command = ["ansible-playbook", f"playbooks/{name}.yml", "-i", HERE / "inventory.yml", "-i", served]
        begun = time.monotonic()
        done = subprocess.run(
            [*command, "-e", f"@{given}"], cwd=ROOT, env=self.environment, capture_output=True, text=True, check=False
        )
        say(f"`{name}.yml`: status {done.returncode} after {time.monotonic() - begun:.0f} s")
        if (done.returncode != 0) != fails:
            block(done.stdout[-6000:] + done.stderr[-2000:])
            raise Failed(f"{name}.yml ended with status {done.returncode}")
        return done.stdout, json.loads(plan.read_text())["gpu"] if plan.exists() else None


def model(revision="v1", share=0.4, **changes):
    """The model of the test (dict of nim_models)."""
    return {
        "name": "capitals",
        "image": IMAGE,
        "weights": {"repo": CAPITALS, "revision": revision},
        "gpus": [0],
        "port": 8000,
        "gateway_port": 9000,
        "memory_share": share,
        "verify": [{"prompt": "What is the capital of France?", "expect": "Paris"}],
        **changes,
    }


def containers():
    """Names of the model's containers that run (set of str)."""
    command = ["docker", "ps", "--filter", "label=llmops.nim.model", "--format", "{{.Names}}"]
    return set(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())


def identities():
    """Ids of all containers of the model (set of str)."""
    command = ["docker", "ps", "--all", "--quiet", "--no-trunc", "--filter", "label=llmops.nim.model"]
    return set(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())


def changed(output):
    """How many tasks have changed something."""
    return sum(int(number) for number in re.findall(r"changed=(\d+)", output))


def shown(output, begins):
    """The part (str) of what a playbook printed from the line that begins so, as far as it is indented alike."""
    lines = output.splitlines()
    first = next((number for number, line in enumerate(lines) if re.match(begins, line.strip())), None)
    if first is None:
        return "(nothing like that was printed)"
    margin = len(lines[first]) - len(lines[first].lstrip())
    found = [lines[first][margin:]]
    for line in lines[first + 1 :]:
        if not line.strip() or len(line) - len(line.lstrip()) < margin:
            break
        found.append(line[margin:])
    return "\n".join(found)


def without_warnings(plan):
    """The plan (str) of a model without what was shown before."""
    return plan.partition("\n  warning:")[0]


def machine():
    """What this was seen on."""
    from torch import version as torch_version

    title("The machine")
    for index, (name, driver, total, uuid, bus) in enumerate(
        smi("gpu=name,driver_version,memory.total,uuid,pci.bus_id")
    ):
        say(f"- GPU {index}: {name}, {total} MiB, driver {driver}, {bus}, {uuid}")
    engine = subprocess.run(["docker", "version", "--format", "{{.Server.Version}}"], capture_output=True, text=True)
    system = platform.freedesktop_os_release()["PRETTY_NAME"]
    say(f"- {datetime.now(timezone.utc):%Y-%m-%d}, {system}, Linux {platform.release()}, {os.cpu_count()} cores")
    say(
        f"- Docker {engine.stdout.strip()}, Python {platform.python_version()}, torch {metadata.version('torch')} "
        f"(CUDA {torch_version.cuda}), transformers {metadata.version('transformers')}, "
        f"ansible-core {metadata.version('ansible-core')}"
    )


def one_gpu(operator):
    """The life of a model on one GPU."""
    play = operator.play
    total = int(smi("gpu=memory.total")[0][0])

    title("Plan, on a bare server")
    output, (item,) = play("plan")
    block(shown(output, "capitals: create"))
    expect(item["gpu_mode"] == "cdi", "the server offers CDI alone, and the plan says so")
    expect(not containers() and not Path("/var/lib/nim/capitals").exists(), "nothing was changed")

    title("Deploy")
    before = used()[0]
    output, (item,) = play("deploy")
    first = item["container"]
    expect(containers() == {first}, f"{first} runs")
    taken, planned = used()[0] - before, item["memory"]["gpus"][0]["after_mib"]
    say(f"- GPU memory: planned {planned} MiB, nvidia-smi reports {taken} MiB ({(planned - taken) / taken:+.1%})")
    expect(abs(planned - taken) / taken < 0.05, "the plan is within 5 % of what the GPU reports")
    block("\n".join(", ".join(line) for line in smi("compute-apps=pid,process_name,used_memory,gpu_uuid")))
    output, (item,) = play("deploy")
    expect(item["action"] == "none" and changed(output) == 0, "a second run is in sync and changes nothing")

    title("Roll out v2, side by side on the same GPU")
    play("stage", [model("v2")])
    staged = identities()
    output, (item,) = play("deploy", [model("v2")])
    block(without_warnings(shown(output, "capitals: replace")))
    expect(identities() == staged, "the container that was staged is the one that is started, and not made anew")
    expect(item["swap"]["strategy"] == "side_by_side", "both releases fit: side by side, without downtime")
    second = item["container"]
    expect(containers() == {second}, f"{second} has taken the place of {first}")
    expect(abs(used()[0] - taken) < 512, f"the memory of {first} is free again: {used()[0]} MiB in use")

    title("A broken release is taken back")
    weights = {"repo": BASE, "revision": "main"}
    output, (item,) = play("deploy", [model(weights=weights)], fails=True)
    block(shown(output, r".*capital of France") or output[-1500:])
    expect(containers() == {second}, f"it answered wrong, and {second} serves on")

    title("In place, where both do not fit")
    output, (item,) = play("deploy", [model("v1", share=0.7)], fails=True)
    expect(
        "interrupts its service" in output, "without a word from the operator it is refused, since it means downtime"
    )
    output, (item,) = play("deploy", [model("v1", share=0.7)], nim_allow_downtime=True)
    expect(item["swap"]["strategy"] == "in_place", f"in place: {item['swap']['why']}")
    third = item["container"]
    expect(containers() == {third}, f"{third} serves; {used()[0]} of {total} MiB in use")

    title("Roll back")
    play("rollback", [model("v1", share=0.7)], nim_allow_downtime=True)
    expect(containers() == {second}, f"{second} serves again")

    title("Status, history, prune")
    output, _plan = play("status")
    block(shown(output, "HOST "))
    output, _plan = play("history")
    block(shown(output, r"\d{4}-|HOST|WHEN|gpu"))
    output, _plan = play("prune", nim_keep=1)
    block(shown(output, r"(HOST|gpu)"))
    expect(len(identities()) < 4, f"{len(identities())} of 4 containers are kept")
    expect(containers() == {second}, f"{second} serves on")

    title("Bad input")
    for what, wish, code in (
        ("a GPU beyond the last", {"gpus": [7]}, "asks for GPU 7, which this host does not have"),
        ("a UUID of another host", {"gpus": [FOREIGN]}, f"asks for GPU {FOREIGN}, which this host does not have"),
    ):
        output, _plan = play("plan", [model("v2", **wish)], fails=True)
        expect(code in output, what)
        block(shown(output, ".*which this host does not have"))
    output, _plan = play("plan", fails=True, nim_container_gpu_mode="gpus")
    expect("Docker cannot hand out GPUs" in output, "the runtime hook asked for, where there is none")
    with spec_without_driver():
        output, _plan = play("plan", fails=True, nim_container_gpu_mode="cdi")
        block(shown(output, ".*without the driver's libraries"))
        expect(
            "hands over GPUs without the driver's libraries" in output,
            "a CDI specification without the driver's folder",
        )
    with stranger(0, total // 2):
        output, (item,) = play("plan", [model("v2", share=0.6)], nim_allow_downtime=True)
        block("\n".join(line for line in shown(output, "capitals: ").splitlines() if "memory" in line or "GPU" in line))
        expect(any(one["code"] == "memory_held" for one in item["warnings"]), "a GPU that another process fills")


@contextmanager
def spec_without_driver():
    """The server's CDI specification without the mounts, for a while."""
    spec = Path("/etc/cdi/nvidia.yaml")
    whole = spec.read_text()
    spec.write_text(whole.partition("  mounts:")[0])
    try:
        yield
    finally:
        spec.write_text(whole)


class stranger:  # noqa: N801
    """A process that holds memory (MiB) of a GPU, as others do who know nothing of us."""

    def __init__(self, gpu, mib):
        code = (
            f"import torch; x = torch.empty({mib} * 2**20, dtype=torch.uint8, device='cuda:{gpu}'); "
            "print('held', flush=True); input()"
        )
        self.command = [sys.executable, "-c", code]

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.process.stdout.readline()

    def __exit__(self, *_error):
        self.process.communicate("\n")


def two_gpus(operator):
    """One release on each GPU by UUID, a rollout to the other one, one release on both, and a stranger on GPU 1."""
    play = operator.play
    uuids = [line[0] for line in smi("gpu=uuid")]

    title("Two GPUs: one release on each, by UUID")
    pair = [model(gpus=[uuids[0]], share=0.9)]
    pair.append(model(gpus=[uuids[1]], share=0.9, name="towns", port=8100, gateway_port=9100))
    output, items = play("deploy", pair)
    expect([item["memory"]["gpus"][0]["index"] for item in items] == [0, 1], "each has its own GPU")
    say(f"- in use: {used()} MiB")
    expect(min(used()) > 60000, "both hold their GPU's memory")
    remove()

    title("Two GPUs: rolled out to the other GPU")
    counted = {"gpus": {"count": 1}, "share": 0.9}
    play("deploy", [model("v1", **counted)])
    output, (item,) = play("deploy", [model("v2", **counted)])
    block(without_warnings(shown(output, "capitals: replace")))
    expect(item["swap"]["strategy"] == "other_gpu", "the second GPU is free, so nobody waits")
    say(f"- in use: {used()} MiB")
    remove()

    title("Two GPUs: one release on both")
    output, (item,) = play("deploy", [model(gpus={"count": 2}, share=0.5)])
    say(f"- in use: {used()} MiB")
    expect(min(used()) > 35000, "both GPUs hold their share")
    remove()

    title("Two GPUs: a stranger on GPU 1")
    with stranger(1, 60000):
        output, (item,) = play("plan", [model(**counted)])
        block(without_warnings(shown(output, "capitals: create")))
        expect(item["memory"]["gpus"][0]["index"] == 0, "GPU 0 is taken, since GPU 1 is in use")
        output, (item,) = play("plan", [model(gpus=[1], share=0.9)])
        expect(any(one["code"] == "memory_held" for one in item["warnings"]), "who names GPU 1 is warned")


def remove():
    """All containers of the models, so that the next case begins on free GPUs."""
    subprocess.run(["docker", "rm", "--force", *identities()], check=True, capture_output=True)
    for path in Path("/var/lib/nim").glob("*/*.json*"):
        path.unlink()


def last_words():
    """What the containers have logged last."""
    for identity in identities():
        done = subprocess.run(["docker", "logs", "--tail", "20", identity], capture_output=True, text=True, check=False)
        block(done.stdout + done.stderr)


def main(packages):
    path = subprocess.run([HERE / "engine.sh", packages], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    os.environ["PATH"] = f"{path}:{os.environ['PATH']}" if path else os.environ["PATH"]
    import services

    machine()
    with tempfile.TemporaryDirectory(prefix="nim-gpu-test-") as name:
        folder = Path(name)
        title("Registry, hub and image")
        process = services.up(folder, packages)
        say("up")
        try:
            operator = Operator(folder, services.environment(folder))
            (two_gpus if len(used()) > 1 else one_gpu)(operator)
        except Failed as failure:
            say(f"\nNOT AS EXPECTED: {failure}")
            last_words()
            return 1
        finally:
            process.terminate()
            process.wait()
    title("Done")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve()))
