"""What stands in deploy/: it can be read, it names settings that there are, and its parts fit one another."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from fakes.chart import rendered
from fittengate import __version__
from fittengate.settings import TABLE

DEPLOY = Path(__file__).parents[2] / "deploy"
CHART = DEPLOY / "helm/fittengate"
VARIABLES = {row.environment for row in TABLE} | {"FITTENGATE_CONFIG"}
DEFAULTS = {row.key: row.default for row in TABLE}
PORT = DEFAULTS["server.port"]
EVERYTHING = {
    "autoscaling": {"enabled": True},
    "networkPolicy": {"enabled": True, "from": [{"podSelector": {}}], "to": [{"ports": [{"port": 5432}]}]},
    "existingSecret": "mine",
    "podAnnotations": {"a": "b"},
    "nodeSelector": {"disk": "fast"},
    "tolerations": [{"operator": "Exists"}],
    "affinity": {"podAntiAffinity": {}},
}


def text_of(name):
    return (DEPLOY / name).read_text(encoding="utf-8")


def seconds(text):
    return int(re.fullmatch(r"(\d+)s", text)[1])


def instructions():
    """Return the lines of the Dockerfile, continued ones joined."""
    joined = text_of("Dockerfile").replace("\\\n", " ")
    return [line for line in joined.splitlines() if line and not line.startswith("#")]


def of_kind(manifests, kind):
    (found,) = [one for one in manifests if one["kind"] == kind]
    return found


@pytest.mark.parametrize("path", [path for path in DEPLOY.rglob("*") if path.is_file()], ids=lambda path: path.name)
def test_every_variable_in_deploy_is_a_setting(path):
    """A gateway refuses to start with a variable that it does not know."""
    named = set(re.findall(r"\bFITTENGATE_[A-Z_]*[A-Z]\b", path.read_text(encoding="utf-8")))
    assert named <= VARIABLES


def test_the_image_runs_as_nobody_in_particular():
    """Two stages from one base; the last has a user of its own, a check of its health, and the port of the settings."""
    lines = instructions()
    starts = [number for number, line in enumerate(lines) if line.startswith("FROM ")]
    assert len(starts) == 2
    assert len({lines[at].split()[1] for at in starts}) == 1
    last = lines[starts[1] :]
    assert "USER 10001:10001" in last
    assert f"EXPOSE {PORT}" in last
    assert not [line for line in last if line.startswith(("ADD", "COPY")) and "--from=build" not in line]
    given = dict(re.findall(r"(FITTENGATE_\w+)=(\S+)", " ".join(line for line in last if line.startswith("ENV"))))
    assert given["FITTENGATE_SERVER_PORT"] == str(PORT)
    assert f"VOLUME {given['FITTENGATE_SERVER_STATE_DIR']}" in last
    kept = text_of("Dockerfile.dockerignore").splitlines()
    (copied,) = [line for line in lines if line.startswith("COPY requirements.lock")]
    for name in shlex.split(copied)[1:-1]:
        assert f"!{name}" in kept
        assert (DEPLOY.parent / name).is_file()


async def test_the_check_of_the_image_tells_a_gateway_that_answers(gateway):
    """The very command of HEALTHCHECK: 0 where a gateway answers, not 0 where none does."""
    (line,) = [line for line in instructions() if line.startswith("HEALTHCHECK")]
    command = json.loads(line[line.index("[") :])
    assert command[0] == "python"

    async def code(port):
        import asyncio

        program = [word.replace(f":{PORT}/", f":{port}/") for word in command[1:]]
        made = await asyncio.create_subprocess_exec(sys.executable, *program, stderr=asyncio.subprocess.DEVNULL)
        return await made.wait()

    assert await code(gateway.port) == 0
    assert await code(1) != 0


def test_the_compose_file_fits_together():
    """Replicas, ports, passwords from outside, places to write to, and longer to stop than it takes to drain."""
    made = yaml.safe_load(text_of("compose.yaml"))
    services = made["services"]
    assert set(services) == {"gateway", "balancer", "postgres", "valkey"}
    gateway, balancer = services["gateway"], services["balancer"]
    assert gateway["deploy"]["replicas"] == 3
    environment = gateway["environment"]
    assert seconds(gateway["stop_grace_period"]) > int(environment["FITTENGATE_SERVER_DRAIN_SECONDS"])
    assert seconds(balancer["stop_grace_period"]) > int(environment["FITTENGATE_SERVER_DRAIN_SECONDS"])
    calls = int(environment["FITTENGATE_UPSTREAM_MAX_CONCURRENCY"])
    assert calls == -(-DEFAULTS["upstream.max_concurrency"] // gateway["deploy"]["replicas"])
    assert environment["FITTENGATE_STORE_URL"].startswith("postgresql://fittengate:${POSTGRES_PASSWORD:?")
    assert "VOLUME " + gateway["volumes"][0] in instructions()
    for one in (gateway, balancer):
        assert one["read_only"] is True
        assert one["cap_drop"] == ["ALL"]
    assert all(port.startswith("127.0.0.1:") for port in balancer["ports"])
    assert not [name for name in ("gateway", "postgres", "valkey") if services[name].get("ports")]
    for one in services.values():
        assert set(one["networks"]) <= set(made["networks"])
        for name, wanted in one.get("depends_on", {}).items():
            assert wanted == {"condition": "service_healthy"}
            assert "healthcheck" in services[name] or services[name]["image"].startswith("fittengate")
    # No secret has a default.
    assert not re.findall(r"PASSWORD\}|PASSWORD:?-", text_of("compose.yaml"))


def test_the_balancer_gives_the_gateway_its_time():
    """Its limits are the gateway's or wider, and its address is the one of the compose file."""
    text = text_of("nginx.conf")
    assert f"server gateway:{PORT} " in text
    assert "listen 8080;" in text
    assert seconds(re.search(r"proxy_read_timeout (\d+s)", text)[1]) > DEFAULTS["upstream.total_timeout"]
    assert int(re.search(r"client_max_body_size (\d+)m", text)[1]) * 1024**2 == DEFAULTS["server.max_body_bytes"]
    assert "non_idempotent" not in text


