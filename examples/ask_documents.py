"""Answers a question from one's own documents: the passages that fit it best go to the model with it.

The index is SQLite's own full-text search, so this needs no other service and no model for embeddings:

    python examples/ask_documents.py openmath2 "How is a rollout taken back?" docs/*.md
"""

from __future__ import annotations

import re
import sqlite3
import sys
from pathlib import Path

import openai
from ask import answer

PASSAGES = 3
PROMPT = """Answer the question from these passages alone. Say so if they do not tell.

{passages}

Question: {question}
Answer:"""


def index(paths):
    """An index (sqlite3.Connection) of the files' paragraphs. paths: iterable of str."""
    found = sqlite3.connect(":memory:")
    found.execute("CREATE VIRTUAL TABLE passages USING fts5(source UNINDEXED, text, tokenize='porter unicode61')")
    for path in paths:
        paragraphs = re.split(r"\n\s*\n", Path(path).read_text(encoding="utf-8"))
        found.executemany("INSERT INTO passages VALUES (?, ?)", [(path, text.strip()) for text in paragraphs])
    return found


def best(found, question, count=PASSAGES):
    """The passages that fit a question (str) best, as (source, text), the best first; none where no word is known."""
    words = " OR ".join(f'"{word}"' for word in re.findall(r"\w+", question))
    asked = "SELECT source, text FROM passages WHERE passages MATCH ? ORDER BY rank LIMIT ?"
    return found.execute(asked, (words, count)).fetchall() if words else []


def prompt(question, passages):
    """What the model is asked (str)."""
    return PROMPT.format(passages="\n\n".join(f"[{source}] {text}" for source, text in passages), question=question)


def main(model, question, *paths):
    passages = best(index(paths), question)
    if not passages:
        sys.exit("None of the documents has a word of the question.")
    client = openai.OpenAI(max_retries=5, timeout=120)
    pieces = list(answer(client, model, prompt(question, passages), max_tokens=200, temperature=0))
    # What came before it broke off does not count.
    whole = pieces[len(pieces) - pieces[::-1].index(None) :] if None in pieces else pieces
    print("".join(whole).strip())
    print("\nFrom:", ", ".join(sorted({source for source, _text in passages})))


if __name__ == "__main__":
    main(*sys.argv[1:])
