"""What an AgentOS's own parameters make of agentclock's settings."""

from __future__ import annotations

from pathlib import Path

import pytest
from agno.db.sqlite import SqliteDb
from structlog.testing import capture_logs

from agentclock.agno.hosting import embedded_settings
from agentclock.config import Settings, TargetEntry, TargetKind
from agentclock.core.errors import ConfigError


@pytest.fixture
def db(tmp_path: Path) -> SqliteDb:
    return SqliteDb(db_file=str(tmp_path / "scheduler.db"))


def test_the_poll_interval_is_the_longest_sleep(db: SqliteDb) -> None:
    assert embedded_settings({}, db=db).poll_seconds == 30
    assert embedded_settings({}, db=db, poll_seconds=15).poll_seconds == 15
    assert embedded_settings({"poll_seconds": 7}, db=db, poll_seconds=15).poll_seconds == 7
    # agno takes any number.
    assert embedded_settings({}, db=db, poll_seconds=3600).poll_seconds == 300
    assert embedded_settings({}, db=db, poll_seconds=0).poll_seconds == 0.1


def test_the_default_target_is_the_host_itself(db: SqliteDb) -> None:
    default = embedded_settings({}, db=db).targets["default"]
    assert (default.in_process, default.kind, default.base_url) == (True, TargetKind.AGENTOS, "")
    told = embedded_settings({}, db=db, base_url="https://os.example:8443/api").targets["default"]
    assert (told.in_process, told.base_url) == (True, "https://os.example:8443")


def test_further_targets_stand_beside_it(db: SqliteDb, monkeypatch: pytest.MonkeyPatch) -> None:
    hooks = {"targets": {"hooks": {"base_url": "https://hooks.example", "kind": "http"}}}
    assert sorted(embedded_settings(hooks, db=db).targets) == ["default", "hooks"]
    elsewhere = {"targets": {"default": {"base_url": "https://agents.example"}}}
    assert not embedded_settings(elsewhere, db=db).targets["default"].in_process
    monkeypatch.setenv("AGENTCLOCK_TARGETS", "erp=https://erp.example")
    assert sorted(embedded_settings({}, db=db).targets) == ["default", "erp"]


def test_our_database_follows_from_the_hosts_unless_it_is_named(
    db: SqliteDb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert embedded_settings({}, db=db).database == str(tmp_path / "scheduler.agentclock.db")
    assert embedded_settings({"database": "own.db"}, db=db).database == "own.db"
    assert embedded_settings({"database": "own.db"}, db=object()).database == "own.db"
    monkeypatch.setenv("AGENTCLOCK_DATABASE", "environment.db")
    assert embedded_settings({}, db=db).database == "environment.db"
    assert embedded_settings({"database": "own.db"}, db=db).database == "own.db"


def test_settings_may_be_made_before(db: SqliteDb, tmp_path: Path) -> None:
    made = Settings(concurrency=3, targets={"hooks": TargetEntry(base_url="https://hooks.example")})
    settings = embedded_settings(made, db=db, poll_seconds=15)
    assert (settings.concurrency, settings.poll_seconds) == (3, 15)
    assert sorted(settings.targets) == ["default", "hooks"]
    assert settings.database == str(tmp_path / "scheduler.agentclock.db")


def test_settings_that_do_not_exist_are_told_at_once(db: SqliteDb) -> None:
    with pytest.raises(ConfigError, match="no such setting"):
        embedded_settings({"pace": 3}, db=db)


def test_a_host_without_a_database_is_told_where_the_schedules_are() -> None:
    with capture_logs() as logs:
        assert embedded_settings({}, db=None).database == "agentclock.db"
    assert [entry["database"] for entry in logs] == ["agentclock.db"]
