"""Weights, login, image, profile and container: what has to be there before anything that serves is touched."""

from __future__ import annotations

from .fault import Fault, Step, away, blocked, changed_file

UNKNOWN = "0" * 64
STORE = "/var/lib/nim/weights"
# The next release, on which each server is to end; and a NIM's last words, where a fault has put some.
LAST_WORDS = "rehearsed.log"
NEXT = {
    "image": "nvcr.lab/nim/meta/llama-3.2-1b-instruct:1.3.3",
    "weights": {"repo": "lab/Llama-3.2-1B-capitals", "revision": "v2"},
    "env": {"LAB_CRASH": f"/opt/nim/.cache/{LAST_WORDS}"},
}


def hub_says(faults):
    """Scripts for a hub that misbehaves: FAULTS in lab/images/hub/hub.py."""
    return f"echo '{faults}' > /srv/faults.json", "rm /srv/faults.json"


STAGE = Step(
    "Stage: weights, image, profile and container are brought",
    "stage",
    [
        Fault(
            "the hub cuts each download",
            ("The hub cannot be reached, or the connection broke: https://hub.lab.",),
            *hub_says('{"cut_after": 1000}'),
            at="hub",
        ),
        Fault(
            "the hub refuses downloads as too many",
            ("https://hub.lab limits the rate", "HTTP 429"),
            *hub_says('{"status": 429}'),
            at="hub",
        ),
        Fault(
            "the hub's store has an error of its own",
            ("https://hub.lab has an error of its own", "HTTP 503"),
            *hub_says('{"status": 503}'),
            at="hub",
        ),
        Fault(
            "the server does not reach the hub",
            ("The hub cannot be reached, or the connection broke: https://hub.lab.",),
            *blocked("10.83.0.3"),
        ),
        Fault(
            "the server does not trust the hub",
            ("There is no trustworthy TLS connection to https://hub.lab",),
            *away("/etc/ssl/certs"),
        ),
        Fault(
            "the disk is full",
            ("The disk is too small: 1.00 GiB are needed, 0.00 GiB are free", "at /var/lib/nim/weights"),
            f"mount -t tmpfs -o size=300k tmpfs {STORE}",
            f"umount {STORE}",
        ),
        Fault(
            "the disk has become read-only",
            ("The disk is read-only", "findmnt"),
            f"mount --bind {STORE} {STORE} && mount -o remount,bind,ro {STORE}",
            f"umount {STORE}",
        ),
        Fault(
            "git-lfs is killed",
            ("git-lfs was killed", "dmesg"),
            "setsid sh -c 'while [ ! -e /run/enough ]; do pkill -9 git-lfs; done' >/dev/null 2>&1 </dev/null &",
            "touch /run/enough; while pgrep -f /run/enough; do sleep 0.1; done; rm /run/enough",
        ),
        Fault(
            "weights with a wrong byte",
            (
                "The hub sends other bytes than the repository promises: model-00002-of-00002.safetensors",
                "Publish the file again",
            ),
            wish={"weights": {"repo": "lab/broken-object", "revision": "main"}},
        ),
        Fault(
            "less disk than is to stay free",
            ("The disk is too small: 931322.57 GiB are needed", "to be left free (reserve_bytes)"),
            wrong={"weights_reserve_bytes": 10**15},
        ),
        Fault(
            "the server does not reach the registry",
            ("The image could not be pulled. The registry cannot be reached from this host.", "firewall and proxy"),
            # While another fault kept weights from coming, the image has come.
            *changed_file("/etc/hosts", "docker image prune --all --force; echo 127.0.0.1 nvcr.lab >> $file"),
        ),
        Fault(
            "a profile that the image has not",
            ("The image has no such profile", UNKNOWN, "profile: auto"),
            wish={"profile": UNKNOWN},
        ),
        Fault(
            "a profile with its description",
            ("id (description)", f"Give the id alone: {UNKNOWN}"),
            wish={"profile": f"{UNKNOWN} (tensorrt_llm-trtllm_buildable-bf16-tp1-pp1)"},
        ),
        Fault(
            "somebody else's process on the GPU",
            ("others hold 45000 MiB of their memory", "nvidia-smi shows who holds memory"),
            *changed_file("/etc/nim-lab/gpus.json", 'sed -i \'s/"name"/"memory_used_mib": 45000, "name"/\' $file'),
            host="gpu3",
        ),
    ],
    asks=NEXT,
    # What is broken here does not pass by itself.
    variables={"weights_retries": 0},
    changes=True,
)
