# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The HTTP service: /v1/…, in OpenAI's format, with NIM's health, metadata and errors."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from starlette.applications import Starlette
from starlette.concurrency import iterate_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from . import openai
from .console import log
from .contract import Generation, health
from .llm import Llm, NoChatTemplate, Piece, Sampling
from .openai import ApiError, Shape, Usage
from .profiles import Profile


@dataclass
class Counters:
    running: int = 0
    prompt_tokens: int = 0
    generation_tokens: int = 0
    succeeded: int = 0

    @asynccontextmanager
    async def request(self) -> AsyncIterator[None]:
        self.running += 1
        try:
            yield
        finally:
            self.running -= 1

    def finished(self, usage: Usage) -> None:
        self.prompt_tokens += usage.prompt_tokens
        self.generation_tokens += usage.completion_tokens
        self.succeeded += 1


@dataclass
class Service:
    generation: Generation
    profile: Profile
    llm: Llm
    served: tuple[str, ...]
    max_model_len: int
    token_milliseconds: float
    counters: Counters = field(default_factory=Counters)
    started: int = field(default_factory=lambda: int(time.time()))

    # --- what it is, and whether it is well ---

    async def live(self, _request: Request) -> Response:
        return JSONResponse(health(self.generation, "live"))

    async def ready(self, _request: Request) -> Response:
        return JSONResponse(health(self.generation, "ready"))

    async def models(self, _request: Request) -> Response:
        return JSONResponse({"object": "list", "data": [self._model(name) for name in self.served]})

    def _model(self, name: str) -> dict:
        permission = {
            "id": "modelperm-" + name, "object": "model_permission", "created": self.started,
            "allow_create_engine": False, "allow_sampling": True, "allow_logprobs": True,
            "allow_search_indices": False, "allow_view": True, "allow_fine_tuning": False,
            "organization": "*", "group": None, "is_blocking": False,
        }  # fmt: skip
        return {
            "id": name, "object": "model", "created": self.started, "owned_by": "system", "root": name,
            "parent": None, "max_model_len": self.max_model_len, "permission": [permission],
        }  # fmt: skip

    async def metadata(self, _request: Request) -> Response:
        model = f"nim/{self.generation.model}:{self.generation.metadata['snapshot'] or self.generation.version}"
        return JSONResponse({
            "assetInfo": [], "licenseInfo": {"name": "LICENSE", "content": self.generation.legal},
            "modelInfo": [{"modelUrl": model, "shortName": self.generation.model}],
            "version": self.generation.version, "selectedModelProfileId": self.profile.id,
        })  # fmt: skip

    async def version(self, _request: Request) -> Response:
        return JSONResponse(self.generation.api)

    async def metrics(self, _request: Request) -> Response:
        """A few of the real names, without their histograms [unverified for 1.8.4]."""
        counters, label = self.counters, f'{{model_name="{self.served[0]}"}}'
        values = [
            ("num_requests_running", "gauge", counters.running),
            ("num_requests_waiting", "gauge", 0),
            ("prompt_tokens_total", "counter", counters.prompt_tokens),
            ("generation_tokens_total", "counter", counters.generation_tokens),
            ("request_success_total", "counter", counters.succeeded),
        ]
        lines = [f"# TYPE {name} {kind}\n{name}{label} {float(value)}\n" for name, kind, value in values]
        return PlainTextResponse("".join(lines))

    # --- what it is there for ---

    async def complete(self, request: Request) -> Response:
        path = request.url.path
        body = await self._body(request)
        model = openai.checked_model(body, self.served)
        prompt = self._render(model, body) if path == openai.CHAT else openai.checked_prompt(body)
        sampling = self._sampling(path, body, self.llm.count(prompt))
        pieces = self._paced(self.llm.generate(prompt, sampling), self._pause(request))
        shape = Shape(path, model)
        if body.get("stream"):
            with_usage = bool((body.get("stream_options") or {}).get("include_usage"))
            return StreamingResponse(self._events(shape, pieces, with_usage), media_type="text/event-stream")
        return JSONResponse(await self._whole(shape, pieces))

    async def _body(self, request: Request) -> dict:
        try:
            body = await request.json()
        except ValueError as error:
            raise openai.bad_request(f"the body is not JSON: {error}") from error
        if not isinstance(body, dict):
            raise openai.bad_request("the body is not a JSON object")
        if body.get("n", 1) not in (None, 1):
            raise openai.bad_request("n: the lab's NIM gives one answer a request")
        return body

    def _render(self, model: str, body: dict) -> str:
        messages = openai.checked_messages(body)
        try:
            return self.llm.render_chat(messages, body.get("chat_template"))
        except NoChatTemplate:  # status and words [observed, 1.8.4]
            raise ApiError(
                500,
                "InternalServerError",
                f"Model {model} does not have a default chat template defined in the tokenizer.  Set the "
                "`chat_template` field to issue a `/chat/completions` request or use `/completions` endpoint",
            ) from None

    def _sampling(self, path: str, body: dict, prompt_tokens: int) -> Sampling:
        room = self.max_model_len - prompt_tokens
        default = room if path == openai.CHAT else openai.DEFAULT_COMPLETION_TOKENS
        wanted = body.get("max_completion_tokens") or body.get("max_tokens")
        wanted = int(openai.checked_number({"max_tokens": wanted}, "max_tokens", default, 1, 10**9))
        if wanted > room or room < 1:
            raise openai.bad_request(
                f"This model's maximum context length is {self.max_model_len} tokens. However, you requested "
                f"{prompt_tokens + wanted} tokens ({prompt_tokens} in the prompt, {wanted} in the completion). "
                "Please reduce the length of the prompt or completion."
            )
        return Sampling(
            max_tokens=wanted,
            # Greedy unless asked otherwise: a rehearsal should come out the same twice.
            temperature=openai.checked_number(body, "temperature", 0.0, 0, 2),
            top_p=openai.checked_number(body, "top_p", None, 0, 1),
            stop=openai.checked_stop(body),
            ignore_eos=body.get("ignore_eos") is True,
        )

    def _pause(self, request: Request) -> float:
        """Seconds to wait before each token, so that an answer lasts as long as a rehearsal needs it to."""
        value = request.headers.get("x-lab-token-milliseconds")
        if value is None:
            return self.token_milliseconds / 1000
        if not value.isdecimal():
            raise openai.bad_request(f"x-lab-token-milliseconds: a whole number is required, got {value!r}")
        return int(value) / 1000

    async def _paced(self, pieces: Iterator[Piece], pause: float) -> AsyncIterator[Piece]:
        async with self.counters.request():
            async for piece in iterate_in_threadpool(pieces):
                if pause and piece.text:
                    await asyncio.sleep(pause)
                if piece.finish_reason:
                    self.counters.finished(Usage(piece.prompt_tokens, piece.completion_tokens))
                yield piece

    async def _whole(self, shape: Shape, pieces: AsyncIterator[Piece]) -> dict:
        text = ""
        async for piece in pieces:
            text, last = text + piece.text, piece
        return shape.whole(text, last.finish_reason, Usage(last.prompt_tokens, last.completion_tokens))

    async def _events(self, shape: Shape, pieces: AsyncIterator[Piece], with_usage: bool) -> AsyncIterator[str]:
        for chunk in shape.opening():
            yield _event(chunk)
        async for piece in pieces:
            if piece.text or piece.finish_reason:
                yield _event(shape.piece(piece.text, piece.finish_reason))
        if with_usage:
            yield _event(shape.usage(Usage(piece.prompt_tokens, piece.completion_tokens)))
        yield "data: [DONE]\n\n"

    def app(self) -> Starlette:
        get = {
            "/v1/health/live": self.live, "/v1/health/ready": self.ready, "/v1/models": self.models,
            "/v1/metadata": self.metadata, "/v1/version": self.version, "/v1/metrics": self.metrics,
        }  # fmt: skip
        routes = [Route(path, endpoint) for path, endpoint in get.items()]
        routes += [Route(path, self.complete, methods=["POST"]) for path in (openai.COMPLETIONS, openai.CHAT)]
        return Starlette(routes=routes, exception_handlers={ApiError: _api_error})


def _event(chunk: dict) -> str:
    return f"data: {json.dumps(chunk)}\n\n"


async def _api_error(_request: Request, error: ApiError) -> Response:
    return JSONResponse(error.body, status_code=error.status)


def access_logged(app):
    """The ASGI application, with a line in the log for each request when its answer begins."""

    async def logged(scope, receive, send) -> None:
        async def logging_send(message) -> None:
            if message["type"] == "http.response.start":
                client = ":".join(map(str, scope.get("client") or ()))
                request = f"{scope['method']} {scope['path']} HTTP/{scope['http_version']}"
                log("httptools_impl.py:481", f'{client} - "{request}" {message["status"]}')
            await send(message)

        await app(scope, receive, logging_send)

    return logged
