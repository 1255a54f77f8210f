# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Whatever is read from outside, a listing, a header, a log: no crash, no hang, little memory, errors of our own."""

from __future__ import annotations

import contextlib
import json
import signal
import struct
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.llmops.nim.plugins.module_utils import (
    _checkpoint,
    _failures,
    _history,
    _ledger,
    _log_text,
    _nvidia_smi,
    _phases,
    _profiles,
    _report,
    _safetensors,
)
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem

FIXTURES = Path(__file__).parent / "fixtures"
LISTINGS = [path.read_text() for path in sorted((FIXTURES / "profiles").glob("nim_*.txt"))[:6]]
XML = [path.read_text() for path in sorted((FIXTURES / "nvidia_smi").glob("*.xml"))]

# A parser that computes for longer than this over one small input hangs. By no clock: a machine may be busy.
HANG_SECONDS = 5
MOST_BYTES = 64 * 1024**2

FEW = settings(max_examples=60, deadline=None)


@contextlib.contextmanager
def bounded():
    """Ends what hangs; a Problem is an answer, any other error is none."""

    def hangs(*_args):
        raise AssertionError(f"it computed for longer than {HANG_SECONDS} s")

    before = signal.signal(signal.SIGVTALRM, hangs)
    signal.setitimer(signal.ITIMER_VIRTUAL, HANG_SECONDS)
    try:
        with contextlib.suppress(Problem):
            yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def json_values():
    """Any JSON, with numbers that are large and texts that are odd."""
    leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just(2**70)
    return st.recursive(
        leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    )


@st.composite
def mangled(draw, texts):
    """One of the texts with a piece cut out, doubled, or replaced by noise."""
    text = draw(st.sampled_from(texts))
    start = draw(st.integers(0, len(text)))
    end = draw(st.integers(start, min(len(text), start + 400)))
    middle = draw(st.sampled_from(["", text[start:end] * 3, "\x00", "\n" * 50]) | st.text(max_size=40))
    return text[:start] + middle + text[end:]


@FEW
@given(mangled(LISTINGS) | st.text())
def test_listing(text):
    with bounded():
        found = _profiles.parse_listing(text)
        assert set(found) >= {"profiles", "gpus"}


@FEW
@given(mangled(XML) | st.text() | st.text().map(lambda text: f"<nvidia_smi_log><gpu>{text}</gpu></nvidia_smi_log>"))
def test_nvidia_smi(text):
    with bounded():
        for gpu in _nvidia_smi.parse(text)["gpus"]:
            assert isinstance(gpu["index"], int)


def test_nvidia_smi_with_elements_within_elements():
    with bounded():
        _nvidia_smi.parse("<nvidia_smi_log>" + "<a>" * 200_000 + "</a>" * 200_000 + "</nvidia_smi_log>")


def headers():
    entries = st.dictionaries(
        st.text(max_size=8),
        json_values()
        | st.fixed_dictionaries(
            {
                "dtype": st.sampled_from(["BF16", "F32", "F4", "X9"]) | json_values(),
                "shape": st.lists(st.integers(), max_size=4) | json_values(),
                "data_offsets": st.lists(st.integers(), min_size=2, max_size=2) | json_values(),
            }
        ),
        max_size=4,
    )
    return (
        entries.map(lambda value: json.dumps(value).encode())
        | st.binary(max_size=60)
        | json_values().map(lambda value: json.dumps(value).encode())
    )


@FEW
@given(headers(), st.integers(0, 2**63), st.booleans(), st.integers(0, 2**64))
def test_safetensors(header, length, honest, size):
    data = struct.pack("<Q", len(header) if honest else length) + header
    with bounded():
        for tensor in _safetensors.tensors("x", size if not honest else len(data), data).values():
            assert tensor.bytes >= 0


@pytest.mark.parametrize("nested", ["[" * 100_000, '{"a":' * 100_000, '{"a": [' + "1," * 100_000 + "1]}"])
def test_safetensors_deeply_nested(nested):
    data = struct.pack("<Q", len(nested)) + nested.encode()
    with bounded():
        _safetensors.tensors("x", len(data), data)


CONFIG_KEYS = [
    "architectures", "model_type", "torch_dtype", "num_attention_heads", "num_key_value_heads", "hidden_size",
    "head_dim", "num_hidden_layers", "vocab_size", "intermediate_size", "quantization_config", "text_config",
    "layer_types", "max_position_embeddings", "auto_map", "sliding_window", "tie_word_embeddings", "rope_scaling",
]  # fmt: skip


