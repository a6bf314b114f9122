"""Where our tables go for each database that an AgentOS may have."""

from __future__ import annotations

from pathlib import Path

import pytest
from agno.db.in_memory import InMemoryDb
from agno.db.json import JsonDb
from agno.db.postgres import AsyncPostgresDb, PostgresDb
from agno.db.sqlite import AsyncSqliteDb, SqliteDb
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import create_async_engine
from structlog.testing import capture_logs

from agentclock.agno.databases import database_for
from agentclock.core.errors import ConfigError
from agentclock.store.postgres_address import Address


def test_sqlite_gets_a_file_of_our_own_beside_it(tmp_path: Path) -> None:
    ours = str(tmp_path / "scheduler.agentclock.db")
    theirs = tmp_path / "scheduler.db"
    assert database_for(SqliteDb(db_file=str(theirs))) == ours
    assert database_for(SqliteDb(db_url=f"sqlite:///{theirs}")) == ours
    assert database_for(SqliteDb(db_engine=create_engine(f"sqlite:///{theirs}"))) == ours
    assert database_for(AsyncSqliteDb(db_file=str(theirs))) == ours
    assert database_for(AsyncSqliteDb(db_engine=create_async_engine(f"sqlite+aiosqlite:///{theirs}"))) == ours
    assert database_for(f"sqlite:///{theirs}") == ours
    assert database_for(str(theirs)) == ours
    assert database_for(theirs) == ours
    assert database_for(f"sqlite:///file:{theirs}?mode=rwc&uri=true") == ours


def test_the_file_keeps_its_suffix_and_relative_paths_start_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert database_for("data/os.sqlite3") == str(tmp_path / "data" / "os.agentclock.sqlite3")
    assert database_for("plain") == str(tmp_path / "plain.agentclock.db")
    assert database_for(SqliteDb()) == str(tmp_path / "agno.agentclock.db")


@pytest.mark.parametrize(
    "url",
    ["sqlite://", "sqlite:///:memory:", "sqlite:///file::memory:?uri=true", "sqlite:///file:x?mode=memory&uri=true"],
)
def test_a_database_in_memory_gives_schedules_in_memory_and_a_warning(url: str) -> None:
    with capture_logs() as logs:
        assert database_for(url) == ":memory:"
    assert [entry["event"] for entry in logs if entry["log_level"] == "warning"] == ["schedules_in_memory"]


def test_without_a_database_the_file_is_named_in_the_log() -> None:
    with capture_logs() as logs:
        assert database_for(None) == "agentclock.db"
    assert logs[0]["database"] == "agentclock.db"


def test_postgres_shares_the_database_and_keeps_the_password() -> None:
    expected = "postgresql://me:p%40ss%3Aw@db.example:6432/app"
    theirs = "postgresql+psycopg://me:p%40ss%3Aw@db.example:6432/app"
    assert database_for(PostgresDb(db_url=theirs)) == expected
    assert database_for(PostgresDb(db_engine=create_engine(theirs))) == expected
    async_url = theirs.replace("psycopg", "psycopg_async")
    assert database_for(AsyncPostgresDb(db_url=async_url)) == expected
    assert database_for(AsyncPostgresDb(db_engine=create_async_engine(async_url))) == expected
    assert database_for(theirs) == expected
    assert Address.read(expected).scrub("p@ss:w") == "***"


def test_options_of_other_drivers_do_not_reach_the_server() -> None:
    url = (
        "postgresql+psycopg://u@h/app?sslmode=require&channel_binding=require&connect_timeout=10"
        "&application_name=app&keepalives=1&prepared_statement_cache_size=0"
    )
    assert database_for(url) == "postgresql://u@h/app?sslmode=require&application_name=app"
    assert database_for("postgresql+asyncpg://u@h/app?ssl=true") == "postgresql://u@h/app?sslmode=require"
    assert database_for("postgresql+asyncpg://u@h/app?ssl=verify-full") == "postgresql://u@h/app?sslmode=verify-full"


def test_hosts_in_the_query_stay() -> None:
    assert database_for("postgresql+psycopg:///app?host=/var/run/db") == "postgresql:///app?host=%2Fvar%2Frun%2Fdb"
    several = database_for("postgresql+psycopg://u@/app?host=one:5432&host=two:5433")
    assert several == "postgresql://u@/app?host=one%3A5432%2Ctwo%3A5433"


def test_what_cannot_hold_schedules_says_what_can(tmp_path: Path) -> None:
    for db in (InMemoryDb(), JsonDb(db_path=str(tmp_path)), "mysql+pymysql://u@h/app", object()):
        with pytest.raises(ConfigError, match=r"cannot hold schedules; name another place .*database="):
            database_for(db)


def test_an_engine_that_connects_by_itself_is_no_address() -> None:
    engine = create_engine("postgresql+psycopg://", creator=lambda: None)
    with pytest.raises(ConfigError, match="makes its own connections"):
        database_for(PostgresDb(db_engine=engine))


def test_an_unreadable_url_is_not_repeated() -> None:
    with pytest.raises(ConfigError) as caught:
        database_for("postgresql://u:secret@[h/x")
    assert "secret" not in str(caught.value)


def test_what_comes_out_is_what_asyncpg_takes() -> None:
    made = database_for("postgresql+psycopg://u:p@[::1]:5433/app?connect_timeout=3")
    assert made == "postgresql://u:p@[::1]:5433/app"
    assert Address.read(made).where == "PostgreSQL at ::1:5433/app"
