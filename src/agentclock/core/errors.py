"""Every error that agentclock raises on purpose.

AgentclockError
├── InvalidField        the caller's input: names the field, says what is wrong and what to do (422)
├── InvalidFields       several of them at once, each an InvalidField (422)
├── Conflict            the request is well-formed but clashes with what is stored
│   ├── NameTaken       another schedule of the same owner has this name (409)
│   ├── ManagedByOthers  schedules of these names belong to another manager, or to nobody (409)
│   ├── ScheduleDisabled  trigger of a disabled schedule (409)
│   ├── NotPaused       an answer to a run that waits for none (409)
│   ├── GuardRail       an agent would schedule more than it may (409)
│   ├── SchemaBehind    the database's schema lacks what this needs (409)
│   ├── LimitReached    the owner has as many as an owner may have (409)
│   ├── TooOld          the occurrence that a trigger names is over (409)
│   └── VersionConflict  somebody else changed the row first (409)
├── Denied              the caller may not do this
│   ├── Unauthenticated  who is asking? (401)
│   └── Forbidden       known, but not allowed (403)
├── KeyReused           an Idempotency-Key came again with another request (422)
├── TooManyRequests     faster than a client may be (429)
├── TooLarge            the request's body is larger than bodies may be (413)
├── NotFound            no such row for this caller (404)
├── Unavailable         a part we need is not there right now (503)
│   ├── StoreUnavailable  the database does not answer
│   └── EngineStopped   nothing here executes runs at the moment
├── LeaseLost           another worker owns the run now: drop the result
├── CorruptRow          one stored row cannot be read: report it and go on without it
└── ConfigError         the settings are wrong; carries every problem at once
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence


class AgentclockError(Exception):
    """Root of the tree: `except AgentclockError` catches everything above and nothing else."""


class InvalidField(AgentclockError):
    """One field of the caller's input is wrong.

    `field` is the wire name, dotted for nested fields; `message` says what is wrong and how to mend it;
    `context` carries machine-readable details such as a position inside the text.
    """

    def __init__(self, field: str, message: str, /, **context: object) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message
        self.context = context


class InvalidFields(AgentclockError):
    """`faults` has each field that is wrong, as its own error; nothing was done."""

    def __init__(self, faults: Sequence[InvalidField]) -> None:
        super().__init__("; ".join(map(str, faults)))
        self.faults = tuple(faults)


class Conflict(AgentclockError):
    """Well-formed, but at odds with what is stored."""


class NameTaken(Conflict):
    def __init__(self, name: str) -> None:
        super().__init__(f"Schedule with name '{name}' already exists")
        self.name = name


class ManagedByOthers(Conflict):
    """`managers`: the schedules' names, each with what stands in its `managed_by`."""

    def __init__(self, managers: Mapping[str, str | None], most: int = 10) -> None:
        shown = [f"'{name}' ({by or 'nobody'})" for name, by in list(managers.items())[:most]]
        more = f" and {len(managers) - most} more" if len(managers) > most else ""
        super().__init__(
            f"Not managed by you: {', '.join(shown)}{more}. Take them over with adopt (--adopt), or choose other names"
        )
        self.managers = dict(managers)


class ScheduleDisabled(Conflict):
    def __init__(self) -> None:
        super().__init__("Schedule is disabled")


class NotPaused(Conflict):
    """`status` is the run's state instead."""

    def __init__(self, status: str) -> None:
        super().__init__(f"The run is {status}, not paused: there is nothing to approve or reject")
        self.status = status


class GuardRail(Conflict):
    """A limit on what agents may schedule by themselves; the message names the limit and the setting."""


class SchemaBehind(Conflict):
    """The database was made by an older version and not upgraded since. Everything else works; this needs `step`, and
    trying again helps only when somebody has upgraded it."""

    def __init__(self, step: int) -> None:
        super().__init__(f"the database's schema lacks step {step}; run `agentclock db upgrade`")
        self.step = step


class LimitReached(Conflict):
    """`limit` is what the setting allows; the message names the setting."""

    def __init__(self, message: str, limit: int) -> None:
        super().__init__(message)
        self.limit = limit


class TooOld(Conflict):
    """`fire_at` of a trigger is older than it may be: the outside clock came too late, or repeats itself."""

    def __init__(self, max_age_seconds: int) -> None:
        super().__init__(f"fire_at is older than max_age_seconds ({max_age_seconds} s): nothing was started")
        self.max_age_seconds = max_age_seconds


class VersionConflict(Conflict):
    def __init__(self) -> None:
        super().__init__("Schedule was changed by somebody else in the meantime; read it again and repeat")


class Denied(AgentclockError):
    """The message says what is missing, never what was sent."""


class Unauthenticated(Denied):
    """No credentials, or wrong ones (`is_wrong`)."""

    is_wrong = False


class Forbidden(Denied):
    """The caller is known and lacks a permission."""


class KeyReused(AgentclockError):
    """The same Idempotency-Key came with a different request: nothing was done."""

    def __init__(self) -> None:
        super().__init__(
            "Idempotency-Key was used before with a different request: use a new key, or send the same request again"
        )


class TooManyRequests(AgentclockError):
    """`retry_after_seconds`: when the next request will be answered."""

    def __init__(self, retry_after_seconds: float, message: str = "Too many requests: slow down") -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class TooLarge(AgentclockError):
    """Nothing of the body was looked at. `limit_bytes` is what the setting allows."""

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(f"The body is larger than {limit_bytes:,} bytes (body_limit_bytes)")
        self.limit_bytes = limit_bytes


class NotFound(AgentclockError):
    """`what` is the noun of the missing thing, e.g. "Schedule"."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} not found")
        self.what = what


class Unavailable(AgentclockError):
    """A part we need does not answer now; trying again later is right."""


class StoreUnavailable(Unavailable):
    """The database does not answer."""


class EngineStopped(Unavailable):
    """No engine runs in this process or any other that we know of."""


class LeaseLost(AgentclockError):
    """A write carried an old fencing token: another worker owns the run, our result counts no more."""

    def __init__(self, run_id: str) -> None:
        super().__init__(f"run {run_id} belongs to another worker now")
        self.run_id = run_id


class CorruptRow(AgentclockError):
    """A stored row that cannot be read. `row_id` finds it; `reason` says what is wrong with it."""

    def __init__(self, table: str, row_id: str, reason: str) -> None:
        super().__init__(f"{table} row {row_id}: {reason}")
        self.table = table
        self.row_id = row_id
        self.reason = reason


class ConfigError(AgentclockError):
    """The settings are wrong. `problems` holds one sentence for each, each naming its setting."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems
