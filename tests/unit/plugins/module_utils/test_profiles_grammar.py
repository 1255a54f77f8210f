# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Listings made from a model of the grammar are read back as the model, in whatever dialect, and whatever else is
written between and around the lines."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem
from ansible_collections.llmops.nim.plugins.module_utils._profile_name import read_name
from ansible_collections.llmops.nim.plugins.module_utils._profiles import parse_listing

# Some dialects leave out the colon, also before <None>.
HEADINGS = {
    "runnable": ["Compatible with system and runnable", "Compatible with the system and runnable"],
    "low_memory": [
        "Compatible with system but low memory",
        "Compatible with system but not runnable due to low GPU free memory",
    ],
    "compilable": ["Compilable to TRT-LLM using just-in-time compilation of HF models to TRTLLM engines"],
    "incompatible": ["Incompatible with system", "Incompatible with the system"],
}

ids = st.integers(0, 16**64 - 1).map(lambda number: f"{number:064x}")
numbers = st.sampled_from([1, 2, 4, 8, 16])


@st.composite
def names(draw):
    """(description, what it says)."""
    engine = draw(st.sampled_from(["tensorrt_llm", "vllm", "sglang"]))
    says = {"engine": engine, "gpu": None, "precision": None, "objective": None, "memory_gb_per_gpu": None}
    says.update(tensor_parallel=None, pipeline_parallel=None, buildable=False, lora=False, pytorch=False)
    if draw(st.booleans()) and draw(st.booleans()):
        return engine, dict(says, buildable=None if engine == "tensorrt_llm" else False)
    name = engine
    says["precision"] = draw(st.sampled_from(["bf16", "fp16", "fp8", "nvfp4", "mxfp4", "int8", "w4a16", None]))
    made_for = draw(st.sampled_from([None, "h100", "A100", "h100_nvl", "a100_sxm4_40gb", "rtx6000_blackwell_sv"]))
    if draw(st.booleans()) and engine == "tensorrt_llm":
        says["buildable"] = True
        name += draw(st.sampled_from(["-trtllm_buildable", "-local_build"]))
    elif made_for and says["precision"]:
        says["gpu"] = made_for.lower()
        name += f"-{made_for}"
    if says["precision"]:
        name += f"-{says['precision']}"
    says["tensor_parallel"] = draw(numbers)
    name += f"-tp{says['tensor_parallel']}"
    says["pipeline_parallel"] = draw(st.none() | numbers)
    if says["pipeline_parallel"]:
        name += f"-pp{says['pipeline_parallel']}"
    says["objective"] = draw(st.sampled_from([None, "latency", "throughput"]))
    if says["objective"]:
        name += f"-{says['objective']}"
    lora = draw(st.sampled_from(["", "-lora", "-lora-lora", "-feat_lora", "-lora-32"]))
    says["lora"] = bool(lora)
    name += lora
    tail = draw(st.sampled_from(["", "hash", "device", "pytorch", "size"]))
    if tail == "hash":
        name += f"-{draw(ids)}"
    elif tail == "device":
        name += f"-2321:10de-{draw(ids)}-4"
    elif tail == "pytorch":
        says["pytorch"] = True
        name += draw(st.sampled_from(["-pytorch-26b9", "-pytorch"]))
    elif tail == "size":
        says["memory_gb_per_gpu"] = draw(st.integers(1, 999)) / 2
        name += f"-{says['memory_gb_per_gpu']:.1f}"
    return name, says


printable = st.text(st.characters().filter(str.isprintable), min_size=1, max_size=40)
# Names of cached engines that look like something else.
MISLEADING = [
    "Compatible with system and runnable:",
    "- With LoRA support: <None>",
    "MODEL PROFILES",
    "type=onnx,precision=fp16",
    "a) [requires >=3 GB/gpu]",
    "a) [requires >=3 GB/gpu, try --max-model-len=1 to reduce to >=2 GB/gpu",
    "x] (y) [z",
    "[x]",
    "(",
    ")",
    "...",
    "```",
    "{}",
    " with blanks around ",
    "nim-1  | mine",
    "ab" * 32,
    f"{'ab' * 32} (vllm)",
    "Traceback (most recent call last):",
    "größe: 70b → 4 bit 🦜",
    "<None>",
    "tp1",
    "https://example.com/a?b=c#d",
]


@st.composite
def engines(draw):
    """(description of a cached engine, what it says): any text on one line."""
    text = draw(st.sampled_from(MISLEADING) | printable)
    says = read_name(text)
    assume(says["engine"] is None and says["gpu"] is None)
    return text, says


