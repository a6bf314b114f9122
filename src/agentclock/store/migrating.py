"""Numbered schema steps from the package: `migrations/<dialect>/NNNN_<name>.sql`.

A step whose first line is `-- breaking` cannot be used by older code; all others may be met by code that does not
know them (expand, then contract). Table `migrations(version, breaking, app_version, checksum, applied_at)`
remembers the steps that were applied.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

from agentclock.core.errors import StoreUnavailable
from agentclock.store.columns import OLDEST_SCHEMA
from agentclock.store.queries import Dialect, fill, placeholders


class SchemaMissing(StoreUnavailable):
    """The database has nothing of ours, and auto_migrate is off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """`checksum` is that of the file as shipped, before templating."""

    version: int
    name: str
    breaking: bool
    checksum: str
    sql: str

    @property
    def statements(self) -> list[str]:
        """The single statements; none of ours holds a semicolon at a line's end inside."""
        parts = (part.strip() for part in (self.sql + "\n").split(";\n"))
        return [part for part in parts if any(_is_code(line) for line in part.splitlines())]


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """One row of the migrations table."""

    version: int
    breaking: bool
    checksum: str


def load_migrations(dialect: Dialect, *, schema: str = "agentclock") -> tuple[Migration, ...]:
    """Every step that this code knows, oldest first."""
    folder = files("agentclock.store") / "migrations" / dialect
    values = placeholders(dialect, schema)
    steps = []
    for file in folder.iterdir():
        if file.name.endswith(".sql"):
            text = file.read_text(encoding="utf-8")
            number, name = file.name.removesuffix(".sql").split("_", 1)
            step = Migration(
                version=int(number),
                name=name,
                breaking=text.startswith("-- breaking"),
                checksum=hashlib.sha256(text.encode()).hexdigest(),
                sql=fill(text, values),
            )
            steps.append(step)
    return tuple(sorted(steps, key=lambda step: step.version))


def pending(known: Sequence[Migration], applied: Sequence[Applied]) -> tuple[Migration, ...]:
    """The steps that the database lacks.

    Raises StoreUnavailable when the database went through a breaking step that this code does not know.
    """
    newest = known[-1].version
    ahead = [step.version for step in applied if step.version > newest and step.breaking]
    if ahead:
        raise StoreUnavailable(
            f"the database's schema is at version {max(ahead)}, which this version of agentclock (schema {newest}) "
            "cannot use; upgrade agentclock"
        )
    done = {step.version for step in applied}
    return tuple(step for step in known if step.version not in done)


def refuse_if_too_old(missing: Sequence[Migration]) -> None:
    """For a database that may not be migrated at the start. One release behind is no obstacle.

    Raises StoreUnavailable if this code cannot work without the `missing` steps.
    """
    if missing[0].version <= OLDEST_SCHEMA:
        raise behind(missing)


def version_of(applied: Sequence[Applied]) -> int:
    return max((step.version for step in applied), default=0)


def behind(steps: Sequence[Migration]) -> StoreUnavailable:
    """The error for a database that lacks `steps` when it may not be migrated at the start."""
    kind = SchemaMissing if steps[0].version == 1 else StoreUnavailable
    return kind(
        f"the database's schema lacks {len(steps)} step(s), up to version {steps[-1].version}, and auto_migrate is "
        "off; run `agentclock db upgrade`"
    )


def drift(known: Sequence[Migration], applied: Sequence[Applied]) -> tuple[str, ...]:
    """Warnings about a schema that is not what this code would make."""
    ours = {step.version: step.checksum for step in known}
    changed = [step.version for step in applied if ours.get(step.version, step.checksum) != step.checksum]
    newer = [step.version for step in applied if step.version > known[-1].version]
    done = {step.version for step in applied}
    missing = ", ".join(str(step.version) for step in known if step.version not in done)
    warnings = [f"schema step {version} was applied from a different file than this version's" for version in changed]
    if missing:
        warnings.append(f"the schema lacks step {missing} and what needs it; run `agentclock db upgrade`")
    if newer:
        warnings.append(
            f"the schema (version {max(newer)}) is newer than this code knows (version {known[-1].version})"
        )
    return tuple(warnings)


def _is_code(line: str) -> bool:
    return bool(line.strip()) and not line.lstrip().startswith("--")
