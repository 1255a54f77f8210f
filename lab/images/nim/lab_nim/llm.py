# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""A checkpoint that is loaded, and text that it goes on with: mistral.rs on the CPU, whose architectures it has."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from jinja2.sandbox import ImmutableSandboxedEnvironment
from mistralrs import ChatCompletionRequest, ModelDType, Runner, Which


@dataclass(frozen=True)
class Sampling:
    max_tokens: int
    temperature: float = 0.0
    top_p: float | None = None
    stop: tuple[str, ...] = ()
    ignore_eos: bool = False


@dataclass(frozen=True)
class Piece:
    """A bit of text; the last one says why it ends and how many tokens there were."""

    text: str
    finish_reason: str | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0


class NoChatTemplate(Exception):
    pass


class Llm:
    def __init__(self, folder: Path, chat_template_file: str = "") -> None:
        self._settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
        if chat_template_file:
            self._settings["chat_template"] = Path(chat_template_file).read_text(encoding="utf-8")
        # Only a chat request streams, so a prompt goes in as one message, through a template that leaves it as it is.
        self._runner = Runner(
            which=Which.Plain(model_id=str(folder), dtype=ModelDType.F32),
            jinja_explicit=str(Path(__file__).parent / "prompt_as_it_is.jinja"),
            token_source="none",
            max_seqs=64,
        )
        self._one_at_a_time = threading.Lock()  # a Runner refuses a call while another one is being taken
        self.max_model_len = self._runner.max_sequence_length() or 0

    def count(self, prompt: str) -> int:
        with self._one_at_a_time:
            return len(self._runner.tokenize_text(prompt, True, None))

    def render_chat(self, messages: list[dict], chat_template: str | None = None) -> str:
        """Messages as the checkpoint's chat template writes them, ready for the answer to follow."""
        template = chat_template or self._settings.get("chat_template")
        if not template:
            raise NoChatTemplate
        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        environment.globals["strftime_now"] = lambda form: datetime.now(timezone.utc).strftime(form)
        tokens = {name: value for name, value in self._settings.items() if name.endswith("_token")}
        return environment.from_string(template).render(messages=messages, add_generation_prompt=True, **tokens)

    def generate(self, prompt: str, sampling: Sampling) -> Iterator[Piece]:
        request = ChatCompletionRequest(
            messages=[{"role": "user", "content": prompt}],
            model="default",
            stream=True,
            logprobs=True,
            max_tokens=sampling.max_tokens,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            stop_seqs=list(sampling.stop) or None,
            ignore_eos=sampling.ignore_eos,
        )
        with self._one_at_a_time:  # answers themselves are generated side by side
            chunks = self._runner.send_chat_completion_request(request)
        first = True
        for chunk in chunks:
            choice = chunk.choices[0]
            text = choice.delta.content or ""
            if first and text and choice.logprobs and choice.logprobs.token.endswith(text):
                text = choice.logprobs.token  # with the space that mistral.rs takes off the first token
            first = first and not text
            usage = chunk.usage
            yield Piece(
                text,
                choice.finish_reason,
                usage.prompt_tokens if usage else 0,
                usage.completion_tokens if usage else 0,
            )
