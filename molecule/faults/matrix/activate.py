"""The release is started, asked and watched; its predecessor serves again where that fails."""

from __future__ import annotations

from .fault import RESTARTS, Fault, Step, ended
from .stage import LAST_WORDS, NEXT

DOCKER, SSHD = ended("docker"), ended("sshd")
CACHE = "/var/lib/nim/capitals/cache"
WAITING = "/run/nim-lab/waiting.pid"
# How docker ps finds the release that is to take over.
NEW = "--filter label=llmops.nim.model=capitals --filter label=llmops.nim.nim_version=1.3.3"


def last_words(name, cause, *lines):
    """A Fault: NIM ends with lines of a log that was published."""
    text = "\n".join(lines)
    file = f"{CACHE}/{LAST_WORDS}"
    return Fault(f"NIM: {name}", (cause,), f"cat > {file} <<'END'\n{text}\nEND", f"rm {file}")


def as_soon_as_it_runs(do, undo=":"):
    """Scripts that wait in the background until the release runs ($new: its container) and then do something, and that
    end the wait and undo it."""
    waiting = f'until new=$(docker ps --quiet {NEW}) && [ "$new" ]; do sleep 0.1; done; {do}'
    start = f"setsid sh -c '{waiting}' >/dev/null 2>&1 </dev/null & echo $! >{WAITING}"
    return start, f"kill $(cat {WAITING}) || true; rm {WAITING}; {undo}"


ACTIVATE = Step(
    "Activate: the release takes the place of what serves",
    "deploy",
    [
        last_words(
            "GPU memory is too small for the engine that is built",
            "The GPU's memory is too small for building the engine: TensorRT asked for 24793579520 bytes",
            "[TRT] [E] 2: [virtualMemoryBuffer.cpp::resizePhysical::140] Error Code 2: OutOfMemory "
            "(no further information)",
            "[TRT] [W] Requested amount of GPU memory (24793579520 bytes) could not be allocated. There may not be "
            "enough free memory for allocation to succeed.",
            "[TRT-LLM] [E] Engine building failed, please check the error log.",
        ),
        last_words(
            "the context does not fit beside the weights",
            "The GPU's memory is too small for the context length 131072: it is enough for 98304",
            "ValueError: To serve at least one request with the model's max seq len (131072), (8.0 GiB KV cache is "
            "needed, which is larger than the available KV cache memory (6.0 GiB). Based on the available memory, the "
            "estimated maximum model length is 98304.",
            "RuntimeError: Engine process failed to start",
        ),
        last_words(
            "no memory for the KV cache", "Nothing is left for the KV cache", "No available memory for the cache blocks"
        ),
        last_words(
            "shared memory is too small",
            "The container's shared memory is too small",
            "torch.distributed.DistBackendError: NCCL error in: ../torch/csrc/distributed/c10d/NCCLUtils.hpp:317, "
            "unhandled system error (run with NCCL_DEBUG=INFO for details), NCCL version 2.21.5",
            "Error while creating shared memory segment /dev/shm/nccl-F9ffgB (size 9637888)",
        ),
        last_words(
            "its user has no name",
            "The container has no user of uid 1000910000",
            '  File "/usr/lib/python3.12/getpass.py", line 169, in getuser',
            "    return pwd.getpwuid(os.getuid())[0]",
            "KeyError: 'getpwuid(): uid not found: 1000910000'",
        ),
        last_words(
            "the driver does not fit the image's CUDA",
            "CUDA does not start (error 803)",
            "RuntimeError: Unexpected error from cudaGetDeviceCount(). Did you run some cuda functions before calling "
            "NumCudaDevices() that might have already set an error? Error 803: system has unsupported display driver / "
            "cuda driver combination",
        ),
        last_words(
            "a weights file is a pointer",
            "A weights file is broken (HeaderTooLarge)",
            '    with safe_open(filename, framework="pt", device=device) as f:',
            "safetensors_rust.SafetensorError: Error while deserializing header: HeaderTooLarge",
        ),
        last_words(
            "WSL2",
            "vLLM needs memory that CPU and GPU share",
            "RuntimeError: UVA is not available",
            "RuntimeError: Engine process failed to start",
        ),
        Fault(
            "the kernel kills it, out of memory",
            ("The container ran out of memory, and the kernel killed it", "OOMKilled", "add memory or swap"),
            # Another process of the container takes the memory, and the service is the first to die for it.
            *as_soon_as_it_runs(
                "docker update --memory 96m --memory-swap 96m $new;"
                ' echo 1000 >"/proc/$(docker inspect --format {{.State.Pid}} $new)/oom_score_adj";'
                ' docker exec $new python3 -c "bytearray(10**8)"',
                f"docker update --memory 4g --memory-swap 8g $(docker ps --all --quiet {NEW})",
            ),
        ),
        Fault(
            "it is killed by SIGKILL",
            ("It was killed (SIGKILL)", "exit status 137"),
            *as_soon_as_it_runs("docker kill --signal KILL $new"),
        ),
        Fault(
            "it ends before it is ready",
            ("did not become ready", "exit status 1"),
            wish={"env": {"LAB_CRASH": "before-ready"}},
        ),
        Fault(
            "the host's memory does not suffice to build the engine",
            ("did not become ready", "137", "host's memory was exhausted", "add memory"),
            wish={"env": {"LAB_CRASH": "oom"}},
        ),
        Fault(
            "it gets no further",
            ("nothing has happened for", "nim_container_ready_budgets"),
            wish={"env": {"LAB_HANG": "before-ready"}},
            wrong={"nim_container_ready_budgets": {"start": 3, "download": 3, "load": 3}},
        ),
        Fault(
            "it does not answer what is expected",
            ("answers, but not what is expected", "Paris is the capital of France", "Lyon"),
            wish={"verify": [{"prompt": "What is the capital of France?", "expect": "Lyon"}]},
        ),
        Fault(
            "an address that the server has not",
            ("The host has no address 192.0.2.1", "cannot assign requested address"),
            wish={"address": "192.0.2.1"},
        ),
        Fault(
            "a firewall between control node and endpoint",
            ("does not answer the control node", "the way to it: address, firewall"),
            "iptables -I DOCKER-USER -s 10.83.0.1 -p tcp --dport 8000 -j REJECT",
            "iptables -D DOCKER-USER -s 10.83.0.1 -p tcp --dport 8000 -j REJECT",
        ),
        # These three leave a release that nobody has proven yet: each is the last on a server of its own.
        Fault(
            "the Docker Engine is stopped",
            ("Docker does not answer",),
            *as_soon_as_it_runs(*DOCKER),
            host=RESTARTS,
            serves=False,
        ),
        Fault(
            "ssh is cut off",
            ("cannot be reached any more",),
            *as_soon_as_it_runs(*SSHD),
            host="gpu2",
            serves=False,
        ),
        Fault(
            "the control node is killed",
            ("Another run is working on this host", "locked by", "nim_break_lock=true"),
            killed_at="wait until it is ready",
            host="gpu3",
            serves=False,
        ),
    ],
    asks=NEXT,
    # Where a run was cut off, its lock is taken over.
    mended={"nim_break_lock": True},
    changes=True,
)