@FEW
@given(
    st.dictionaries(
        st.sampled_from(CONFIG_KEYS), st.integers(-2, 2**40) | st.just("llama") | json_values(), max_size=18
    )
    | json_values(),
    json_values(),
)
def test_config(config, other):
    texts = {"config.json": config, "tokenizer_config.json": other, "hf_quant_config.json": other}
    contents = {name: json.dumps(value).encode() for name, value in texts.items()}
    contents["model.safetensors.index.json"] = json.dumps({"weight_map": other}).encode()
    sizes = {"model.safetensors": 1000, **{name: len(content) for name, content in contents.items()}}
    with bounded():
        problems, _warnings, _facts = _checkpoint.inspect(sizes, contents, set(), {})
        assert all(isinstance(problem, Problem) for problem in problems)


@FEW
@given(st.dictionaries(st.sampled_from(_checkpoint.TEXTS), st.binary(max_size=80)))
def test_config_that_is_no_json(contents):
    with bounded():
        _checkpoint.inspect({name: len(content) for name, content in contents.items()}, contents, set(), {})


TELLING = [
    "Could not find a profile that is currently runnable", "- Free GPUs: <None>", "- Non-free GPUs:", "Killed", "[TRT]",
    "NIM_MODEL_PROFILE is set to", "max seq len (", "403 Client Error", "fatal: ", "x509: ", "dial tcp", "\x1b[31m",
    "nim-1  | ", '{"message": "', '{"log": "{\\"message\\": \\"a\\"}"}', "2025-01-01T00:00:00.1Z ", "\r", "\x00", " ",
]  # fmt: skip


@FEW
@given(
    st.lists(st.sampled_from(TELLING) | st.text(max_size=20) | json_values().map(json.dumps), max_size=60),
    st.sampled_from(["", "\n", " "]),
)
def test_log(pieces, glue):
    text = glue.join(pieces)
    with bounded():
        for cause in _failures.explain(text):
            assert cause.problem.what
            assert cause.problem.remedy
            assert len(cause.problem.evidence) < 2000
        assert isinstance(_failures.unexplained(text), str)
        _log_text.dated(text)
        _phases.Progress(0.0).read(text.splitlines(), 1.0)


@pytest.mark.parametrize("piece", [*TELLING, "a", "get ", "(", "\n", "error "])
def test_a_long_log_of_one_kind_does_not_hang(piece):
    with bounded():
        _failures.explain(piece * (300_000 // len(piece)))


def test_a_huge_log_takes_bounded_memory():
    text = "ERROR something odd\n" * 2_000_000
    tracemalloc.start()
    try:
        _failures.unexplained(text)
        _held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < MOST_BYTES


@FEW
@given(st.lists(json_values().map(lambda value: json.dumps(value).encode()) | st.binary(max_size=60), max_size=8))
def test_ledger(lines):
    with bounded():
        records = _ledger.parse(b"\n".join(lines))
        _ledger.state(records)


RECORD = {"at": "2026-01-01T00:00:00Z", "event": "activated", "release": {"id": "1", "container": "nim-m-1"}}


@FEW
@given(st.dictionaries(st.sampled_from(["at", "event", "release", "from", "run"]), json_values()))
def test_ledger_with_odd_records(changes):
    with bounded():
        records = _ledger.parse(json.dumps({**RECORD, **changes}).encode())
        state = _ledger.state(records)
        assert set(state) == {"current", "previous"}


MEASURED = {"steps": [{"concurrency": 1, "ttft_ms": {"p50": 1.0}, "output_tokens_per_second": 1.0, "failed": 0}]}


@st.composite
def odd_records(draw):
    """A record that any part was done to: what a ledger holds after a disk, an editor or another version."""
    parts = {**RECORD, "timings": {"ready": 1.5}, "strategy": "in_place", "who": "ada", "reason": None, "run": "r"}
    parts.update(measured=MEASURED, event=draw(st.sampled_from(_ledger.EVENTS)), release={**RECORD["release"]})
    for inner, keys in (
        (parts["release"], ["id", "container", "weights", "commit"]),
        (parts["timings"], ["ready", "x"]),
    ):
        inner.update(draw(st.dictionaries(st.sampled_from(keys), json_values())))
    parts.update(draw(st.dictionaries(st.sampled_from(sorted(parts)), json_values(), max_size=3)))
    return parts


@FEW
@given(st.lists(odd_records(), max_size=4))
def test_what_odd_records_are_shown_as(records):
    parsed = _ledger.parse("\n".join(map(json.dumps, [*records, RECORD])).encode())
    told = {"models": {"m": {"records": parsed}}}
    with bounded():
        shown = _history.table([("gpu1", told)], 20).splitlines()
        assert any("activated" in line for line in shown)
        facts = _report.facts({"gpu1": {"ledgers": told}})
        assert "activated" in [one["event"] for one in facts["rollouts"]]
