"""What is in deploy/: valid manifests, settings that exist, no root, no secrets, nothing unpinned."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Final

import kubernetes_validate
import pytest
import yaml

from agentclock import __version__
from agentclock.config import ENV_PREFIX, Settings
from agentclock.config.sources import IN_FILES

ROOT: Final = Path(__file__).parents[2]
DEPLOY: Final = ROOT / "deploy"
DOCKERFILE: Final = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
#: Read by the health check of the image, not by agentclock.
OTHER_VARIABLES: Final = {"HEALTH_PORT"}


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((DEPLOY / "kubernetes" / name).read_text(encoding="utf-8")))


FILES: Final = sorted(path.name for path in (DEPLOY / "kubernetes").glob("*.yaml") if path.stem != "kustomization")
MANIFESTS: Final = [document for name in FILES for document in documents(name)]
KUSTOMIZATION: Final = documents("kustomization.yaml")[0]
COMPOSE: Final = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))


def of_kind(kind: str) -> list[dict[str, Any]]:
    return [document for document in MANIFESTS if document["kind"] == kind]


def pods() -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Pod and container of each Deployment."""
    found = [deployment["spec"]["template"]["spec"] for deployment in of_kind("Deployment")]
    return [(pod, container) for pod in found for container in pod["containers"]]


def given_to(container: dict[str, Any]) -> dict[str, str]:
    [settings] = of_kind("ConfigMap")
    return settings["data"] | {variable["name"]: variable["value"] for variable in container["env"]}