@st.composite
def hints(draw):
    """(text behind the entry, memory, length, reduced memory)."""
    if draw(st.booleans()):
        return "", None, None, None
    memory, less, length = draw(st.integers(1, 300)), draw(st.integers(1, 300)), draw(st.integers(1, 10**7))
    return draw(
        st.sampled_from(
            [
                (f" [requires >={memory} GB/gpu]", memory, None, None),
                (f" [requires >={memory}.5 GB/gpu]", memory + 0.5, None, None),
                (f" [requires >={memory} GB/gpu per 2 GPUs]", memory, None, None),
                (f"[requires >={memory} GB/gpu]", memory, None, None),
                (f" [requires &gt;={memory} GB/gpu (of 2)] [not seen yet]", memory, None, None),
                (f" [requires >={memory} GB/gpu per 4 GPUs, try --max-model-len={length}]", memory, length, None),
                (f" [requires >={memory} GB/gpu, try --max-model-len={length}]", memory, length, None),
                (
                    f" [requires >={memory} GB/gpu, try --max-model-len={length} to reduce to >={less} GB/gpu]",
                    memory,
                    length,
                    less,
                ),
            ]
        )
    )


@st.composite
def listings(draw):
    """(lines, GPUs, profiles)."""
    lines, gpus, profiles = ["SYSTEM INFO"], [], []
    for free in (True, False):
        count = draw(st.integers(0, 2))
        lines.append(f"- {'Free' if free else 'Non-free'} GPUs:" + ("" if count else " <None>"))
        for index in range(count):
            used = draw(st.none() | st.integers(0, 100))
            family = draw(st.sampled_from([None, "L40S", "A100 80GB"]))
            name = draw(st.sampled_from(["NVIDIA L40S", "NVIDIA RTX 6000 Ada Generation", "NVIDIA H100 80GB HBM3"]))
            blank = draw(st.sampled_from(["", " "]))
            shown = f" ({family})" if family else ""
            percent = "N/A" if used is None else used
            lines.append(f"  -  [26b9:10de] ({index}) {name}{shown}{blank}[current utilization: {percent}%]")
            gpus.append(
                {
                    "index": index,
                    "name": name,
                    "family": family,
                    "pci_id": "26b9:10de",
                    "free": free,
                    "utilization_percent": used,
                }
            )
    lines.append("MODEL PROFILES")
    unused = iter(draw(st.lists(ids, unique=True, min_size=40, max_size=40)))
    for group in HEADINGS:
        if group in ("low_memory", "compilable") and draw(st.booleans()):
            continue
        plain = draw(st.lists(names(), max_size=4))
        if group == "runnable":
            plain = draw(st.lists(engines(), max_size=2)) + plain
        # None: no list of its own; those that serve adapters then stand among the others (names say so).
        with_lora = draw(st.none() | st.lists(names(), max_size=3))
        bare = not plain and not with_lora
        lines.append("- " + draw(st.sampled_from(HEADINGS[group])) + draw(ends(bare, group == "incompatible")))
        indents = draw(
            st.sampled_from([("", ""), ("  ", "    "), ("    ", "    "), ("\t", "\t\t"), ("  ", "        ")])
        )
        for indent, entries, in_lora_list in zip(indents, (plain, with_lora), (False, True)):
            if in_lora_list and entries is not None:
                lines.append(f"{indents[0]}- With LoRA support{draw(ends(not entries, True))}")
            for name, says in entries or ():
                hint, memory, length, reduced = draw(hints())
                key = next(unused)
                lines.append(f"{indent}- {key} ({name}){hint}")
                profile = dict(says, id=key, description=name, group=group, lora=in_lora_list or says["lora"])
                profile.update(max_model_len_hint=length, reduced_memory_gb_per_gpu=reduced)
                if memory is not None:
                    profile["memory_gb_per_gpu"] = memory
                if group == "compilable":
                    profile["buildable"] = True
                profiles.append(profile)
    # A listing of nothing but such names is that of another kind of NIM.
    assume(not profiles or not all(one["description"].startswith("type=") for one in profiles))
    return lines, gpus, profiles


def ends(bare, may_say_nothing):
    """How a heading ends, with nothing below it (bare) or something."""
    if not bare:
        return st.sampled_from([":", ""])
    return st.sampled_from(
        [": <None>", " <None>", ":<None>", ": &lt;None&gt;", *([":", ""] if may_say_nothing else [])]
    )


log_texts = st.text(st.characters(max_codepoint=0x2FF, blacklist_characters="|").filter(str.isprintable), max_size=40)
noise = log_texts.map(lambda text: f"INFO 2025-10-21 15:06:40.532 manifest.rs:160] {text}") | st.sampled_from(
    [
        "",
        "   ",
        "rc=0",
        "2025-05-22T09:03:42.752024Z  INFO nim_hub_ngc::api::tokio::builder: ngc configured with api_loc: api.ngc.x",
        "WARNING 2026-07-13 09:08:19.365 arg_utils.py:1699] Field 'port' not found in NimAsyncEngineArgs",
        f"Profile {'0a' * 32} is not fully defined with checksums",
        f"WARNING profile_utils.py:879] Profile {'0a' * 32} does not support LoRA, but LoRA is enabled.",
        "\x1b[33mINFO\x1b[0m manifest.rs:160] first-level manifest validation skipped for version 1 schema",
        '{"level": "INFO", "time": "None", "message": "config.json found in cache", "exc_info": "None"}',
        '{"not": "a record"}',
        '{"broken',
        "[... about 20 more lines of licence ...] and so on",
        "Downloading   3%|▎     | 1/32\rDownloading 100%|██████| 32/32",
        "-rw-r--r-- 1 nim nim 3 model_manifest.yaml",
    ]
)


