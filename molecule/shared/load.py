"""Load on an endpoint: streams of real `openai` clients, each judged as whoever waits for its answer would."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections import Counter
from typing import NamedTuple

import openai

PROMPT = "What is the capital of France?"
# How the answers of the lab's two releases begin.
OPENINGS = {"v1": "The capital of France is Paris", "v2": "Paris is the capital of France"}
TOKENS = 10
# Milliseconds before each token: answers of about 0.2 to 3 s. Each drain waits for the longest.
SHORT_MIX = (20, 100, 200, 300, 40)
# After a failure, so that a gateway that is down is not asked thousands of times.
BACKOFF_SECONDS = 0.1


class Stream(NamedTuple):
    """One request: when it began (of time.monotonic()), how long it took and until its first token (s, or None), which
    release answered (a key of OPENINGS, or None), and what was wrong with the answer (or None)."""

    begun: float
    seconds: float
    first: float | None
    release: str | None
    fault: str | None


class Load:
    """Runs while its block does: each of the workers (int) asks again and again, in the rhythms of mix (milliseconds
    before each token). At the end what runs is waited for, and nothing is cut."""

    def __init__(self, base_url, api_key="none", workers=5, mix=SHORT_MIX, model="capitals"):
        self.streams, self.workers = [], workers
        self._asked = {"model": model, "prompt": PROMPT, "max_tokens": TOKENS, "temperature": 0, "stream": True}
        self._client_options = {"base_url": base_url, "api_key": api_key, "max_retries": 0, "timeout": 120}
        self._rhythms = [
            itertools.cycle(mix[worker % len(mix) :] + mix[: worker % len(mix)]) for worker in range(workers)
        ]
        self._texts = {}
        self._ending = False
        self._ended = threading.Condition()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def __enter__(self):
        self._thread.start()
        self.next(1)
        return self

    def __exit__(self, *_error):
        self._ending = True
        self._thread.join()

    @property
    def lost(self):
        """The streams that were not answered as they should have been."""
        return [one for one in self.streams if one.fault]

    def next(self, count=10):
        """Waits for count streams that begin from now on: how many each release answered whole (Counter)."""
        now = time.monotonic()

        def fresh():
            return [one for one in self.streams if one.begun >= now]

        with self._ended:
            assert self._ended.wait_for(lambda: len(fresh()) >= count, timeout=300), "nobody answers any more"
            return Counter(one.release for one in fresh() if not one.fault)

    async def _run(self):
        async with openai.AsyncOpenAI(**self._client_options) as client:
            await asyncio.gather(*(self._worker(client, rhythm) for rhythm in self._rhythms))

    async def _worker(self, client, rhythm):
        while not self._ending:
            stream = await self._stream(client, next(rhythm))
            with self._ended:
                self.streams.append(stream)
                self._ended.notify_all()
            if stream.fault:
                await asyncio.sleep(BACKOFF_SECONDS)

    async def _stream(self, client, pause):
        begun = time.monotonic()
        text, first, reason, ids, fault = "", None, None, set(), None
        try:
            chunks = await client.completions.create(
                **self._asked, extra_body={"ignore_eos": True}, extra_headers={"x-lab-token-milliseconds": str(pause)}
            )
            async for chunk in chunks:
                ids.add(chunk.id)
                for choice in chunk.choices:
                    first = first or time.monotonic() - begun
                    text += choice.text
                    reason = choice.finish_reason or reason
        # Beneath the client is a library whose errors may come through, and which one depends on the client's version.
        except Exception as error:
            fault = f"{type(error).__name__}: {error} {error.__cause__ or ''}".strip()
        release = next((name for name, opening in OPENINGS.items() if text.strip().startswith(opening)), None)
        fault = fault or self._fault(text, reason, ids, release)
        return Stream(begun, time.monotonic() - begun, first, release, fault)

    def _fault(self, text, reason, ids, release):
        """What is wrong with an answer that came to its end (str), or None."""
        if reason is None:
            return f"cut short: {text!r}"
        if not text:
            return "empty"
        if len(ids) != 1:
            return f"{len(ids)} completions in one stream"
        # Answers are greedy, so that a release always says the same.
        if release is None or self._texts.setdefault(release, text) != text:
            return f"of no release: {text!r}"
        return None
