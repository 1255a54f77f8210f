# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Requests and answers of the OpenAI API, in the form NIM 1.x has them."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass

COMPLETIONS, CHAT = "/v1/completions", "/v1/chat/completions"
DEFAULT_COMPLETION_TOKENS = 16  # OpenAI's and vLLM's default for /v1/completions


class ApiError(Exception):
    def __init__(self, status: int, kind: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"object": "error", "message": message, "type": kind, "param": None, "code": status}


def bad_request(message: str) -> ApiError:
    return ApiError(400, "BadRequestError", message)


@dataclass(frozen=True)
class Usage:
    prompt_tokens: int
    completion_tokens: int

    def as_dict(self) -> dict:
        return {
            "prompt_tokens": self.prompt_tokens,
            "total_tokens": self.prompt_tokens + self.completion_tokens,
            "completion_tokens": self.completion_tokens,
        }


def checked_model(body: dict, served: tuple[str, ...]) -> str:
    model = body.get("model")
    if not isinstance(model, str):
        raise bad_request("model: field required")
    if model not in served:
        raise ApiError(404, "NotFoundError", f"The model `{model}` does not exist.")
    return model


def checked_prompt(body: dict) -> str:
    prompt = body.get("prompt")
    if isinstance(prompt, list) and len(prompt) == 1:
        prompt = prompt[0]
    if not isinstance(prompt, str):
        raise bad_request("prompt: a string is required (the lab's NIM takes one prompt a request, as text)")
    return prompt


def checked_messages(body: dict) -> list[dict]:
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise bad_request("messages: a list of messages is required")
    checked = []
    for message in messages:
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise bad_request("messages: each needs a role and a content")
        content = message.get("content") or ""
        if isinstance(content, list):
            content = "".join(part.get("text", "") for part in content if isinstance(part, dict))
        checked.append({**message, "content": content})
    return checked


def checked_number(body: dict, name: str, default: float | None, low: float, high: float) -> float | None:
    value = body.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise bad_request(f"{name}: a number from {low:g} to {high:g} is required, got {value!r}")
    return value


def checked_stop(body: dict) -> tuple[str, ...]:
    stop = body.get("stop") or []
    stop = [stop] if isinstance(stop, str) else stop
    if not isinstance(stop, list) or not all(isinstance(text, str) for text in stop):
        raise bad_request("stop: a string or a list of strings is required")
    return tuple(stop)


class Shape:
    """The objects of one answer: they share id, time and model."""

    def __init__(self, path: str, model: str) -> None:
        self._chat = path == CHAT
        prefix, name = ("chat-", "chat.completion") if self._chat else ("cmpl-", "text_completion")
        self._name = name
        self._common = {"id": prefix + uuid.uuid4().hex, "created": int(time.time()), "model": model}

    def whole(self, text: str, finish_reason: str, usage: Usage) -> dict:
        if self._chat:
            choice = {"index": 0, "message": {"role": "assistant", "content": text}}
        else:
            choice = {"index": 0, "text": text}
        choice |= {"logprobs": None, "finish_reason": finish_reason, "stop_reason": None}
        return {**self._common, "object": self._name, "choices": [choice], "usage": usage.as_dict()}

    def opening(self) -> list[dict]:
        """What a streamed chat answer says before its first word."""
        return [self._chunk({"delta": {"role": "assistant", "content": ""}}, None)] if self._chat else []

    def piece(self, text: str, finish_reason: str | None) -> dict:
        return self._chunk({"delta": {"content": text}} if self._chat else {"text": text}, finish_reason)

    def usage(self, usage: Usage) -> dict:
        return {**self._common, "object": self._chunk_name, "choices": [], "usage": usage.as_dict()}

    @property
    def _chunk_name(self) -> str:
        return "chat.completion.chunk" if self._chat else self._name

    def _chunk(self, choice: dict, finish_reason: str | None) -> dict:
        choice = {"index": 0, **choice, "logprobs": None, "finish_reason": finish_reason, "stop_reason": None}
        return {**self._common, "object": self._chunk_name, "choices": [choice]}