@given(listings())
def test_what_is_written_is_read(listing):
    lines, gpus, profiles = listing
    read = parse_listing("\n".join(lines))
    assert read["gpus"] == gpus
    assert read["profiles"] == profiles


@given(listings(), st.data())
def test_noise_between_the_lines_changes_nothing(listing, data):
    lines, gpus, profiles = listing
    noisy = []
    for line in lines:
        noisy += data.draw(st.lists(noise, max_size=2))
        noisy.append(line)
    read = parse_listing("\n".join(noisy + data.draw(st.lists(noise, max_size=3))))
    assert read["gpus"] == gpus
    assert read["profiles"] == profiles


def _json(lines, size):
    """Log records of so many lines each."""
    for start in range(0, len(lines), size):
        yield json.dumps({"level": "INFO", "message": "\n".join(lines[start : start + size]), "exc_info": "None"})


AROUND = {
    "compose": lambda lines: [f"nim-1  | {line}" for line in lines],
    "colours": lambda lines: [f"\x1b[36mnim-llm-1  |\x1b[0m \x1b[1;32m{line}\x1b[0m" for line in lines],
    "kubectl": lambda lines: [f"[pod/nim-0/nim] {line}" for line in lines],
    "time stamps": lambda lines: [f"2026-05-22T09:03:42.752024Z {line}" for line in lines],
    "journald": lambda lines: [f"Nov  3 13:00:00 gpu1 docker[812]: {line}" for line in lines],
    "journald with ISO time": lambda lines: [f"2026-05-22T09:03:42+0200 gpu1 docker[812]: {line}" for line in lines],
    "mail": lambda lines: [f"> {line}" for line in lines],
    "carriage returns": lambda lines: [f"{line}\r" for line in lines],
    "tabs": lambda lines: [f"\t{line}\t" for line in lines],
    "Markdown": lambda lines: ["# What I see", "", "```text", *lines, "```", "- Can you help?", "* I tried all."],
    "recorder": lambda lines: ["+ docker run --rm --gpus all IMAGE list-model-profiles", *lines, "rc=0"],
    "banner": lambda lines: ["- prose with a dash", "== NVIDIA Inference Microservice LLM NIM ==", "", *lines],
    "records of one line": lambda lines: list(_json(lines, 1)),
    "records of seven lines": lambda lines: list(_json(lines, 7)),
    "one record": lambda lines: list(_json(lines, len(lines))),
    "records behind compose": lambda lines: [f"nim-1  | {line}" for line in _json(lines, 3)],
}


@pytest.mark.parametrize("around", AROUND)
@settings(max_examples=30)
@given(listing=listings())
def test_what_others_put_around_it_changes_nothing(around, listing):
    lines, gpus, profiles = listing
    read = parse_listing("\n".join(AROUND[around](lines)))
    assert read["gpus"] == gpus
    assert read["profiles"] == profiles


@given(st.text())
@example("MODEL PROFILES")
@example("SYSTEM INFO\n- \nMODEL PROFILES\n- ")
@example('{"a":' * 50_000)
@example('{"message": "\x00"}')
def test_any_text_is_read_or_refused(text):
    with contextlib.suppress(Problem):
        parse_listing(text)


pieces = st.sampled_from(
    [
        "MODEL PROFILES",
        "SYSTEM INFO",
        "- Free GPUs:",
        "- Compatible with system and runnable:",
        "- Incompatible with system: <None>",
        "  - With LoRA support:",
        f"  - {'ab' * 32} (vllm)",
        f"  - {'cd' * 32} (a) [b",
        f"  - {'ef' * 32}",
        "  -  [26b9:10de] (0) NVIDIA L40S[current utilization: 0%]",
        "[current utilization: 7%]",
        "...",
        "```",
        "- ",
        "Traceback (most recent call last):",
        '{"message": "MODEL PROFILES\\n- Incompatible with system:"}',
    ]
)


@given(st.lists(pieces | st.text(max_size=20), max_size=12))
def test_any_mix_of_pieces_is_read_or_refused(parts):
    try:
        listing = parse_listing("\n".join(parts))
    except Problem as problem:
        remedy = problem.remedy
    else:
        remedy = "none is needed"
        assert len({profile["id"] for profile in listing["profiles"]}) == len(listing["profiles"])
    assert remedy