@pytest.mark.parametrize("values", [{}, EVERYTHING], ids=["as it is", "with everything"])
def test_the_chart_makes_sound_manifests(values):
    """Each has its kind, its names fit one another, and nothing that is to be left out is there."""
    manifests = rendered(CHART, values)
    kinds = {one["kind"] for one in manifests}
    expected = {"Deployment", "Service", "PodDisruptionBudget"}
    assert kinds == expected | ({"HorizontalPodAutoscaler", "NetworkPolicy"} if values else {"Secret"})
    deployment = of_kind(manifests, "Deployment")
    pod = deployment["spec"]["template"]
    labels = pod["metadata"]["labels"]
    for one in manifests:
        assert one["metadata"]["name"] == "prod-fittengate"
        assert one["metadata"]["labels"] == labels
    selectors = [
        deployment["spec"]["selector"]["matchLabels"],
        of_kind(manifests, "Service")["spec"]["selector"],
        of_kind(manifests, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        pod["spec"]["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"],
    ]
    assert selectors == [labels] * 4
    assert ("replicas" in deployment["spec"]) is not bool(values)
    (container,) = pod["spec"]["containers"]
    assert container["envFrom"] == [{"secretRef": {"name": "mine" if values else "prod-fittengate"}}]
    names = [one["name"] for one in container["env"]]
    assert len(names) == len(set(names))
    assert all(isinstance(one["value"], str) for one in container["env"])
    if values:
        assert pod["metadata"]["annotations"]["a"] == "b"
        assert of_kind(manifests, "NetworkPolicy")["spec"]["egress"][-1] == {"ports": [{"port": 5432}]}


def test_a_pod_is_hardened_and_drains():
    """No root, nothing to write to but the state; its probes ask what answers; it may stop for as long as it drains."""
    manifests = rendered(CHART, {"drainSeconds": 300, "secret": {"FITTENGATE_SERVER_API_KEY": "k"}})
    pod = of_kind(manifests, "Deployment")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    environment = {one["name"]: one["value"] for one in container["env"]}
    assert environment["FITTENGATE_SERVER_DRAIN_SECONDS"] == "300"
    assert pod["terminationGracePeriodSeconds"] >= 300 + 5 + 10
    assert container["lifecycle"]["preStop"]["exec"]["command"] == ["sleep", "5"]
    assert container["ports"] == [{"name": "http", "containerPort": PORT}]
    assert environment["FITTENGATE_SERVER_PORT"] == str(PORT)
    probes = {name: container[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert [one["path"] for one in probes.values()] == ["/livez", "/livez", "/readyz"]
    assert {one["port"] for one in probes.values()} == {"http"}
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert f"USER {pod['securityContext']['runAsUser']}:{pod['securityContext']['runAsGroup']}" in instructions()
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["volumeMounts"][0]["mountPath"] == environment["FITTENGATE_SERVER_STATE_DIR"]
    # Variables of services would begin with FITTENGATE_ where the release has that name: none of them is a setting.
    assert pod["enableServiceLinks"] is False
    assert of_kind(manifests, "Secret")["stringData"] == {"FITTENGATE_SERVER_API_KEY": "k"}
    assert of_kind(manifests, "Service")["spec"]["ports"][0]["targetPort"] == "http"


def test_the_chart_is_of_this_version():
    """The image that it asks for is the one of this version."""
    about = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert about["version"] == about["appVersion"] == __version__


def test_the_unit_waits_for_the_draining():
    """It stops later than the gateway has drained, and gives it a directory of its own."""
    lines = text_of("fittengate.service").splitlines()
    given = dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    assert int(given["TimeoutStopSec"]) > DEFAULTS["server.drain_seconds"]
    assert (given["DynamicUser"], given["StateDirectory"], given["StateDirectoryMode"]) == ("yes", "fittengate", "0700")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze")
def test_systemd_reads_the_unit(tmp_path):
    """It finds nothing to say but that the program is not installed; the unit is hardened by its own measure."""
    unit = tmp_path / "fittengate.service"
    unit.write_text(text_of("fittengate.service").replace("/opt/fittengate/bin/fittengate", "/bin/true"))
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    command = ["systemd-analyze", "security", "--offline=yes", "--threshold=20", "--no-pager", unit]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
