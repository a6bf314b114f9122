"""Where settings come from besides the command line: a TOML file, the environment, files that variables name."""

from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path
from typing import Any

from agentclock.core.errors import ConfigError

ENV_PREFIX = "AGENTCLOCK_"
#: Settings that may also stand in a file which AGENTCLOCK_<NAME>_FILE names, as containers are given secrets.
IN_FILES = ("database", "listen_url", "security_key", "jwt_secret", "jwt_public_key", "service_token")


def parse_targets(text: str) -> dict[str, object]:
    """`name=url,name=url`, a bare URL (the default target), or a JSON object of either URLs or settings."""
    text = text.strip()
    if text.startswith("{"):
        try:
            named = json.loads(text)
        except json.JSONDecodeError as error:
            raise ValueError(f"not JSON: {error}") from None
        return {name: {"base_url": value} if isinstance(value, str) else value for name, value in named.items()}
    targets: dict[str, object] = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        name, equals, url = item.partition("=")
        if not equals or "://" in name:
            name, url = "default", item
        if name.strip() in targets:
            raise ValueError(f"target '{name.strip()}' is given twice")
        targets[name.strip()] = {"base_url": url.strip()}
    return targets


def read_file(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError([f"config file {path}: {error.strerror}"]) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError([f"config file {path}: {error}"]) from None
    section = content.get("agentclock", content)
    return section if isinstance(section, dict) else {}


def unset_in_environment(values: dict[str, Any]) -> dict[str, Any]:
    """What the file says and the environment does not overrule."""

    present = {name.upper() for name in os.environ}
    return {name: value for name, value in values.items() if f"{ENV_PREFIX}{name.upper()}" not in present}


def read_named_files() -> dict[str, Any]:
    """What stands in the files that AGENTCLOCK_<NAME>_FILE variables name, without blanks around it."""
    found: dict[str, Any] = {}
    for name in IN_FILES:
        variable = f"{ENV_PREFIX}{name.upper()}_FILE"
        path = os.environ.get(variable)
        if not path:
            continue
        if f"{ENV_PREFIX}{name.upper()}" in os.environ:
            raise ConfigError([f"{name}: both {ENV_PREFIX}{name.upper()} and {variable} are set; keep one"])
        try:
            found[name] = Path(path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not text"
            raise ConfigError([f"{name}: the file that {variable} names cannot be read: {reason}"]) from None
    return found


def borrowed() -> dict[str, Any]:
    """Settings that AgentOS has a variable for as well."""
    key = os.environ.get("OS_SECURITY_KEY")
    return {"security_key": key} if key else {}
