"""Settings that cannot be used are refused with a sentence that says what is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agentclock.config import Settings, TargetEntry
from agentclock.core.errors import ConfigError


def problems(config_file: Path | None = None, **given: object) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        Settings.load(config_file, **given)
    return list(caught.value.problems)


@pytest.mark.parametrize("targets", ["=http://a", " =http://a", '{"": "http://a"}', "a" * 65 + "=http://a"])
def test_a_target_that_no_schedule_could_name(targets: str) -> None:
    [problem] = problems(targets=targets)
    assert "a target's name has 1 to 64 characters" in problem


def test_a_target_given_twice() -> None:
    [problem] = problems(targets="hooks=http://a,hooks=http://b")
    assert problem == "targets (AGENTCLOCK_TARGETS): target 'hooks' is given twice"


def test_an_unknown_setting_is_told_with_those_that_exist_there(tmp_path: Path) -> None:
    file = tmp_path / "agentclock.toml"
    file.write_text('[agentclock]\nconcurency = 1\n[agentclock.targets.a]\nbase_url = "http://a"\nheders = {}\n')
    nested, top = problems(file)
    assert nested.endswith("no such setting; known are " + ", ".join(sorted(TargetEntry.model_fields)))
    assert "concurency" in top
    assert "concurrency, connection_limit, connections_per_client" in top


def test_what_is_wrong_is_said_without_what_was_set(monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "hunter2-hunter2"
    monkeypatch.setenv("AGENTCLOCK_WEBHOOKS", f'{{"ops": {{"secret": "{secret}"')
    with pytest.raises(ConfigError, match='for field "webhooks"') as told:
        Settings.load()
    assert secret not in str(told.value)
    monkeypatch.delenv("AGENTCLOCK_WEBHOOKS")
    for targets in ({"a": {"base_url": "http://a", "token": [secret]}}, {"a": {"base_url": f"http://u:{secret}@a"}}):
        monkeypatch.setenv("AGENTCLOCK_TARGETS", json.dumps(targets))
        monkeypatch.setenv("AGENTCLOCK_PORT", secret)
        with pytest.raises(ConfigError) as told:
            Settings.load()
        assert secret not in str(told.value)
