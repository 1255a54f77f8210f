"""The lab's registry and hub behind lines of a known rate, and weights on the hub that take as long as the image."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import struct
import subprocess
import sys
from contextlib import contextmanager

lab, names = map(importlib.import_module, ("lab", "names"))
sys.path.append(str(lab.ROOT / "lab"))
own = importlib.import_module("own")

# Mbit/s of each line. Of the weights, MiB: the lab's image has as many, compressed.
RATE, WEIGHTS = 100, 200
REPOSITORY = "lab/own"
ENDS = ("nim-lab-registry", "nim-lab-hub")


@contextmanager
def narrow():
    """Registry and hub send no faster than RATE."""
    for end in ENDS:
        _shape(end, "replace", "tbf", "rate", f"{RATE}mbit", "burst", "256kb", "latency", "200ms")
    try:
        yield
    finally:
        for end in ENDS:
            _shape(end, "delete")


def _shape(end, verb, *how):
    """tc of a server's image, in the network of a container that may not shape it itself."""
    image = subprocess.check_output(["docker", "inspect", "-f", "{{.Config.Image}}", "nim-lab-gpu1"], text=True).strip()
    place = ["--network", f"container:{end}", "--cap-add", "NET_ADMIN", "--entrypoint", "/usr/sbin/tc", image]
    command = ["docker", "run", "--rm", *place, "qdisc", verb, "dev", "eth0", "root", *how]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def publish():
    """Have the lab's small model on the hub as REPOSITORY, with a tensor of random bytes that nothing loads."""
    folder = names.FOLDER / "first"
    shutil.copytree(lab.ROOT / "lab" / "weights" / "Llama-3.2-1B-capitals", folder, dirs_exist_ok=True)
    size = WEIGHTS * 2**20
    header = json.dumps({"padding": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    with (folder / "padding.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        for _mebibyte in range(WEIGHTS):
            file.write(os.urandom(2**20))
    own.publish(folder)
