# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Makes the lab's images. They are named by what they are made of, so that nothing is made twice.

images.py build    makes those that are missing, side by side
images.py prune    removes those made from older sources
images.py remove   removes all
"""

import fcntl
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

LAB = Path(__file__).resolve().parent
STATE = LAB.parent / ".lab"
SOURCES = LAB / "images"
LABEL = "nim-lab.inputs"
NOT_SOURCES = {"__pycache__", "tests", "wheels"}
LOCK = []  # the descriptor of the lock file, while it is held

# What each image stands on, which comes before it; a root file system stands on the distribution's packages.
STANDS_ON = {
    "servers": None,
    "python": None,
    "gpu_host": "servers",
    "cdi_host": "gpu_host",
    "registry": "servers",
    "hub": "servers",
    "nim": "python",
}


def suite():
    """The release of Debian or Ubuntu that the images are made from: this machine's, else Debian 12."""
    release = platform.freedesktop_os_release()
    return release.get("VERSION_CODENAME", "bookworm") if release["ID"] in ("debian", "ubuntu") else "bookworm"


def digest(*things):
    """A short name (12 hex) for strings and folders: the same for the same names, modes and contents."""
    total = hashlib.sha256()
    for thing in things:
        if isinstance(thing, str):
            total.update(thing.encode() + b"\0")
            continue
        for path in sorted(thing.rglob("*") if thing.is_dir() else [thing]):
            if path.is_file() and not NOT_SOURCES & set(path.relative_to(LAB).parts):
                total.update(f"{path.relative_to(LAB)}\0{os.access(path, os.X_OK)}\0".encode())
                total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()[:12]


def tags():
    """{name: nim-lab/<name>:<digest of all that it is made of>}"""
    base = digest(SOURCES / "base", suite(), platform.machine())
    names = {}
    for name, below in STANDS_ON.items():
        names[name] = digest(names[below], SOURCES / name) if below else base
    return {name: f"nim-lab/{name}:{made_of}" for name, made_of in names.items()}


def run(command, **options):
    """Run the command, with its output in the result; an error carries it too.

    What runs holds the lock of this run, and goes on holding it if it is orphaned.
    """
    return subprocess.run(
        command, check=True, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, pass_fds=LOCK, **options
    )


def docker(*args, **options):
    return run(["docker", *args], **options)


def present():
    """The tags of the lab's images in the Docker Engine."""
    listing = docker("image", "ls", "--filter", "reference=nim-lab/*", "--format", "{{.Repository}}:{{.Tag}}").stdout
    return set(listing.split())


def make_root_file_system(kind, tag):
    """From packages, kept as a tar under STATE: without it, a lab taken down would have to ask the mirrors again."""
    tar = STATE / "rootfs" / (tag.replace("nim-lab/", "").replace(":", "-") + ".tar")
    if not tar.exists():
        tar.parent.mkdir(parents=True, exist_ok=True)
        run([SOURCES / "base" / "build.sh", kind, suite(), tar])
        for old in tar.parent.glob(f"{kind}-*.tar"):
            if old != tar:
                old.unlink()
    docker("import", "--change", f"LABEL {LABEL}={tag}", str(tar), tag)


def make_image(name, tag, below):
    with tempfile.TemporaryDirectory(prefix="context-", dir=STATE) as context:
        shutil.copytree(SOURCES / name, context, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*NOT_SOURCES))
        if name == "nim":
            shutil.copytree(wheels(), Path(context) / "wheels", copy_function=os.link)
        docker("build", "--quiet", "--build-arg", f"BASE={below}", "--label", f"{LABEL}={tag}", "--tag", tag, context)


def wheels():
    """A folder with what the NIM image installs, for the Python of its root file system."""
    requirements = SOURCES / "nim" / "requirements.txt"
    version = distribution_python()
    folder = STATE / "wheels" / digest(requirements, version, platform.machine())
    if not folder.exists():
        part = Path(tempfile.mkdtemp(prefix="context-", dir=STATE))
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--dest", part, "--requirement", requirements]
        if version != f"{sys.version_info[0]}.{sys.version_info[1]}":
            command += ["--only-binary=:all:", "--implementation=cp", f"--python-version={version}"]
            for minor in (35, 34, 28, 17):
                command.append(f"--platform=manylinux_2_{minor}_{platform.machine()}")
        run(command)
        folder.parent.mkdir(exist_ok=True)
        part.rename(folder)
    return folder


def distribution_python():
    """The version (X.Y) of the distribution's Python 3."""
    release = platform.freedesktop_os_release()
    if suite() != release.get("VERSION_CODENAME"):
        return "3.11"
    show = run(["apt-cache", "show", "--no-all-versions", "python3"]).stdout
    return re.search(r"^Version: (\d+\.\d+)", show, re.MULTILINE)[1]


def build():
    """Make what is missing; returns all tags, and those made."""
    for leftover in STATE.glob("context-*"):
        shutil.rmtree(leftover)
    wanted, there = tags(), present()
    missing = {name: tag for name, tag in wanted.items() if tag not in there}
    pool = ThreadPoolExecutor(len(STANDS_ON))
    made = {}

    def make(name):
        below = STANDS_ON[name]
        if below is None:
            return make_root_file_system(name, wanted[name])
        if name == "nim":
            wheels()
        if below in made:
            made[below].result()
        return make_image(name, wanted[name], wanted[below])

    for name in STANDS_ON:
        if name in missing:
            made[name] = pool.submit(make, name)
    for future in made.values():
        future.result()
    return json.dumps({"tags": wanted, "made": sorted(missing)})


def prune():
    """Remove the lab's images that are not of these sources; returns their tags as text."""
    old = sorted(present() - set(tags().values()))
    if old:
        docker("image", "rm", *old)
    return "\n".join(old)


def remove():
    """Remove every image that stands on the lab's root file systems, the nameless stages of builds included."""
    removed = []
    form = "{{.Repository}}:{{.Tag}} {{.ID}}"
    while listing := docker("image", "ls", "--filter", f"label={LABEL}", "--format", form).stdout:
        # By tag where there is one: an image that others stand on goes with the last of them.
        names = [tag if "<none>" not in tag else identity for tag, identity in map(str.split, listing.splitlines())]
        for name in names:
            subprocess.run(["docker", "image", "rm", "--force", name], capture_output=True, check=False)
        if names == removed[-len(names) :]:
            sys.exit("These images are in use: " + ", ".join(names))
        removed += names
    return "\n".join(removed)


def main():
    STATE.mkdir(exist_ok=True)
    with open(STATE / "images.lock", "w") as lock:
        # A run that was interrupted may still be at work; its results are taken, not made again beside it.
        fcntl.flock(lock, fcntl.LOCK_EX)
        LOCK.append(lock.fileno())
        try:
            print({"build": build, "prune": prune, "remove": remove}[sys.argv[1]]())
        except subprocess.CalledProcessError as error:
            command = " ".join(map(str, error.cmd))
            sys.exit(f"{error.stdout[-4000:]}\nThe lab's images: this failed with status {error.returncode}: {command}")


if __name__ == "__main__":
    main()
