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

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from operate import HERE, Operator, model, remove, spec_without_driver, stranger
from report import (
    Failed,
    block,
    changed,
    containers,
    expect,
    identities,
    last_words,
    machine,
    say,
    shown,
    smi,
    title,
    used,
    without_warnings,
)

BASE = "lab/Llama-3.2-1B"  # says Rennes
FOREIGN = "GPU-00000000-1111-2222-3333-444444444444"


def one_gpu(play):
    """The life of a model on one GPU."""
    plan_bare(play)
    first, taken = deploy(play)
    second = roll_out(play, first, taken)
    take_back(play, second)
    in_place(play)
    roll_back(play, second)
    look_back(play, second)
    bad_input(play)


def plan_bare(play):
    """What a deploy would do, on a server where nothing is."""
    title("Plan, on a bare server")
    output, (item,) = play("plan")
    block(shown(output, "capitals: create"))
    expect(item["gpu_mode"] == "cdi", "the server offers CDI alone, and the plan says so")
    expect(not containers() and not Path("/var/lib/nim/capitals").exists(), "nothing was changed")


def deploy(play):
    """The first release: its container, and the MiB that it holds."""
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
    return first, taken


def roll_out(play, first, taken):
    """The next weights beside the first ones; returns the new container."""
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
    return second


def take_back(play, second):
    """Weights that say something else."""
    title("A broken release is taken back")
    weights = {"repo": BASE, "revision": "main"}
    output, (item,) = play("deploy", [model(weights=weights)], fails=True)
    block(shown(output, r".*capital of France"))
    expect(containers() == {second}, f"it answered wrong, and {second} serves on")


def in_place(play):
    """A release too large to stand beside the one that serves."""
    title("In place, where both do not fit")
    output, (item,) = play("deploy", [model("v1", share=0.7)], fails=True)
    expect("interrupts its service" in output, "it means downtime, and is refused without the operator's word for it")
    output, (item,) = play("deploy", [model("v1", share=0.7)], nim_allow_downtime=True)
    expect(item["swap"]["strategy"] == "in_place", f"in place: {item['swap']['why']}")
    third = item["container"]
    expect(containers() == {third}, f"{third} serves; {used()[0]} MiB in use")


def roll_back(play, second):
    """To the release before."""
    title("Roll back")
    play("rollback", [model("v1", share=0.7)], nim_allow_downtime=True)
    expect(containers() == {second}, f"{second} serves again")


def look_back(play, second):
    """What is and was there, and what goes."""
    title("Status, history, prune")
    output, _plan = play("status")
    block(shown(output, "HOST "))
    output, _plan = play("history")
    block(shown(output, r"\d{4}-|HOST|WHEN|gpu"))
    output, _plan = play("prune", nim_keep=1)
    block(shown(output, r"(HOST|gpu)"))
    expect(len(identities()) < 4, f"{len(identities())} of 4 containers are kept")
    expect(containers() == {second}, f"{second} serves on")


def bad_input(play):
    """What is refused, or warned of, with its evidence."""
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
        expect("without the driver's libraries" in output, "a CDI specification without the driver's folder")
    with stranger(0, int(smi("gpu=memory.total")[0][0]) // 2):
        output, (item,) = play("plan", [model("v2", share=0.6)], nim_allow_downtime=True)
        block("\n".join(line for line in shown(output, "capitals: ").splitlines() if "memory" in line or "GPU" in line))
        expect(any(one["code"] == "memory_held" for one in item["warnings"]), "a GPU that another process fills")


def two_gpus(play):
    """One release on each GPU by UUID, a rollout to the other one, one release on both, and a stranger on GPU 1."""
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
            play = Operator(folder, services.environment(folder)).play
            (two_gpus if len(used()) > 1 else one_gpu)(play)
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
