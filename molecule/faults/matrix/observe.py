"""The server, and what is wished for: all that is found before anything is changed."""

from __future__ import annotations

from .fault import RESTARTS, Fault, Step, away, changed_file, ended

GPUS = "/etc/nim-lab/gpus.json"
HOOKS = "$(ls -d /usr/bin/nvidia-c* /usr/local/bin/nvidia-c* 2>/dev/null)"
LISTEN = (
    "setsid python3 -m http.server 8055 >/dev/null 2>&1 </dev/null & "
    "until ss -Hltn sport = :8055 | grep -q .; do sleep 0.1; done"
)
SQUATTER = (
    "docker run --detach --name squatter --publish 8055:8055 --entrypoint sleep $(docker images --quiet | head -1) 600"
)


def fault_of_driver(name):
    return changed_file(GPUS, f"""sed -i '0,/{{/s//{{"fault": "{name}",/' $file""")


OBSERVE = Step(
    "Observe and plan: the server is looked at",
    "plan",
    [
        Fault(
            "a driver that is too old",
            ("driver 470.10 is too old",),
            *changed_file(GPUS, 'sed -i \'s/"[0-9.]*"/"470.10"/\' $file'),
        ),
        Fault(
            "the driver is not loaded",
            (
                "The NVIDIA driver's kernel module is not loaded",
                "modprobe nvidia",
            ),
            *fault_of_driver("driver_not_loaded"),
        ),
        Fault(
            "the driver was updated without a reboot",
            ("The NVIDIA driver was updated and the host not rebooted since",),
            *fault_of_driver("driver_library_mismatch"),
        ),
        Fault(
            "all GPUs have fallen off the bus",
            ("The NVIDIA driver works but finds no GPU",),
            *changed_file(
                GPUS,
                'python3 -c \'import json, sys; one = json.load(open(sys.argv[1])); one["gpus"] = []; '
                'json.dump(one, open(sys.argv[1], "w"))\' $file',
            ),
        ),
        Fault(
            "no container toolkit",
            ("The NVIDIA container toolkit is missing", "nvidia-ctk runtime configure"),
            f"mkdir /root/away && for one in {HOOKS}; do dirname $one > /root/dir; mv $one /root/away/; done",
            "mv /root/away/* $(cat /root/dir)/ && rmdir /root/away && rm /root/dir",
        ),
        Fault(
            "the Docker Engine is stopped",
            (
                "Docker does not answer",
                "systemctl start docker",
            ),
            *ended("docker"),
            host=RESTARTS,
            serves=False,
        ),
        Fault(
            "ssh does not answer",
            (
                "UNREACHABLE!",
                "Connection refused",
            ),
            *ended("sshd"),
        ),
        Fault("the login user may not become root", ("Missing sudo password",), *away("/etc/sudoers.d/ops")),
        # With pipelining the module may still be on its way when the shell ends, and Ansible tells of a broken pipe.
        Fault("no Python", ("python3: not found",), *away("/usr/bin/python3"), wrong={"ansible_pipelining": False}),
        Fault(
            "a port held by a process",
            ("Port 8055, which model capitals wants, is held by process python3",),
            LISTEN,
            "pkill -f 'http.server 8055'",
            asks={"port": 8055},
        ),
        Fault(
            "a port held by another container",
            ("Port 8055, which model capitals wants, is held by container squatter",),
            SQUATTER,
            "docker rm --force squatter",
            asks={"port": 8055},
        ),
        Fault("an unknown GPU index", ("asks for GPU 5, which this host does not have",), wish={"gpus": [5]}),
        Fault(
            "an unknown GPU UUID",
            ("asks for GPU GPU-00000000-0000-0000-0000-000000000000, which this host does not have",),
            wish={"gpus": ["GPU-00000000-0000-0000-0000-000000000000"]},
        ),
        Fault("more GPUs than there are", ("asks for 3 GPUs, and this host has",), wish={"gpus": {"count": 3}}),
        Fault("two kinds of GPU for one model", ("T600", "gpus: [0]"), wish={"gpus": [0, 1]}, host="gpu2"),
        Fault(
            "disks that are too small",
            ("GiB are needed", "1000000"),
            wish={"name": "other", "port": 8055},
            wrong={"gpu_host_floors": {"docker": "20.10", "disk_cache_gib": 10**6}},
        ),
        Fault(
            "weights that fit no GPU here",
            ("capitals is too large for NVIDIA", "the weights alone do not fit"),
            wish={"weights": {"repo": "lab/too-big", "revision": "main"}},
        ),
        Fault("a key of the model that is misspelt", ("prot", "Supported parameters include"), wish={"prot": 8000}),
        Fault("a value of the wrong type", ("port", "unable to convert"), wish={"port": "eight thousand"}),
        Fault(
            "a variable that is the collection's own",
            ("NIM_FT_MODEL", "out of env"),
            wish={"env": {"NIM_FT_MODEL": "/x"}},
        ),
        Fault(
            "a variable that the image does not know",
            ("sets NIM_NONSENSE, which its image does not know",),
            wish={"env": {"NIM_NONSENSE": "1"}},
        ),
        Fault("a size that is none", ("shm_size is no size", "shm_size: 'much'"), wish={"shm_size": "much"}),
    ],
)
