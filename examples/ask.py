"""Asks a model behind the gateway, as any application would: the answer is shown while it comes.

OPENAI_BASE_URL and OPENAI_API_KEY say where and with which key:

    export OPENAI_BASE_URL=https://gateway:8443/v1 OPENAI_API_KEY=…
    python examples/ask.py openmath2 "What is the capital of France?"
"""

from __future__ import annotations

import sys

import openai

# How often an answer that broke off is begun again.
ATTEMPTS = 3


def answer(client, model, prompt, **options):
    """Yields the answer (str) in pieces, as they come; a None says that it broke off and begins again.

    Until the first piece has come the client repeats a request itself (max_retries): when nobody answers, at 429 and at
    5xx. What has begun nobody repeats but us: a server that dies takes its answers with it.
    client: openai.OpenAI. options: further ones of the request, such as temperature. Raises openai.OpenAIError.
    """
    for attempt in range(1, ATTEMPTS + 1):
        stream = client.completions.create(model=model, prompt=prompt, stream=True, **options)
        try:
            yield from _pieces(stream)
            return
        except openai.APIConnectionError:
            if attempt == ATTEMPTS:
                raise
            yield None


def _pieces(stream):
    finished = None
    with stream:
        for chunk in stream:
            for choice in chunk.choices:
                finished = choice.finish_reason or finished
                yield choice.text
    # A proxy on the way may end a stream as if it were whole; only its last piece says why it ended.
    if not finished:
        raise openai.APIConnectionError(message="the answer broke off", request=stream.response.request)


def main(model, prompt):
    client = openai.OpenAI(max_retries=5, timeout=120)
    for piece in answer(client, model, prompt, max_tokens=200, temperature=0):
        print("\n(once more)" if piece is None else piece, end="\n" if piece is None else "", flush=True)
    print()


if __name__ == "__main__":
    main(*sys.argv[1:3])
