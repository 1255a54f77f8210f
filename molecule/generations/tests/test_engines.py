"""Engines: one that a server built is carried to another with the same GPU, and no key builds twice on a host."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "shared"))

from lab import changed, model, playbook, run

BUILD_SECONDS = 12
BUILT, REUSED = "successfully cached", "Using the cached engine"
GPUS = "/etc/nim-lab/gpus.json"


def shared(**changes):
    env = {"LAB_ENGINE_BUILD_SECONDS": BUILD_SECONDS, **changes.pop("env", {})}
    return model(name="shared", port=8010, memory_share=0.05, env=env, **changes)


def container(host):
    return run(host, "docker ps --quiet --filter label=llmops.nim.model=shared").strip()


def log(host):
    return run(host, f"docker logs {container(host)} 2>&1")


def ready_seconds(host):
    return json.loads(run(host, "tail -n 1 /var/lib/nim/shared/ledger.jsonl"))["timings"]["ready"]


@pytest.fixture(scope="module")
def deployed():
    """Both servers with the RTX 6000 Ada of gpu2, and the same model on both, the engine built on the first."""
    same = run("gpu2", f"cat {GPUS}")
    swap = f"cp {GPUS} /root/gpus.json; cat > {GPUS} <<'END'\n{same}\nEND\n"
    remove = "docker rm --force $(docker ps -aqf label=llmops.nim.model=shared); rm -rf /var/lib/nim/shared"
    with changed("gpu1", swap, f"cp /root/gpus.json {GPUS}; {remove}"), changed("gpu2", "true", remove):
        yield playbook("deploy", nim_models=[shared()], nim_engine_share=True)


def test_the_second_server_does_not_build_what_the_first_has_built(deployed):
    assert deployed.returncode == 0, deployed.stdout
    assert BUILT in log("gpu1")
    assert ready_seconds("gpu1") >= BUILD_SECONDS
    assert BUILT not in log("gpu2")
    assert REUSED in log("gpu2")
    assert ready_seconds("gpu2") < BUILD_SECONDS
    digests = "cd /var/lib/nim/shared/cache/local_cache; sha256sum */trtllm_engine/*"
    assert run("gpu1", digests) == run("gpu2", digests)


def test_nothing_of_it_is_left_on_the_way(deployed):
    assert not list(Path.home().glob(".cache/llmops.nim/engines/*"))
    for host in ("gpu1", "gpu2"):
        assert run(host, "find /var/lib/nim/shared -name '*.tar'") == ""


def test_a_carried_engine_belongs_to_the_container_s_user_alone(deployed):
    owned = run("gpu2", "stat -c '%u:%g %a' /var/lib/nim/shared/cache/local_cache/*")
    assert owned.strip() == "1000:0 770"


def test_the_plan_reuses_a_cached_engine_and_so_does_the_server(deployed):
    """To another release and back: the engine of the first is still there."""
    other = playbook("deploy", limit="gpu2", nim_models=[shared(weights__revision="v2")])
    assert other.returncode == 0, other.stdout
    assert BUILT in log("gpu2")
    back = playbook("deploy", limit="gpu2", nim_models=[shared(shm_size="8g")])
    assert back.returncode == 0, back.stdout
    assert "engine: reuse" in back.stdout
    assert REUSED in log("gpu2")
