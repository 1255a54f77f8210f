# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What will break at the next restart although it serves now. Pure: judges what was observed.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

from ansible_collections.llmops.nim.plugins.module_utils import _clock
from ansible_collections.llmops.nim.plugins.module_utils._failures import explain
from ansible_collections.llmops.nim.plugins.module_utils._host import GIB
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem

# A disk with less is as good as full: NIM's logs alone may take 300 MB.
FULL_BYTES = GIB
# Nearer in time than this the rate at which a disk fills tells nothing.
SHORTEST_SECONDS = 600
DAY = 86400
_MOST_QUOTED = 5


def driver(smi_problem, loaded, installed):
    """What is wrong with the driver (list of (Problem, whether it is one already)).

    smi_problem: Problem of nvidia-smi, or None. loaded, installed: versions (str or None) of the kernel module that
    runs and of the one that the next boot loads.
    """
    if smi_problem:
        return [(smi_problem, True)]
    if loaded and installed and loaded != installed:
        problem = Problem(
            f"The next boot brings another NVIDIA driver: {installed} is installed, {loaded} runs.",
            f"/proc/driver/nvidia/version: {loaded}; modinfo nvidia: {installed}",
            "Reboot at a time of your choice: containers that start before it may find libraries that do not fit.",
            "driver_pending",
        )
        return [(problem, False)]
    return []


def gpus_inside(release, rc, said):
    """The Problem of a running release that does not see its GPUs any more, or None.

    rc, said: what C(nvidia-smi -L) inside its container ended with (int) and wrote (str).
    """
    there = said.count("UUID: GPU-") + said.count("UUID: MIG-")
    if rc == 0 and there >= len(release["gpus"]):
        return None
    known = [cause.problem for cause in explain(said) if cause.problem.code in ("gpus_lost", "driver_mismatch")]
    if rc and not known:
        # Not every image has nvidia-smi.
        return None
    what = known[0].what if known else f"It sees {there} of its {len(release['gpus'])} GPUs."
    remedy = known[0].remedy if known else "Restart the container; look into dmesg for NVRM and Xid lines."
    evidence = f"nvidia-smi -L inside {release['container']}: {said.strip()[:300] or 'nothing'}"
    return Problem(f"{release['container']} has lost GPUs. {what}", evidence, remedy, "gpus_lost")


def kept(release, role, denied, image, altered):
    """What keeps a release from being started again (list of Problem).

    release: of _host_docker.releases(). role: C(current), C(previous) or C(kept). denied: what its user may not do
    (list of str). image: whether its image is there (bool). altered: what is wrong with its weights (str), or None.
    """
    name, found = f"{release['container']} ({role})", []
    if not image:
        found.append(
            Problem(
                f"{name} cannot be started again: its image is gone.",
                f"no image {release['image']}",
                "Pull it again (docker pull), or deploy.",
                "image_missing",
            )
        )
    if release["missing_mounts"]:
        found.append(
            Problem(
                f"{name} cannot be started again: what it mounts is gone.",
                ", ".join(release["missing_mounts"][:_MOST_QUOTED]),
                "Deploy again, which brings weights and directories back; remove the release if nobody needs it.",
                "mount_missing",
            )
        )
    elif altered:
        found.append(Problem(f"{name}: {altered}.", altered, "Deploy again, which mends them.", "weights_altered"))
    if denied:
        more = f" and {len(denied) - _MOST_QUOTED} more" if len(denied) > _MOST_QUOTED else ""
        found.append(
            Problem(
                f"{name} runs as {release['settings']['user']}, who may not read or write what it mounts.",
                ", ".join(denied[:_MOST_QUOTED]) + more,
                "Give the cache to that uid, group 0, mode 0770; weights are readable for all. A deploy does both.",
                "cache_not_writable",
            )
        )
    return found


def gone(model, role, release):
    """The Problem of a release (dict of a ledger) whose container is gone, or None where none is named."""
    if not release:
        return None
    return Problem(
        f"The {role} release of {model} cannot be started again: its container is gone.",
        f"the ledger names {release.get('container')}",
        "Deploy again." if role == "current" else "There is no way back to it; the next rollout keeps its predecessor.",
        "container_missing",
    )


def disk(seen, before, seconds, days):
    """What is wrong with a disk: (Problem, whether it is one already), or None.

    seen: dict of mount, free_bytes and total_bytes. before: its free bytes (int, or None) that many seconds ago. days:
    how near (number) its end has to be.
    """
    free, mount = seen["free_bytes"], seen["mount"]
    if free < FULL_BYTES:
        evidence = f"{free / GIB:.1f} of {seen['total_bytes'] / GIB:.1f} GiB are free"
        remedy = "Free space there (docker system df; playbooks/prune.yml)."
        return Problem(f"The disk at {mount} is full.", evidence, remedy, "disk_full"), True
    if before is None or seconds < SHORTEST_SECONDS or before <= free:
        return None
    left = free / ((before - free) / seconds)
    if left > days * DAY:
        return None
    problem = Problem(
        f"The disk at {mount} will be full in {_clock.age(int(left))}, at the present rate.",
        f"{(before - free) / GIB:.2f} GiB were taken in {_clock.age(int(seconds))}, {free / GIB:.1f} GiB are free",
        "See what grows (docker system df; du -x), and free space: playbooks/prune.yml removes old releases.",
        "disk_full_soon",
    )
    return problem, left < DAY


def clock(own, controller, synchronized, tolerance):
    """The Problem of a host whose clock is off, or None.

    own, controller: seconds since the epoch, of the host and the control node, at the same time. synchronized: what
    timedatectl says (bool), or None. tolerance: seconds.
    """
    off = own - controller
    if abs(off) <= tolerance:
        return None
    how = {True: "timedatectl calls it synchronized", False: "timedatectl calls it not synchronized"}.get(synchronized)
    return Problem(
        f"The clocks of this host and the control node differ by {_clock.age(int(abs(off)))}.",
        f"the host is {'ahead' if off > 0 else 'behind'}" + (f"; {how}" if how else ""),
        "Set up time synchronisation (chrony or systemd-timesyncd): TLS and signed addresses fail with a wrong clock.",
        "clock_off",
    )


def certificate(found, days, warn_days):
    """The Problem of a Certificate that is good for days (float) more, or None where that is more than warn_days."""
    if days >= warn_days:
        return None
    return Problem(
        f"The certificate {found.path} expires in {days:.1f} days.",
        f"{found.subject} is valid until {found.expires}",
        "Renew it (gateway_tls_pem), and deploy.",
        "certificate_expires",
    )
