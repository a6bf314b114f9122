"""Where secrets are found, how soon a new value counts, and what is said when there is none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agentclock.executor import secrets as module
from agentclock.executor.secrets import Secrets, SecretUnknown, variable_of


@pytest.fixture
def always_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was read is read again at once."""
    monkeypatch.setattr(module, "FRESH_SECONDS", 0.0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "secrets"
    made.mkdir()
    return made


@pytest.mark.parametrize(
    ("name", "variable"),
    [("API_KEY", "AGENTCLOCK_SECRET_API_KEY"), ("api-key.v2", "AGENTCLOCK_SECRET_API_KEY_V2")],
)
def test_the_variable_of_a_secret(name: str, variable: str) -> None:
    assert variable_of(name) == variable


async def test_where_secrets_are_looked_for_in_order(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "secrets.toml"
    file.write_text('everywhere = "from file"\nin_two = "from file"\nin_file = "from file"\n')
    for name in ("everywhere", "in_two"):
        (folder / name).write_text("from folder\n")
    secrets = Secrets(folder=folder, file=file, environment={"AGENTCLOCK_SECRET_EVERYWHERE": "from environment"})
    names = ["everywhere", "in_two", "in_file"]
    assert await secrets.values(names) == dict(
        zip(names, ["from environment", "from folder", "from file"], strict=True)
    )
    assert await secrets.filled({"a": ["x ${secret:in_two}!"]}) == {"a": ["x from folder!"]}


@pytest.mark.parametrize(
    ("content", "value"),
    [("abcd", "abcd"), ("abcd\n", "abcd"), ("abcd\r\n", "abcd"), ("abcd\n\n", "abcd\n"), (" ab cd \r", " ab cd \r")],
)
async def test_one_line_break_at_the_end_of_a_file_is_none_of_the_secret(
    folder: Path, content: str, value: str
) -> None:
    (folder / "a").write_bytes(content.encode())
    assert await Secrets(folder=folder, environment={}).values(["a"]) == {"a": value}


async def test_a_volume_as_kubernetes_mounts_it(folder: Path) -> None:
    for number in (1, 2):
        (folder / f"..{number}").mkdir()
        (folder / f"..{number}" / "token").write_text(f"value {number}")
    (folder / "..data").symlink_to("..1")
    (folder / "token").symlink_to("..data/token")
    secrets = Secrets(folder=folder, environment={})
    assert await secrets.values(["token"]) == {"token": "value 1"}


@pytest.mark.usefixtures("always_fresh")
async def test_a_new_value_counts_without_a_restart(folder: Path, tmp_path: Path) -> None:
    environment, file = {"AGENTCLOCK_SECRET_A": "first"}, tmp_path / "secrets.toml"
    (folder / "b").write_text("first")
    file.write_text('c = "first"')
    secrets = Secrets(folder=folder, file=file, environment=environment)
    assert set((await secrets.values("abc")).values()) == {"first"}
    environment["AGENTCLOCK_SECRET_A"] = "second"
    (folder / "b").write_text("second")
    file.write_text('c = "second"')
    assert set((await secrets.values("abc")).values()) == {"second"}
    assert secrets.seen("a") == {"first", "second"}


async def test_files_are_not_read_for_every_request(folder: Path) -> None:
    (folder / "a").write_text("first")
    secrets = Secrets(folder=folder, environment={})
    await secrets.values("a")
    (folder / "a").unlink()
    assert await secrets.values("a") == {"a": "first"}


@pytest.mark.usefixtures("always_fresh")
async def test_only_the_last_values_are_kept_in_mind() -> None:
    environment: dict[str, str] = {}
    secrets = Secrets(environment=environment)
    for number in range(10):
        environment["AGENTCLOCK_SECRET_A"] = f"value {number}"
        await secrets.values("a")
    assert secrets.seen("a") == {"value 6", "value 7", "value 8", "value 9"}


async def test_who_has_no_secret_is_told_where_to_put_it(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(SecretUnknown, match=r"^secret 'api-key' is not known: set AGENTCLOCK_SECRET_API_KEY$"):
        await Secrets(environment={}).values(["api-key"])
    file = tmp_path / "secrets.toml"
    file.write_text("")
    with pytest.raises(SecretUnknown) as told:
        await Secrets(folder=folder, file=file, environment={}).values(["x"])
    assert str(told.value) == (
        f"secret 'x' is not known: set AGENTCLOCK_SECRET_X or write the file {folder / 'x'} or add it to {file}"
    )


async def test_a_short_value_is_refused() -> None:
    with pytest.raises(SecretUnknown, match="secret 'PIN' has less than 4 characters") as told:
        await Secrets(environment={"AGENTCLOCK_SECRET_PIN": "987"}).values(["PIN"])
    assert "987" not in str(told.value)


async def test_nothing_outside_the_folder_is_read(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("not for you")
    (folder / "link").symlink_to(tmp_path / "outside")
    secrets = Secrets(folder=folder, environment={})
    with pytest.raises(SecretUnknown, match="leads out of the folder"):
        await secrets.values(["link"])
    for name in ("..", ".", "..data"):
        with pytest.raises(SecretUnknown):
            await secrets.values([name])


async def test_what_cannot_be_read_is_said_without_its_content(folder: Path, tmp_path: Path) -> None:
    (folder / "large").write_bytes(b"x" * 70_000)
    (folder / "binary").write_bytes(b"\xff\xfe\xfd\xfc")
    (folder / "folder").mkdir()
    os.mkfifo(folder / "pipe")
    (folder / "circle").symlink_to("circle")
    secrets = Secrets(folder=folder, environment={})
    for name in ("large", "binary", "folder", "pipe", "circle"):
        with pytest.raises(SecretUnknown, match=f"secret '{name}' cannot be read: "):
            await secrets.values([name])
    file = tmp_path / "secrets.toml"
    for content, why in (("a = 12345", "has no text by this name"), ('a = "secret-in-here', "is not TOML")):
        file.write_text(content)
        with pytest.raises(SecretUnknown, match=why) as told:
            await Secrets(file=file, environment={}).values(["a"])
        assert "secret-in-here" not in str(told.value)
