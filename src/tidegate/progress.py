"""Progress of long work. In: how much there is. Out: a bar with time left in a terminal or notebook, silence elsewhere."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Protocol, final


class Bar(Protocol):
    """What a progress bar has to do; tqdm's does."""

    def update(self, n: float | None = 1) -> object:
        """Move on."""

    def set_postfix_str(self, s: str = "", refresh: bool = True) -> None:
        """Show figures behind the bar."""

    def close(self) -> None:
        """Take it away."""


@final
class Progress:
    """A bar as a context; `shown=None` shows it only where somebody looks."""

    def __init__(self, total: int, what: str, *, shown: bool | None = None, done: int = 0) -> None:
        self._bar: Bar | None = None
        if in_sight() if shown is None else shown:
            from tqdm.auto import tqdm  # type: ignore[import-untyped,unused-ignore]  # tqdm ships no types

            self._bar = tqdm(total=total, desc=what, initial=done, dynamic_ncols=True, mininterval=0.2, leave=False)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.close()

    def step(self, text: str = "") -> None:
        """One unit done."""
        if self._bar is not None:
            if text:
                self._bar.set_postfix_str(text, refresh=False)
            self._bar.update(1)


def in_sight() -> bool:
    """Whether a person looks: a terminal on standard error, or a notebook."""
    if "ipykernel" in sys.modules:
        return True
    return sys.stderr is not None and not sys.stderr.closed and sys.stderr.isatty()
