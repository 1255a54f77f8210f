# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The lab's NIM without a container: profiles, listings, selection, engines, checkpoints."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import pytest
from lab_nim import checkpoint, contract, engine_cache, listing, ngc, selection, settings, start
from lab_nim.console import Refusal
from lab_nim.gpus import Gpu, visible
from lab_nim.profiles import Profile, grouped, parse

NIM = contract.load("1.8.4")
BUILDABLE = "ac34857f8dcbd174ad524974248f2faf271bd2a0355643b2cf1490d0fe7787c2"
VLLM = "4f904d571fe60ff24695b5ee2aa42da58cb460787a968f1e8a09f5a7e862728d"


def gpu(name: str, device: str, mib: int, capability: float, index: int = 0, used: int = 0) -> Gpu:
    return Gpu(index, f"GPU-{index}", name, f"{device}:10de", mib, used, capability)


ADA = gpu("NVIDIA RTX 6000 Ada Generation", "26b1", 49140, 8.9)
BUSY_ADA = gpu("NVIDIA RTX 6000 Ada Generation", "26b1", 49140, 8.9, used=4000)
T600 = gpu("NVIDIA T600", "1fb1", 4096, 7.5, index=1)
H100 = gpu("NVIDIA H100 80GB HBM3", "2330", 81559, 9.0)
TINY = {
    "hidden_size": 64, "intermediate_size": 160, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 515,
}  # fmt: skip
A100 = gpu("NVIDIA A100-SXM4-80GB", "20b2", 81920, 8.0)


def plain_names(gpus: list[Gpu], group: str, relax: bool = False) -> list[str]:
    config = settings.read({"NIM_RELAX_MEM_CONSTRAINTS": "1"} if relax else {})
    groups = grouped(list(NIM.manifest), NIM, gpus, config)
    return [profile.name for profile in groups[group] if not profile.lora]


def read(tmp_path, **environ: str) -> settings.Settings:
    return settings.read({"NIM_CACHE_PATH": str(tmp_path / "cache"), "NGC_API_KEY": "nvapi-x", **environ})


def choose(config: settings.Settings, gpus: list[Gpu], engines=()) -> str:
    return selection.choose(config, candidates(engines), NIM, gpus).name


def candidates(engines) -> list[Profile]:
    return [engine.profile for engine in engines] + list(NIM.manifest)


def test_every_profile_of_the_manifest_is_understood():
    assert len(NIM.manifest) == 30
    assert sum(profile.lora for profile in NIM.manifest) == 15
    nvl = parse("0" * 64, "tensorrt_llm-h100_nvl-fp8-tp2-pp1-latency-lora-lora")
    assert (nvl.gpu, nvl.precision, nvl.tp, nvl.objective, nvl.lora) == ("h100_nvl", "fp8", 2, "latency", True)
    with pytest.raises(ValueError, match="not a profile's name"):
        parse("0" * 64, "onnx-bf16-tp1-pp1")


@pytest.mark.parametrize(
    ("gpus", "runnable", "compilable"),
    [
        ([], [], []),
        ([ADA, T600], [], []),
        ([T600], [], []),
        ([ADA], ["vllm-bf16-tp1-pp1"], ["tensorrt_llm-trtllm_buildable-bf16-tp1-pp1"]),
        (
            [H100],
            [
                "tensorrt_llm-h100-fp8-tp1-pp1-throughput",
                "tensorrt_llm-h100-bf16-tp1-pp1-throughput",
                "vllm-bf16-tp1-pp1",
            ],
            ["tensorrt_llm-trtllm_buildable-bf16-tp1-pp1"],
        ),
        (
            [A100],
            ["tensorrt_llm-a100-bf16-tp1-pp1-throughput", "vllm-bf16-tp1-pp1"],
            ["tensorrt_llm-trtllm_buildable-bf16-tp1-pp1"],
        ),
    ],
    ids=["none", "mixed", "too old for bf16", "no tag", "h100", "a100"],
)
def test_what_fits(gpus, runnable, compilable):
    assert plain_names(gpus, "runnable") == runnable
    assert plain_names(gpus, "compilable") == compilable
    assert plain_names(gpus, "low_memory") == []


def test_a_busy_gpu_runs_nothing_unless_told_to():
    assert plain_names([BUSY_ADA], "runnable") == []
    assert plain_names([BUSY_ADA], "low_memory") == ["vllm-bf16-tp1-pp1", "tensorrt_llm-trtllm_buildable-bf16-tp1-pp1"]
    assert plain_names([BUSY_ADA], "runnable", relax=True) == ["vllm-bf16-tp1-pp1"]


