"""Plain JSON data read strictly. In: a mapping from a model file. Out: its fields, each of the type asked for, or a
FormatError."""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

from tidegate.errors import FormatError


@final
class Strict:
    """A mapping that must hold exactly these keys."""

    def __init__(self, data: object, what: str, keys: tuple[str, ...]) -> None:
        if not isinstance(data, Mapping):
            raise FormatError(
                f"{what}: expected an object with {', '.join(keys)}, got {type(data).__name__}. The model file is altered."
            )
        if set(data) != set(keys):
            odd = ", ".join(key[:60] for key in sorted(map(str, set(data) ^ set(keys)))[:20])
            raise FormatError(
                f"{what}: expected exactly {', '.join(keys)}; missing or unknown: {odd}. The model file is altered."
            )
        self._data, self._what = data, what

    def _wrong(self, key: str, expected: str) -> FormatError:
        value = self._data[key]
        return FormatError(f"{self._what}.{key[:60]}: expected {expected}, got {str(value)[:80]!r}. The model file is altered.")

    def text(self, key: str) -> str:
        """A text."""
        value = self._data[key]
        if not isinstance(value, str):
            raise self._wrong(key, "text")
        return value

    def optional_text(self, key: str) -> str | None:
        """A text or null."""
        return None if self._data[key] is None else self.text(key)

    def integer(self, key: str) -> int:
        """A whole number in 64 bits."""
        value = self._data[key]
        if not isinstance(value, int) or isinstance(value, bool) or abs(value) >= 2**63:
            raise self._wrong(key, "a whole number")
        return value

    def boolean(self, key: str) -> bool:
        """true or false."""
        value = self._data[key]
        if not isinstance(value, bool):
            raise self._wrong(key, "true or false")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts."""
        value = self._data[key]
        if not isinstance(value, (list, tuple)) or not all(isinstance(v, str) for v in value):
            raise self._wrong(key, "a list of texts")
        return tuple(value)

    def mapping(self, key: str) -> Mapping[str, object]:
        """An object."""
        value = self._data[key]
        if not isinstance(value, Mapping) or not all(isinstance(k, str) for k in value):
            raise self._wrong(key, "an object")
        return value
