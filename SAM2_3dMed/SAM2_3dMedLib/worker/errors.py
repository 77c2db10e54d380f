"""What the worker tells the user when a request cannot be done."""

from __future__ import annotations


class EngineError(Exception):
    """One sentence for the user; `kind` as in messages.Failed."""

    def __init__(self, kind: str, sentence: str) -> None:
        super().__init__(sentence)
        self.kind = kind
