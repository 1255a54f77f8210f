# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The lab's registry and hub on this very machine, without the lab's containers; and the NIM image in the registry."""

from __future__ import annotations

import functools
import importlib
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "lab"), str(ROOT / "lab/images/hub")]

hub, images, registry, seed = map(importlib.import_module, ("hub", "images", "registry", "seed"))

# Loopback addresses: nothing of this can be reached from elsewhere.
ADDRESSES = {"nvcr.lab": "127.83.0.2", "hub.lab": "127.83.0.3"}
TAG = "nim-gpu-test/nim"


def certificates(folder):
    """An authority (ca.crt) and what each name proves itself with, in the folder (Path)."""

    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    usage = "keyUsage=critical,keyCertSign,cRLSign"
    openssl("req", "-x509", *key, "-subj", "/CN=test", "-addext", usage, "-keyout", "ca.key", "-out", "ca.crt")
    for name in ADDRESSES:
        (folder / "names").write_text(f"subjectAltName=DNS:{name}\nextendedKeyUsage=serverAuth\n")
        openssl("req", *key[:-2], "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", "request")
        openssl(
            *["x509", "-req", "-in", "request", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2"],
            *["-extfile", "names", "-out", f"{name}.crt"],
        )


def name_them():
    """Have this machine know the names, once."""
    hosts = Path("/etc/hosts")
    lines = [f"{address} {name}\n" for name, address in ADDRESSES.items()]
    there = hosts.read_text()
    hosts.write_text(there + "".join(line for line in lines if line not in there))


def trust(folder):
    """Have Docker know the authority."""
    trusted = Path("/etc/docker/certs.d/nvcr.lab")
    trusted.mkdir(parents=True, exist_ok=True)
    shutil.copy(folder / "ca.crt", trusted / "ca.crt")


def start_registry(folder):
    """Debian's docker-registry with the lab's settings, until the test ends; returns the process."""
    lab = ROOT / "lab/images/registry"
    text = (lab / "config.yml").read_text()
    for before, after in {
        "/var/lib/docker-registry": str(folder / "registry"),
        "addr: :443": f"addr: {ADDRESSES['nvcr.lab']}:443",
        "/etc/nim-lab/identity/server": str(folder / "nvcr.lab"),
        "/etc/nim-lab/htpasswd": str(lab / "htpasswd"),
    }.items():
        assert before in text, before
        text = text.replace(before, after)
    (folder / "registry.yml").write_text(text)
    log = (folder / "registry.log").open("w")
    process = subprocess.Popen(["docker-registry", "serve", folder / "registry.yml"], stdout=log, stderr=log)
    wait_for(ADDRESSES["nvcr.lab"], process, folder / "registry.log")
    return process


def wait_for(address, process, log):
    """Until port 443 of the address answers, or the process has ended."""
    deadline = time.monotonic() + 30
    while True:
        try:
            socket.create_connection((address, 443), 1).close()
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"{address}:443 does not answer\n{log.read_text()[-2000:]}")
            time.sleep(0.1)


def start_hub(folder):
    """The lab's hub with the lab's weights, in a thread, until the test ends."""
    hub.ROOT, hub.WEIGHTS = folder / "hub", ROOT / "lab/weights"
    seed.seed(hub.WEIGHTS, hub.ROOT)
    context = hub.ssl.SSLContext(hub.ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "hub.lab.crt", folder / "hub.lab.key")
    server = hub.Server((ADDRESSES["hub.lab"], 443), hub.Handler, context)
    # Its log, which in a container is the container's.
    hub.print = functools.partial(print, file=(folder / "hub.log").open("w"))
    threading.Thread(target=server.serve_forever, daemon=True).start()


def build_image(folder, packages):
    """The lab's NIM with another engine inside: its own code alone. What runs it, the server lends (engine.sh)."""
    tree = folder / "image"
    shutil.copytree(ROOT / "lab/images/nim/lab_nim", tree / "opt/nim/lab_nim")
    shutil.copy(ROOT / "tests/gpu/nim/llm.py", tree / "opt/nim/lab_nim/llm.py")
    (tree / "opt/nim/nim_on_cuda").mkdir()
    shutil.copy(ROOT / "tests/gpu/nim/__main__.py", tree / "opt/nim/nim_on_cuda/__main__.py")
    wheels = sorted(str(path) for path in packages.glob("*.whl"))
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-compile"]
    if wheels:
        subprocess.run([*pip, "--target", tree / "opt/nim/packages", *wheels], check=True)
    for name in ("bin", "lib", "lib64", "sbin"):
        (tree / name).symlink_to(f"usr/{name}")
    for name in ("usr", "tmp", "model", "run", "opt/nim/.cache"):
        (tree / name).mkdir(parents=True, exist_ok=True)
    (tree / "tmp").chmod(0o1777)
    (tree / "etc").mkdir()
    shutil.copy("/etc/group", tree / "etc/group")
    # New torch wants to know its user's name.
    (tree / "etc/passwd").write_text(Path("/etc/passwd").read_text() + "nim:x:1000:0::/tmp:/bin/sh\n")
    for path in Path("/etc").glob("ld.so.*"):
        (shutil.copytree if path.is_dir() else shutil.copy)(path, tree / "etc" / path.name)
    env = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": "/opt/nim/packages:/opt/nim",
        "PYTHONDONTWRITEBYTECODE": "1",
        "HOME": "/tmp",
        "HF_HUB_OFFLINE": "1",
        "NGC_API_KEY": "",
    }
    changes = [f"ENV {name}={value}" for name, value in env.items()]
    changes += [f'ENTRYPOINT ["{sys.executable}", "-m", "nim_on_cuda"]', "USER 1000", "EXPOSE 8000"]
    changes += [f"LABEL {images.LABEL}=gpu-test"]
    options = [word for change in changes for word in ("--change", change)]
    tar = subprocess.Popen(["tar", "-C", tree, "-c", "."], stdout=subprocess.PIPE)
    subprocess.run(["docker", "import", *options, "-", TAG], stdin=tar.stdout, check=True, capture_output=True)
    if tar.wait():
        sys.exit("tar failed")


def push_image(folder):
    """The image under every name that the lab's registry has."""
    registry.ADDRESS = ADDRESSES["nvcr.lab"]
    (folder / "keys").mkdir()
    shutil.copy(folder / "ca.crt", folder / "keys" / "ca.crt")
    images.STATE = folder
    registry.push(TAG)


def environment(folder):
    """What the playbooks need in their environment to trust the two (dict of str)."""
    bundle = str(folder / "ca.crt")
    return {"SSL_CERT_FILE": bundle, "REQUESTS_CA_BUNDLE": bundle, "GIT_SSL_CAINFO": bundle}


def up(folder, packages):
    """All of it, in the folder (Path); packages: Path with wheels. Returns the registry's process."""
    certificates(folder)
    name_them()
    trust(folder)
    process = start_registry(folder)
    start_hub(folder)
    build_image(folder, packages)
    push_image(folder)
    return process
