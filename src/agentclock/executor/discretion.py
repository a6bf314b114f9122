"""What must not be said in this process's logs, whoever writes them: known secrets, and those in use."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

from agentclock.executor.blotting import SHORTEST_SECRET, Blotter

#: Those that were used longest ago are forgotten first.
IN_USE_LIMIT: Final = 500

#: Blotters of so many sets of secrets are kept: making one takes longer than using it.
_BLOTTERS: Final = 256


class Discretion:
    """`known`: secrets that this process has from its settings, kept for good."""

    def __init__(self, known: Iterable[str] = ()) -> None:
        self._known = frozenset(secret for secret in known if len(secret) >= SHORTEST_SECRET)
        self._in_use: OrderedDict[str, None] = OrderedDict()
        self._blotters: OrderedDict[frozenset[str], Blotter] = OrderedDict()
        self._blotter: Blotter | None = None

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to hide."""
        return not (self._known or self._in_use)

    def use(self, secrets: Iterable[str]) -> Blotter:
        """Notes that these are about to be sent to somebody; answers what hides them in his words."""
        wanted = frozenset(secret for secret in secrets if len(secret) >= SHORTEST_SECRET)
        self.note(wanted)
        return self._blotter_of(wanted)

    def note(self, secrets: Iterable[str]) -> None:
        """These are in use."""
        for secret in secrets:
            if secret in self._in_use:
                self._in_use.move_to_end(secret)
            elif secret not in self._known:
                self._in_use[secret] = None
                self._blotter = None
        while len(self._in_use) > IN_USE_LIMIT:
            self._in_use.popitem(last=False)

    def text(self, text: str) -> str:
        """`text` without all these secrets."""
        if self.is_idle:
            return text
        if self._blotter is None:
            self._blotter = Blotter((*self._known, *self._in_use))
        return self._blotter.text(text) if self._blotter.hides(text) else text

    def _blotter_of(self, secrets: frozenset[str]) -> Blotter:
        blotter = self._blotters.pop(secrets, None) or Blotter(secrets)
        self._blotters[secrets] = blotter
        if len(self._blotters) > _BLOTTERS:
            self._blotters.popitem(last=False)
        return blotter
