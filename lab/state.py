# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Looks at the lab.

state.py           prints as JSON: the label each container must carry, tools missing here, and what is not up
state.py --wait    waits until every server answers
"""

import json
import shutil
import socket
import ssl
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import images
import registry
import yaml

SERVERS = yaml.safe_load((images.LAB / "servers.yml").read_text())
PATIENCE_SECONDS = 90
TOOLS = ("docker", "mmdebstrap", "openssl", "ssh", "ssh-keygen")


def labels():
    """{server: what it is made of}: a container with another label is to be replaced."""
    tags = images.tags()
    made_of = {server["name"]: tags[server["name"]] for server in SERVERS["lab_services"]}
    made_of.update({server["name"]: tags[server["image"]] for server in SERVERS["lab_gpu_servers"]})
    authority = (images.STATE / "keys" / "ca.crt").read_text()
    common = images.digest(images.LAB / "servers.yml", authority)
    weights = {"hub": images.digest(*sorted(path for path in (images.LAB / "weights").iterdir() if path.is_dir()))}
    return {name: images.digest(tag, common, weights.get(name, "")) for name, tag in made_of.items()}


def running():
    """{server: label} of the lab's running containers."""
    form = '{{.Names}} {{.Label "' + images.LABEL + '"}}'
    listing = images.docker("ps", "--filter", f"label={images.LABEL}", "--format", form).stdout
    return {name.replace("nim-lab-", "", 1): label for name, label in map(str.split, listing.splitlines())}


def check_gpu_server(server):
    with socket.create_connection((server["address"], 22), 2) as connection:
        if not connection.recv(8).startswith(b"SSH-"):
            raise OSError("something other than sshd answers on port 22")
    images.docker("exec", "nim-lab-" + server["name"], "docker", "version", timeout=10)


def check_service(server):
    context = ssl.create_default_context(cafile=images.STATE / "keys" / "ca.crt")
    connection = socket.create_connection((server["address"], 443), 2)
    with connection, context.wrap_socket(connection, server_hostname=server["alias"]) as tls:
        tls.sendall(b"GET / HTTP/1.0\r\n\r\n")
        if not tls.recv(8).startswith(b"HTTP/1."):
            raise OSError("no HTTP on port 443")


def silent():
    """{server: why} of those that don't answer."""
    checks = [(check_service, server) for server in SERVERS["lab_services"]]
    checks += [(check_gpu_server, server) for server in SERVERS["lab_gpu_servers"]]

    def attempt(item):
        check, server = item
        try:
            check(server)
        except (OSError, subprocess.SubprocessError) as error:
            return server["name"], str(error)
        return None

    with ThreadPoolExecutor(len(checks)) as pool:
        return dict(filter(None, pool.map(attempt, checks)))


def missing():
    """What stands between the lab as it is and the lab as it should be, in a few words each."""
    wanted, there = labels(), running()
    reasons = [f"{name} is not running as it should" for name, label in wanted.items() if there.get(name) != label]
    if not reasons:
        reasons = [f"{name} does not answer: {why}" for name, why in silent().items()]
    if not reasons and set(registry.pushed()) != {images.tags()["nim"]}:
        reasons = ["the registry lacks NIM images of these sources"]
    return reasons


def look():
    tools = [tool for tool in TOOLS if not shutil.which(tool)]
    report = {"missing_tools": tools, "labels": labels(), "missing": []}
    if not tools:
        report["missing"] = missing()
    print(json.dumps(report))


def wait():
    deadline = time.monotonic() + PATIENCE_SECONDS
    while why := silent():
        if time.monotonic() > deadline:
            for name in why:
                print(f"--- nim-lab-{name}\n{images.docker('logs', '--tail', '20', 'nim-lab-' + name).stdout}")
            sys.exit("\n".join(f"{name} does not answer: {reason}" for name, reason in why.items()))
        time.sleep(0.2)


if __name__ == "__main__":
    try:
        wait() if "--wait" in sys.argv else look()
    except subprocess.CalledProcessError as error:
        sys.exit(f"{' '.join(error.cmd)}: {error.stdout}")
