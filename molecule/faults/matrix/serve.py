"""What breaks at the next restart although it serves now, seen ahead."""

from __future__ import annotations

from .fault import Fault, Step, away, changed_file

NIM = "/var/lib/nim/capitals"
STOP = "docker ps -q --filter label=llmops.nim.model=capitals > /root/stopped; docker stop $(cat /root/stopped)"
LATER = "import time\nnow = time.time\ntime.time = lambda: now() + 3600\n"

SERVE = Step(
    "Serve: what breaks at the next restart is seen before",
    "check",
    [
        Fault(
            "the cache belongs to another user",
            ("who may not read or write what it mounts",),
            f"chown 0 {NIM}/cache && chmod 700 {NIM}/cache",
            f"chown 1000 {NIM}/cache && chmod 770 {NIM}/cache",
        ),
        Fault(
            "the NGC key was withdrawn",
            ("The registry nvcr.lab refuses the NGC key",),
            *changed_file(f"{NIM}/secrets.env", "echo NGC_API_KEY=nvapi-lab-wrong > $file"),
        ),
        Fault(
            "the weights are gone",
            ("cannot be started again: what it mounts is gone",),
            *away("/var/lib/nim/weights/lab--Llama-3.2-1B-capitals"),
        ),
        Fault(
            "the driver was updated beneath it",
            ("The NVIDIA driver was updated and the host not rebooted since",),
            *changed_file("/etc/nim-lab/gpus.json", """sed -i '0,/{/s//{"fault": "driver_library_mismatch",/' $file"""),
        ),
        Fault(
            "the clock is an hour ahead",
            ("The clocks of this host and the control node differ by",),
            *changed_file("/etc/python3.11/sitecustomize.py", f"cat > $file <<'END'\n{LATER}END"),
        ),
        Fault(
            "the disk of the weights is full",
            ("The disk at /var/lib/nim/weights is full",),
            "mount -t tmpfs -o size=1m tmpfs /var/lib/nim/weights",
            "umount /var/lib/nim/weights",
        ),
        Fault(
            "somebody else has its port",
            ("Port 8000, which model capitals wants, is held by process python3",),
            f"{STOP}; "
            "setsid python3 -m http.server 8000 >/dev/null 2>&1 </dev/null & "
            "until ss -Hltn sport = :8000 | grep -q .; do sleep 0.1; done",
            "pkill -f 'http.server 8000'; docker start $(cat /root/stopped)",
            serves=False,
        ),
        Fault(
            "it was stopped by hand",
            ("the ledger names it as current, but its container is exited", "Deploy again"),
            STOP,
            "docker start $(cat /root/stopped)",
            serves=False,
        ),
    ],
)
