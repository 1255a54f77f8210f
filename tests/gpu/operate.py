# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What the test does on the machine: playbooks as an operator runs them, and strangers who know nothing of us."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

from report import Failed, block, identities, say

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
IMAGE = "nvcr.lab/nim/nvidia/model-free-nim:2.0.2"
CAPITALS = "lab/Llama-3.2-1B-capitals"


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


def remove():
    """All containers of the models, so that the next case begins on free GPUs."""
    subprocess.run(["docker", "rm", "--force", *identities()], check=True, capture_output=True)
    for path in Path("/var/lib/nim").glob("*/*.json*"):
        path.unlink()


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


class stranger:
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
