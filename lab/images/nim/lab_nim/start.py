# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The service, from profile selection to the open port.

In 1.x the port is closed until a model can answer; in 2.x a front with the health routes is there first [documented].
"""

from __future__ import annotations

import os
import socket
import tempfile
import threading
import time
from contextlib import nullcontext
from pathlib import Path

from . import checkpoint, engine_cache, manifest, memory, ngc, selection
from .console import Refusal, log, say
from .contract import Generation
from .front import Front
from .gpus import Gpu, visible
from .profiles import Profile
from .settings import Settings


def serve(settings: Settings, generation: Generation) -> None:
    gpus = visible(settings.gpus_file)
    if generation.engine_port:
        ports = {settings.port, settings.health_port} - {0}
        Front(generation).start([bind("0.0.0.0", port) for port in sorted(ports)])
    ngc.fetch_metadata(settings, generation)
    weights = checkpoint.mounted(settings, generation)
    about = None if generation.model_specific else checkpoint.read_config(weights)
    engines = engine_cache.cached(settings.cache, generation)
    profiles = [engine.profile for engine in engines] + manifest.profiles(generation, settings, about)
    profile = selection.choose(settings, profiles, generation, gpus)
    report(profile)
    if not weights:
        raise Refusal("The lab's NIM has no weights of its own: mount a checkpoint and name it in NIM_FT_MODEL.")
    config = checkpoint.check(weights)
    before_ready(settings)
    with tempfile.TemporaryDirectory(prefix="nim-") as scratch:
        folder = prepare(settings, generation, engines, profile, gpus[0], weights, config, Path(scratch))
        from .llm import Llm  # takes a second, and only the service needs it

        time.sleep(settings.load_seconds)
        llm = Llm(folder, settings.chat_template)
        listen(settings, generation, profile, llm, str(weights))


def report(profile: Profile) -> None:
    log("ngc_injector.py:315", f"Selected profile: {profile.id} ({profile.name})")
    facts = {
        "feat_lora": str(profile.lora).lower(), "gpu": profile.gpu, "llm_engine": profile.engine, "pp": profile.pp,
        "precision": profile.precision, "profile": profile.objective, "tp": profile.tp,
        "trtllm_buildable": "true" if profile.buildable else None,
    }  # fmt: skip
    for name, value in facts.items():
        if value is not None:
            log("ngc_injector.py:323", f"Profile metadata: {name}: {value}")


def before_ready(settings: Settings) -> None:
    """The faults that a rehearsal can ask for."""
    if settings.hang == "before-ready":
        threading.Event().wait()
    if settings.crash == "before-ready":
        raise Refusal("RuntimeError: Engine process failed to start")
    if settings.crash == "oom":
        say("[TRT] [I] Building the engine (rehearsed end: out of memory)")
        say("Killed")
        end(137)
    if settings.crash.startswith("/") and Path(settings.crash).exists():
        say(Path(settings.crash).read_text())
        end(1)


def end(status: int) -> None:
    """At once: running streams are cut, nothing is tidied up."""
    os._exit(status)


# --- weights to serve ---


def prepare(
    settings: Settings,
    generation: Generation,
    engines: list[engine_cache.Engine],
    profile: Profile,
    gpu: Gpu,
    weights: Path,
    config: dict,
    scratch: Path,
) -> Path:
    """The folder whose weights will answer: the mounted one, or what an engine in the cache was built from."""
    for engine in engines:
        same_name = profile.buildable and engine.profile.name == settings.custom_model_name
        if profile.id == engine.profile.id or (same_name and engine.profile.built_for == gpu.pci_id):
            log("engine_cache.py:88", f"Using the cached engine of custom model {engine.profile.name}.")
            return engine_cache.unpack(engine.file, scratch)
    if profile.need:
        memory.check(profile.need, gpu.memory_total_mib, settings.utilization)
    else:
        check_memory(profile, gpu, checkpoint.bytes_in_memory(config))
    if profile.buildable:
        file = scratch / engine_cache.ENGINE
        build(settings, weights, file)
        if settings.custom_model_name:
            engine_cache.store(settings.cache, settings.custom_model_name, file, generation, profile, gpu)
            log("api_server.py:718", f"Custom model {settings.custom_model_name} successfully cached.")
    # unverified: a prebuilt, GPU-tagged profile with NIM_FT_MODEL serves the mounted weights here too.
    return weights


def build(settings: Settings, weights: Path, file: Path) -> None:
    started = time.monotonic()
    engine_cache.build(weights, file)
    reading = time.monotonic() - started
    log("build_utils.py:239", f"Total time of reading and converting rank0 checkpoint: {reading:.2f} s")
    time.sleep(settings.engine_build_seconds)
    log("build_utils.py:247", f"Total time of building rank0 engine: {time.monotonic() - started:.2f} s")
    say(f"Engine size in bytes {file.stat().st_size}")


def check_memory(profile: Profile, gpu: Gpu, needed: int) -> None:
    needed //= profile.tp * profile.pp
    if needed <= gpu.memory_total_mib * 2**20:
        return
    if profile.engine != "tensorrt_llm":  # the words [documented]; the figures are the lab's
        raise Refusal(f"torch.OutOfMemoryError: CUDA out of memory. Tried to allocate {needed / 2**30:.2f} GiB.")
    raise Refusal(
        "[TRT] [E] 2: [virtualMemoryBuffer.cpp::resizePhysical::140] Error Code 2: OutOfMemory "
        "(no further information)\n"
        f"[TRT] [W] Requested amount of GPU memory ({needed} bytes) could not be allocated. "
        "There may not be enough free memory for allocation to succeed.\n"
        "[TRT-LLM] [E] Engine building failed, please check the error log."
    )


# --- the open port ---


def listen(settings: Settings, generation: Generation, profile: Profile, llm, weights: str) -> None:
    import uvicorn

    from .server import Service, access_logged

    class Server(uvicorn.Server):
        def capture_signals(self):
            return nullcontext()  # SIGTERM is ours

    service = Service(
        generation,
        profile,
        llm,
        # unverified: the name weights have when none is given.
        served=settings.served_model_names or (generation.model if generation.model_specific else weights,),
        max_model_len=min(settings.max_model_len or llm.max_model_len, llm.max_model_len),
        token_milliseconds=settings.token_milliseconds,
    )
    address, port = ("127.0.0.1", generation.engine_port) if generation.engine_port else ("0.0.0.0", settings.port)
    log("launcher.py:298", f"Worker starting (pid: {os.getpid()})")
    log("server.py:89", f"Starting HTTP server on port {port}")
    log("server.py:91", f"Listening on address {address}")
    with bind(address, port) as listener:
        log("server.py:82", f"Started server process [{os.getpid()}]")
        log("on.py:48", "Waiting for application startup.")
        log("on.py:62", "Application startup complete.")
        log("server.py:162", f"Uvicorn running on http://{address}:{port} (Press CTRL+C to quit)")
        if settings.crash == "after-ready":
            threading.Timer(settings.crash_after_seconds, crash).start()
        app = access_logged(service.app())
        Server(uvicorn.Config(app, http="h11", ws="none", lifespan="off", log_config=None, access_log=False)).run(
            sockets=[listener]
        )


def bind(address: str, port: int) -> socket.socket:
    # Said aloud, since asyncio sends at once only what it knows to be TCP.
    listener = socket.socket(proto=socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((address, port))
    except OSError as error:
        listener.close()
        raise Refusal(
            f"[Errno {error.errno}] error while attempting to bind on address ('{address}', {port}): "
            f"{os.strerror(error.errno).lower()}",
            source="server.py:170",
        ) from error
    return listener


def crash() -> None:
    log("engine.py:1", "Engine process died unexpectedly (rehearsed)", level="ERROR")
    end(1)
