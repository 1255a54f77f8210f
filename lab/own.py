# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Puts weights of one's own into the lab's hub as lab/own, for inventories/lab_own.

own.py FOLDER         a folder with config.json, tokenizer and safetensors
own.py ORG/NAME[@REVISION]    a repository of the Hugging Face hub, with HF_TOKEN where it is gated or private
"""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
from pathlib import Path

STATE = Path(__file__).resolve().parents[1] / ".lab"
SEED = ["docker", "exec", "--interactive", "nim-lab-hub", "python3", "/usr/lib/nim-lab/seed.py", "own"]
# Ansible reads the token, so that it stands on no command line.
TOKEN = "{{ lookup('ansible.builtin.env', 'HF_TOKEN') | default(omit, true) }}"


def fetched(weights):
    """The folder of a hub's repository, proven as on any server."""
    repository, _at, revision = weights.partition("@")
    options = {"repo": repository, "revision": revision or "main", "weights_dir": str(STATE / "own"), "token": TOKEN}
    command = ["ansible", "localhost", "-m", "llmops.nim.lfs_snapshot", "-a", json.dumps(options)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{weights} is no folder with a config.json, and could not be had from the hub:\n{done.stdout}")
    return Path(json.loads(done.stdout.partition("=>")[2])["path"])


def publish(folder):
    """Have the files of a folder (not those beneath it) committed to lab/own."""
    hub = subprocess.Popen(SEED, stdin=subprocess.PIPE)
    # Links are followed: the hub's own clients keep a snapshot as links to its bytes.
    with hub, tarfile.open(fileobj=hub.stdin, mode="w|", dereference=True) as archive:
        for path in sorted(folder.iterdir()):
            if path.is_file():
                archive.add(path, path.name)
    if hub.returncode:
        sys.exit("The lab's hub did not take them. Is the lab up? ansible-playbook playbooks/lab_up.yml")


def main(weights):
    folder = Path(weights).expanduser()
    publish(folder if (folder / "config.json").is_file() else fetched(weights))


if __name__ == "__main__":
    main(sys.argv[1])