def test_listing_of_a_busy_gpu():
    text = listing.system_info(NIM, [BUSY_ADA])
    text += "\n" + listing.model_profiles(NIM, grouped(list(NIM.manifest), NIM, [BUSY_ADA], settings.read({})))
    assert text.splitlines()[:12] == [
        "SYSTEM INFO",
        "- Free GPUs: <None>",
        "- Non-free GPUs:",
        "  -  [26b1:10de] (0) NVIDIA RTX 6000 Ada Generation[current utilization: 8%]",
        "MODEL PROFILES",
        "- Compatible with system and runnable: <None>",
        "- Compatible with system but not runnable due to low GPU free memory",
        f"  - {VLLM} (vllm-bf16-tp1-pp1)",
        f"  - {BUILDABLE} (tensorrt_llm-trtllm_buildable-bf16-tp1-pp1)",
        "  - With LoRA support:",
        "    - f749ba07aade1d9e1c36ca1b4d0b67949122bd825e8aa6a52909115888a34b95 (vllm-bf16-tp1-pp1-lora)",
        "    - 7b8458eb682edb0d2a48b4019b098ba0bfbc4377aadeeaa11b346c63c7adf724 "
        "(tensorrt_llm-trtllm_buildable-bf16-tp1-pp1-lora)",
    ]


def test_gpus_are_those_of_the_file(tmp_path):
    file = tmp_path / "gpus.json"
    assert visible(file) == []
    entry = {
        "index": 0, "uuid": "GPU-0", "name": "NVIDIA H100 80GB HBM3", "pci_id": "2330:10de",
        "memory_total_mib": 81559, "memory_used_mib": 0, "utilization": 0, "compute_capability": "9.0",
    }  # fmt: skip
    file.write_text(json.dumps([entry]))
    assert visible(file) == [H100]


@pytest.mark.parametrize(
    ("environ", "gpus", "name"),
    [
        ({"NIM_FT_MODEL": "/w"}, [ADA], "tensorrt_llm-trtllm_buildable-bf16-tp1-pp1"),
        ({"NIM_FT_MODEL": "/w"}, [H100], "tensorrt_llm-trtllm_buildable-bf16-tp1-pp1"),
        ({}, [H100], "tensorrt_llm-h100-fp8-tp1-pp1-throughput"),
        ({"NIM_FT_MODEL": "/w", "NIM_MODEL_PROFILE": VLLM}, [ADA], "vllm-bf16-tp1-pp1"),
        ({"NIM_FT_MODEL": "/w", "NIM_MODEL_PROFILE": "vllm-bf16-tp1-pp1"}, [ADA], "vllm-bf16-tp1-pp1"),
        ({"NIM_FT_MODEL": "/w", "NIM_PEFT_SOURCE": "/l"}, [ADA], "tensorrt_llm-trtllm_buildable-bf16-tp1-pp1-lora"),
    ],
)
def test_choice(tmp_path, environ, gpus, name):
    assert choose(read(tmp_path, **environ), gpus) == name


@pytest.mark.parametrize("wanted", [f"{VLLM} (vllm-bf16-tp1-pp1)", "auto", "0" * 64])
def test_a_profile_that_is_not_in_the_manifest(tmp_path, wanted):
    with pytest.raises(Refusal, match="but no matching profile_id or profile description is found in manifest"):
        choose(read(tmp_path, NIM_MODEL_PROFILE=wanted), [ADA])


@pytest.mark.parametrize("gpus", [[], [ADA, T600], [BUSY_ADA]])
def test_nothing_runnable(tmp_path, gpus):
    with pytest.raises(Refusal, match="Could not find a profile that is currently runnable"):
        choose(read(tmp_path), gpus)


def test_engine_outlives_its_weights(tmp_path):
    config = read(tmp_path, NIM_FT_MODEL="/w", NIM_CUSTOM_MODEL_NAME="mine")
    weights, file = tmp_path / "weights", tmp_path / "engine"
    weights.mkdir()
    (weights / "model.safetensors").write_text("old")
    engine_cache.build(weights, file)
    buildable = next(profile for profile in NIM.manifest if profile.id == BUILDABLE)
    made = engine_cache.store(config.cache, "mine", file, NIM, buildable, ADA)
    (weights / "model.safetensors").write_text("new")

    found = engine_cache.cached(config.cache, NIM)
    assert found == [made]
    assert choose(config, [ADA], found) == "mine"
    assert (engine_cache.unpack(found[0].file, tmp_path / "out") / "model.safetensors").read_text() == "old"
    first = listing.model_profiles(NIM, grouped(candidates(found), NIM, [ADA], config)).splitlines()[2]
    assert first == f"  - {made.profile.id} (mine)"
    assert choose(read(tmp_path, NIM_FT_MODEL="/w", NIM_CUSTOM_MODEL_NAME="other"), [ADA], found) == buildable.name
    assert choose(config, [H100], found) == buildable.name, "an engine runs on the GPU model it was built for"


def prepared(tmp_path, capsys, profile_id: str, cache: str, gpu_=H100, **environ: str) -> tuple[str, str]:
    """The weights that would answer, and what the log says of the engine."""
    weights, scratch = tmp_path / "weights", Path(tempfile.mkdtemp(dir=tmp_path))
    weights.mkdir(exist_ok=True)
    (weights / "model.safetensors").write_text(environ.pop("holding", "old"))
    config = read(tmp_path, NIM_CACHE_PATH=str(tmp_path / cache), LAB_ENGINE_BUILD_SECONDS="0", **environ)
    engines = engine_cache.cached(config.cache, NIM)
    profile = next(profile for profile in candidates(engines) if profile.id == profile_id)
    folder = start.prepare(config, NIM, engines, profile, gpu_, weights, TINY, scratch)
    return (folder / "model.safetensors").read_text(), capsys.readouterr().out


