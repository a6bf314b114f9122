"""The secrets of one attempt: put in where requests leave, and taken out of whatever comes back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from agentclock.core.model import Json, Target
from agentclock.core.references import filled, forbidden_secrets, secret_names
from agentclock.executor.blotting import Blotter, secrets_of_headers
from agentclock.executor.discretion import Discretion
from agentclock.executor.secrets import Secrets, SecretUnknown
from agentclock.executor.targets import TargetSettings
from agentclock.executor.transport import Answer, NotAllowed, Request, Transport


class Secrecy:
    """`called`: what is called, on behalf of `owner`. `blotter` hides every secret that has been used so far: whatever
    is stored of the attempt goes through it."""

    def __init__(self, secrets: Secrets, discretion: Discretion, called: Target, owner: str | None = None) -> None:
        self._secrets = secrets
        self._discretion = discretion
        self._payload = called.payload
        self._owner = owner
        self._used: set[str] = set()
        self.blotter = Blotter()

    async def complete(self, target: TargetSettings) -> TargetSettings:
        """The target as it is called now. Raises NotAllowed for a secret that is not there or fits in no header."""
        names = secret_names([*target.headers.values(), target.token, target.basic_auth])
        try:
            values = await self._secrets.values(names)
            complete = target.complete(lambda template: str(filled(template, values)))
        except (SecretUnknown, ValueError) as error:
            raise NotAllowed(str(error)) from None
        self._use((*secrets_of_headers(complete.headers), *complete.hidden, *values.values()))
        return complete

    async def payload(self, target: TargetSettings) -> Json:
        """The schedule's payload as `target` gets it. Raises NotAllowed."""
        names = secret_names(self._payload)
        if (fault := forbidden_secrets(self._payload, self._owner, target.secrets)) is not None:
            raise NotAllowed(fault)
        try:
            values = await self._secrets.values(names)
        except SecretUnknown as error:
            raise NotAllowed(str(error)) from None
        self._use(values.values())
        return filled(self._payload, values)

    async def recall(self, target: TargetSettings) -> None:
        """Learns what the attempt has sent before this worker had it, as far as it can be found out."""
        names = secret_names([*target.headers.values(), target.token, target.basic_auth, self._payload])
        for name in names:
            try:
                await self._secrets.values([name])
            except SecretUnknown:
                continue  # whoever needs it will say so
        self._use(self._secrets.seen(names))

    def _use(self, secrets: Iterable[str]) -> None:
        more = {secret for secret in secrets if secret not in self._used}
        if more or not self._used:
            self._used |= more
            self.blotter = self._discretion.use(self._used)


class DiscreetTransport:
    """A transport for one attempt: whoever sends by it need not know secrets."""

    def __init__(self, inner: Transport, secrecy: Secrecy) -> None:
        self._inner = inner
        self._secrecy = secrecy

    @asynccontextmanager
    async def send(self, target: TargetSettings, request: Request) -> AsyncIterator[Answer]:
        complete = await self._secrecy.complete(target)
        async with self._inner.send(complete, request) as answer:
            yield answer

    async def close(self) -> None:
        """What is inside is others' as well."""
