"""Runs on a server as root. Its input is JSON: the texts to look for with their names, and seconds since the epoch from
which on a file must have been changed."""

import grp
import json
import os
import pwd
import stat
import subprocess
import sys

WANTED, SINCE = json.load(sys.stdin)
TOPS = ("/", "/dev/shm", "/run", "/tmp", "/var/lib/docker", "/var/lib/nim")
NEVER = ("/proc", "/sys", "/dev")
BLOCK = 1 << 24
OVERLAP = 4096


def names_in(path):
    found, tail = set(), b""
    with open(path, "rb") as file:
        while block := file.read(BLOCK):
            block = tail + block
            found |= {name for text, name in WANTED if text.encode() in block}
            tail = block[-OVERLAP:]
    return found


def told(path, names):
    status = os.lstat(path)
    owner = f"{pwd.getpwuid(status.st_uid).pw_name}:{grp.getgrgid(status.st_gid).gr_name}"
    mode = stat.S_IMODE(status.st_mode)
    if is_closed(path):
        mode &= 0o770
    return {"path": path, "owner": owner, "mode": f"{mode:04o}", "secrets": sorted(names)}


def is_closed(path):
    """Whether a directory above keeps out who is neither its owner nor of its group."""
    above = os.path.dirname(path)
    return not os.stat(above).st_mode & 0o001 or (above != "/" and is_closed(above))


def device_of(path):
    try:
        return os.lstat(path).st_dev
    except FileNotFoundError:
        return None


def files():
    for top in TOPS:
        device = device_of(top)
        for folder, folders, names in os.walk(top):
            # What is mounted below is a top of its own, or another's: the file systems of running containers.
            folders[:] = [
                one
                for one in folders
                if os.path.join(folder, one) not in NEVER and device_of(os.path.join(folder, one)) == device
            ]
            yield from (path for name in names if device_of(path := os.path.join(folder, name)) == device)


def docker(*command):
    return subprocess.run(["docker", *command], capture_output=True, text=True, check=True).stdout


def in_docker():
    """In what Docker tells of containers and images, and in the containers' logs."""
    for name in docker("ps", "--all", "--format", "{{.Names}}").split():
        yield f"docker inspect {name}", docker("inspect", name)
        yield f"docker logs {name}", subprocess.run(["docker", "logs", name], capture_output=True, text=True).stdout
    for image in sorted(set(docker("images", "--quiet", "--no-trunc").split())):
        yield f"docker image inspect {image}", docker("image", "inspect", image)
        yield f"docker history {image}", docker("history", "--no-trunc", image)


found = []
for path in files():
    try:
        status = os.lstat(path)
        if stat.S_ISREG(status.st_mode) and status.st_ctime >= SINCE and (names := names_in(path)):
            found.append(told(path, names))
    except FileNotFoundError:
        pass
if os.path.exists("/run/docker.sock"):
    socket = told("/run/docker.sock", ())
    for path, text in in_docker():
        names = {name for wanted, name in WANTED if wanted in text}
        if names:
            found.append(dict(socket, path=path, secrets=sorted(names)))
print(json.dumps(found))
