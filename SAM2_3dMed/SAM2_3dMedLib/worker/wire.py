"""Data classes as JSON lines: the one codec of the worker's messages."""

from __future__ import annotations

import dataclasses
import json
from typing import Any, ClassVar, TypeVar


class MessageError(ValueError):
    """A line that is not one of our messages."""


_KINDS: dict[str, type[Message]] = {}
_M = TypeVar("_M", bound="Message")


def nested(kind: type, many: bool = False) -> Any:
    """A field that holds one (or, with `many`, a tuple of) objects with to_json and from_json."""
    return dataclasses.field(metadata={"kind": kind, "many": many})


@dataclasses.dataclass(frozen=True)
class Message:
    """Base of all messages. `request` is the number of the request, or of the request that an event answers (0:
    none).
    """

    request: int
    registered: ClassVar[bool] = False

    @property
    def kind_name(self) -> str:
        return type(self).__name__

    def to_line(self) -> str:
        """One line of ASCII JSON that ends with a newline."""
        fields: dict[str, Any] = {"type": self.kind_name}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if "kind" in field.metadata and value is not None:
                value = [item.to_json() for item in value] if field.metadata["many"] else value.to_json()
            fields[field.name] = value
        return json.dumps(fields, separators=(",", ":")) + "\n"


def message(cls: type[_M]) -> type[_M]:
    """Class decorator: a frozen data class that `parse_line` knows by its name."""
    made = dataclasses.dataclass(frozen=True)(cls)
    _KINDS[made.__name__] = made
    return made


def parse_line(line: str | bytes) -> Message:
    """The message of one line; MessageError when it is not JSON, of an unknown type, or lacks a field."""
    try:
        fields = json.loads(line)
        cls = _KINDS[fields.pop("type")]
        values: dict[str, Any] = {}
        for field in dataclasses.fields(cls):
            value = fields[field.name]
            kind = field.metadata.get("kind")
            if kind is not None and value is not None:
                value = (
                    tuple(kind.from_json(item) for item in value) if field.metadata["many"] else kind.from_json(value)
                )
            elif isinstance(value, list):
                value = tuple(value)
            values[field.name] = value
        return cls(**values)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        shown = line[:120] if isinstance(line, str) else line[:120].decode("utf-8", "replace")
        raise MessageError(f"not a message of this protocol ({type(error).__name__}: {error}): {shown!r}") from error