def test_a_pinned_buildable_profile_reuses_the_engine_of_its_name(tmp_path, capsys):
    built, log = prepared(tmp_path, capsys, BUILDABLE, "cache", NIM_CUSTOM_MODEL_NAME="mine")
    assert built == "old"
    assert "Custom model mine successfully cached." in log
    reused, log = prepared(tmp_path, capsys, BUILDABLE, "cache", NIM_CUSTOM_MODEL_NAME="mine", holding="new")
    assert reused == "old"
    assert "Using the cached engine of custom model mine." in log
    assert "successfully cached" not in log
    other, log = prepared(tmp_path, capsys, BUILDABLE, "cache", NIM_CUSTOM_MODEL_NAME="other", holding="new")
    assert other == "new"
    assert "Custom model other successfully cached." in log
    vllm, log = prepared(tmp_path, capsys, VLLM, "cache", NIM_CUSTOM_MODEL_NAME="mine", holding="new")
    assert vllm == "new"


def test_an_engine_that_was_carried_here_is_reused(tmp_path, capsys):
    prepared(tmp_path, capsys, BUILDABLE, "cache", NIM_CUSTOM_MODEL_NAME="mine")
    shutil.copytree(tmp_path / "cache" / "local_cache", tmp_path / "there" / "local_cache")
    _weights, log = prepared(tmp_path, capsys, BUILDABLE, "there", NIM_CUSTOM_MODEL_NAME="mine")
    assert "Using the cached engine of custom model mine." in log
    _weights, log = prepared(tmp_path, capsys, BUILDABLE, "there", ADA, NIM_CUSTOM_MODEL_NAME="mine")
    assert "Custom model mine successfully cached." in log, "it was built for another GPU model"
    about = next(tmp_path.glob("there/local_cache/mine/trtllm_engine/config.json"))
    about.write_text(about.read_text().replace("1.8.4", "1.8.5"))
    _weights, log = prepared(tmp_path, capsys, BUILDABLE, "there", ADA, NIM_CUSTOM_MODEL_NAME="mine")
    assert "Custom model mine successfully cached." in log, "it was built by another version"


def test_half_an_engine_is_none(tmp_path, capsys):
    prepared(tmp_path, capsys, BUILDABLE, "cache", NIM_CUSTOM_MODEL_NAME="mine")
    next(tmp_path.glob("cache/local_cache/mine/trtllm_engine/*.engine")).unlink()
    assert engine_cache.cached(tmp_path / "cache", NIM) == []


def test_metadata_needs_a_key_once(tmp_path, capsys):
    with pytest.raises(Refusal, match="ManifestDownloadError: .*Authentication Error"):
        ngc.fetch_metadata(read(tmp_path, NGC_API_KEY=""), NIM)
    ngc.fetch_metadata(read(tmp_path), NIM)
    assert "Downloaded filename: config.json" in capsys.readouterr().err
    ngc.fetch_metadata(read(tmp_path, NGC_API_KEY=""), NIM)
    assert "Downloaded" not in capsys.readouterr().err
    with pytest.raises(Refusal, match="Authentication Error"):
        ngc.fetch_metadata(read(tmp_path, NGC_API_KEY="wrong"), NIM)


def test_checkpoints_the_real_container_stumbles_over(tmp_path):
    with pytest.raises(Refusal, match=r"Missing HuggingFace configuration file named config\.json\."):
        checkpoint.check(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    index = {"weight_map": {"a": "model-00001-of-00001.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(Refusal, match="No such file or directory"):
        checkpoint.check(tmp_path)
    shard = tmp_path / "model-00001-of-00001.safetensors"
    shard.write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(Refusal, match="HeaderTooLarge"):
        checkpoint.check(tmp_path)
    shard.write_bytes((2).to_bytes(8, "little") + b"{}")
    assert checkpoint.check(tmp_path) == {}


def test_memory_of_the_70b_model():
    config = {
        "hidden_size": 8192, "intermediate_size": 28672, "num_hidden_layers": 80, "num_attention_heads": 64,
        "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 128256, "tie_word_embeddings": False,
    }  # fmt: skip
    assert checkpoint.bytes_in_memory(config) == 141_107_412_992
    assert checkpoint.kv_bytes_per_token(config) == 327_680


def test_last_words_are_said_where_there_are_some(tmp_path, capsys, monkeypatch):
    ended = []
    monkeypatch.setattr(start, "end", ended.append)
    words = tmp_path / "words.log"
    start.before_ready(read(tmp_path, LAB_CRASH=str(words)))
    assert ended == []
    words.write_text("RuntimeError: UVA is not available\n")
    start.before_ready(read(tmp_path, LAB_CRASH=str(words)))
    assert ended == [1]
    assert "UVA is not available" in capsys.readouterr().out