def loaded(variables: dict[str, str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The settings that a process with these variables has; whatever file they name holds a text."""
    secret = folder / "secret"
    secret.write_text("postgresql://clock:example@db/clock\n", encoding="utf-8")
    for name, value in variables.items():
        monkeypatch.setenv(name, str(secret) if name.endswith("_FILE") else value)
    return Settings.load()


def unknown(names: set[str]) -> set[str]:
    known = {f"{ENV_PREFIX}{name.upper()}" for name in Settings.model_fields}
    known |= {f"{ENV_PREFIX}{name.upper()}_FILE" for name in IN_FILES}
    return names - known - OTHER_VARIABLES


# Kubernetes


@pytest.mark.parametrize(
    "document", MANIFESTS, ids=lambda document: f"{document['kind']}-{document['metadata']['name']}"
)
def test_manifests_are_valid(document: dict[str, Any]) -> None:
    kubernetes_validate.validate(document, "1.32", strict=True)
    assert document["kind"] == "Namespace" or document["metadata"]["namespace"] == "agentclock"


def test_everything_is_applied_but_the_example_of_a_secret() -> None:
    assert {*KUSTOMIZATION["resources"], "secret.example.yaml"} == set(FILES)
    assert [image["newTag"] for image in KUSTOMIZATION["images"]] == [__version__]
    [secret] = of_kind("Secret")
    assert all("REPLACE-ME" in value for value in secret["stringData"].values())


def test_pods_are_restricted() -> None:
    assert len(pods()) == 2
    for pod, container in pods():
        assert pod["automountServiceAccountToken"] is False
        assert pod["enableServiceLinks"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["requests"].keys() == {"cpu", "memory"}
        assert container["resources"]["limits"]["memory"]
        assert not [variable for variable in container["env"] if "valueFrom" in variable]
        [spread] = pod["topologySpreadConstraints"]
        assert spread["topologyKey"] == "kubernetes.io/hostname"


def test_pods_have_settings_that_exist_and_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for _, container in pods():
        variables = given_to(container)
        assert unknown(set(variables)) == set()
        settings = loaded(variables, tmp_path, monkeypatch)
        assert settings.security_key
        assert settings.allowed_networks
        listens_on = settings.port if container["args"] == ["serve"] else settings.worker_port
        assert [port["containerPort"] for port in container["ports"]] == [listens_on]


def test_a_pod_has_time_to_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for pod, container in pods():
        settings = loaded(given_to(container), tmp_path, monkeypatch)
        before = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
        assert pod["terminationGracePeriodSeconds"] >= before + settings.shutdown_grace_seconds + 20


def test_secrets_are_where_the_settings_look() -> None:
    for pod, container in pods():
        volume = next(volume["secret"] for volume in pod["volumes"] if "secret" in volume)
        mount = next(mount for mount in container["volumeMounts"] if mount["name"] == "secrets")
        files = {f"{mount['mountPath']}/{item['path']}" for item in volume["items"]}
        named = {variable["value"] for variable in container["env"] if variable["name"].endswith("_FILE")}
        assert named == files
        assert volume["defaultMode"] == 0o440
        assert {item["key"] for item in volume["items"]} == of_kind("Secret")[0]["stringData"].keys()


def test_probes_ask_what_they_should() -> None:
    for _, container in pods():
        paths = {kind: container[kind]["httpGet"]["path"] for kind in container if kind.endswith("Probe")}
        assert paths == {"startupProbe": "/health", "readinessProbe": "/ready", "livenessProbe": "/health"}


def test_selectors_find_their_pods() -> None:
    labels = [deployment["spec"]["template"]["metadata"]["labels"] for deployment in of_kind("Deployment")]
    wanted = [deployment["spec"]["selector"]["matchLabels"] for deployment in of_kind("Deployment")]
    wanted += [budget["spec"]["selector"]["matchLabels"] for budget in of_kind("PodDisruptionBudget")]
    wanted += [policy["spec"]["podSelector"]["matchLabels"] for policy in of_kind("NetworkPolicy")]
    [service] = of_kind("Service")
    for selector in (*wanted, service["spec"]["selector"]):
        assert any(selector.items() <= label.items() for label in labels), selector
    assert service["spec"]["selector"]["app.kubernetes.io/component"] == "api"


def test_the_network_lets_through_what_is_needed_and_no_metadata() -> None:
    policies = {policy["metadata"]["name"]: policy["spec"] for policy in of_kind("NetworkPolicy")}
    every = policies["agentclock"]
    assert (every["policyTypes"], every["ingress"]) == (["Ingress", "Egress"], [])
    assert {port["port"] for rule in every["egress"] for port in rule["ports"]} == {53, 443, 5432, 8000}
    blocks = [peer["ipBlock"] for rule in every["egress"] for peer in rule["to"] if "ipBlock" in peer]
    assert "169.254.0.0/16" in next(block["except"] for block in blocks if block["cidr"] == "0.0.0.0/0")
    assert policies["agentclock-worker"]["ingress"][0]["from"][0]["namespaceSelector"]["matchLabels"]


# compose


def test_compose_keeps_postgresql_to_itself() -> None:
    postgres = COMPOSE["services"]["postgres"]
    assert "ports" not in postgres
    assert postgres["networks"] == ["backend"]
    assert COMPOSE["networks"]["backend"] == {"internal": True}
    assert COMPOSE["services"]["serve"]["ports"] == ["127.0.0.1:7777:7777"]


def test_compose_keeps_secrets_in_files() -> None:
    text = (DEPLOY / "compose.yaml").read_text(encoding="utf-8")
    assert not re.search(r"(PASSWORD|KEY|TOKEN|SECRET)\b\s*[:=]", text)
    assert all(secret.keys() == {"file"} for secret in COMPOSE["secrets"].values())
    for service in COMPOSE["services"].values():
        named = {value for name, value in service["environment"].items() if name.endswith("_FILE")}
        assert named == {f"/run/secrets/{secret}" for secret in service["secrets"]}


def test_compose_runs_settings_that_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("serve", "worker"):
        service = COMPOSE["services"][name]
        environment = {key: re.sub(r"\$\{\w+:-(.*)\}", r"\1", value) for key, value in service["environment"].items()}
        assert unknown(set(environment)) == set()
        settings = loaded(environment, tmp_path, monkeypatch)
        assert settings.security_key
        assert int(service["stop_grace_period"].removesuffix("s")) >= settings.shutdown_grace_seconds + 20
        assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
        assert service["depends_on"]["postgres"] == {"condition": "service_healthy"}
    assert settings.worker_port == int(service["environment"]["HEALTH_PORT"])
    assert service["deploy"]["replicas"] == 2


# image


def instructions() -> list[tuple[str, str]]:
    """Instruction and argument, continued lines joined."""
    joined = re.sub(r"\\\n\s*", " ", DOCKERFILE)
    lines = [line for line in joined.splitlines() if line and not line.startswith("#")]
    return [(line.split()[0], line.partition(" ")[2].strip()) for line in lines]


def test_the_image_runs_as_nobody_special() -> None:
    users = [argument for instruction, argument in instructions() if instruction == "USER"]
    assert users == ["10001:10001"]
    last_from = max(place for place, (name, _) in enumerate(instructions()) if name == "FROM")
    assert [name for name, _ in instructions()[last_from:]].index("USER") > 0
    for pod, _ in pods():
        assert f"{pod['securityContext']['runAsUser']}:{pod['securityContext']['runAsGroup']}" == users[0]


def test_the_image_installs_only_what_is_pinned() -> None:
    base = dict(argument.split("=") for name, argument in instructions() if name == "ARG")["BASE"]
    assert re.fullmatch(r"python:\d+\.\d+-slim-\w+", base)
    assert all(argument.startswith("${BASE}") for name, argument in instructions() if name == "FROM")
    commands = [command for name, argument in instructions() if name == "RUN" for command in argument.split("&&")]
    installs = [command for command in commands if "pip install" in command or "pip wheel" in command]
    assert len(installs) == 4
    assert all("--require-hashes" in command or "--no-deps" in command for command in installs)
    assert "ADD" not in {name for name, _ in instructions()}
    assert not re.search(r"curl|wget|apt-get|index-url|:latest", DOCKERFILE)


def test_the_image_holds_no_secret_and_says_what_it_is() -> None:
    variables = dict(
        re.findall(r"([A-Z_]+)=(\S+)", next(text for name, text in instructions() if "HEALTH_PORT" in text))
    )
    assert unknown({name for name in variables if name.startswith(ENV_PREFIX)}) == set()
    assert not [name for name in variables if re.search(r"KEY|TOKEN|SECRET|PASSWORD|DATABASE", name)]
    assert f'org.opencontainers.image.version="{__version__}"' in DOCKERFILE
    assert {"HEALTHCHECK", "STOPSIGNAL", "ENTRYPOINT", "CMD"} <= {name for name, _ in instructions()}


def test_the_context_of_the_image_is_what_it_copies() -> None:
    ignore = (DEPLOY / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    sent = {line[1:] for line in ignore if line.startswith("!")}
    copied = {
        source
        for name, argument in instructions()
        if name == "COPY" and "--from" not in argument
        for source in argument.split()[:-1]
    }
    assert ignore[0] == "*"
    assert sent == copied
    assert all((ROOT / source).exists() for source in copied)


def pins(name: str) -> dict[str, str]:
    text = (ROOT / "requirements" / name).read_text(encoding="utf-8")
    return dict(re.findall(r"^([a-z0-9._-]+)==(\S+)", text, re.MULTILINE))


def test_the_image_has_the_versions_that_are_tested() -> None:
    tested = pins("dev.txt")
    for name in ("server.txt", "build.txt"):
        assert pins(name)
        assert pins(name).items() <= tested.items()
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    needed = re.findall(
        r'^  "([a-z-]+)[^"]*",$', project[: project.index("[project.optional-dependencies]")], re.MULTILINE
    )
    assert {"aiohttp", "pyjwt", "uvicorn"} <= set(needed) & pins("server.txt").keys()
    assert "asyncpg" in pins("server.txt")
    assert not {"agno", "pytest", "hatchling"} & pins("server.txt").keys()


def test_the_health_check_asks_the_port_that_the_process_answers_at(monkeypatch: pytest.MonkeyPatch) -> None:
    [check] = [argument for name, argument in instructions() if name == "HEALTHCHECK"]
    command = json.loads(check[check.index("CMD ") + 4 :])
    assert command[:2] == ["python", "-c"]
    asked: list[str] = []
    monkeypatch.setattr("urllib.request.urlopen", lambda url, timeout: asked.append(url))
    monkeypatch.setenv("HEALTH_PORT", "7778")
    exec(compile(command[2], "HEALTHCHECK", "exec"), {})
    assert asked == ["http://127.0.0.1:7778/health"]
