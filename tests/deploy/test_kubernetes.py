"""The files for Kubernetes: of the right shape, and true to what the server does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from mmp.serving import server
from mmp.serving.gate import OPEN
from mmp.settings.load import load_config

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "k8s"
NAME = {"type": "string", "pattern": r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"}
TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
COUNT = {"type": "integer", "minimum": 1}
QUANTITY = {"type": "object", "additionalProperties": {"type": "string", "pattern": r"^\d+(m|Ki|Mi|Gi)?$"}}


def shape(*required, closed=True, **properties):
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": not closed,
    }


def kind(version, name, **properties):
    meta = shape("name", name=NAME, labels=TEXTS)
    head = {"apiVersion": {"const": version}, "kind": {"const": name}, "metadata": meta}
    return shape(*head, *properties, **head, **properties, type={"const": "Opaque"})


def probe():
    http = shape("path", "port", path={"enum": sorted(OPEN)}, port=NAME)
    return shape(
        "httpGet",
        "periodSeconds",
        "timeoutSeconds",
        "failureThreshold",
        httpGet=http,
        periodSeconds=COUNT,
        timeoutSeconds=COUNT,
        failureThreshold=COUNT,
    )


SELECTOR = shape("matchLabels", matchLabels=TEXTS)
CONTAINER = shape(
    "name",
    "image",
    "args",
    "ports",
    "startupProbe",
    "readinessProbe",
    "livenessProbe",
    "resources",
    "securityContext",
    name=NAME,
    image={"type": "string"},
    args={"type": "array", "items": {"type": "string"}},
    ports={"type": "array", "items": shape("name", "containerPort", name=NAME, containerPort=COUNT)},
    env={"type": "array", "items": shape("name", "value", name={"type": "string"}, value={"type": "string"})},
    envFrom={"type": "array", "items": shape("secretRef", secretRef=shape("name", name=NAME))},
    startupProbe=probe(),
    readinessProbe=probe(),
    livenessProbe=probe(),
    lifecycle=shape("preStop", preStop=shape("exec", exec=shape("command", command={"type": "array"}))),
    resources=shape("requests", "limits", requests=QUANTITY, limits=QUANTITY),
    securityContext=shape(
        "allowPrivilegeEscalation",
        "readOnlyRootFilesystem",
        "capabilities",
        allowPrivilegeEscalation={"const": False},
        readOnlyRootFilesystem={"const": True},
        capabilities={"const": {"drop": ["ALL"]}},
    ),
    volumeMounts={
        "type": "array",
        "items": shape(
            "name", "mountPath", name=NAME, mountPath={"type": "string"}, readOnly={"const": True}
        ),
    },
)
POD = shape(
    "containers",
    "securityContext",
    "terminationGracePeriodSeconds",
    containers={"type": "array", "items": CONTAINER, "minItems": 1},
    automountServiceAccountToken={"const": False},
    enableServiceLinks={"const": False},
    terminationGracePeriodSeconds=COUNT,
    securityContext=shape(
        "runAsNonRoot", "runAsUser", closed=False, runAsNonRoot={"const": True}, runAsUser=COUNT
    ),
    topologySpreadConstraints={"type": "array"},
    volumes={"type": "array", "items": shape("name", closed=False, name=NAME)},
)
SHAPES = {
    "configmap": kind("v1", "ConfigMap", data=TEXTS),
    "secret.example": kind("v1", "Secret", stringData=TEXTS),
    "service": kind(
        "v1",
        "Service",
        spec=shape(
            "selector",
            "ports",
            type={"const": "ClusterIP"},
            selector=TEXTS,
            ports={"type": "array", "items": shape("name", "port", "targetPort", name=NAME, port=COUNT, targetPort=NAME)},
        ),
    ),
    "deployment": kind(
        "apps/v1",
        "Deployment",
        spec=shape(
            "selector",
            "template",
            revisionHistoryLimit=COUNT,
            strategy={"type": "object"},
            selector=SELECTOR,
            template=shape("metadata", "spec", metadata=shape("labels", labels=TEXTS), spec=POD),
        ),
    ),
    "hpa": kind(
        "autoscaling/v2",
        "HorizontalPodAutoscaler",
        spec=shape(
            "scaleTargetRef",
            "minReplicas",
            "maxReplicas",
            "metrics",
            scaleTargetRef=shape("apiVersion", "kind", "name", apiVersion={"const": "apps/v1"}, kind={"const": "Deployment"}, name=NAME),
            minReplicas={"type": "integer", "minimum": 2},
            maxReplicas=COUNT,
            metrics={"type": "array", "minItems": 1},
            behavior={"type": "object"},
        ),
    ),
    "pdb": kind("policy/v1", "PodDisruptionBudget", spec=shape("minAvailable", "selector", minAvailable=COUNT, selector=SELECTOR)),
}  # fmt: skip


def load(name):
    return yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))


@pytest.fixture
def config(tmp_path, monkeypatch):
    """The config of the pods, with the secret's values in the environment."""
    for name, value in load("secret.example")["stringData"].items():
        monkeypatch.setenv(name, value)
    path = tmp_path / "config.yaml"
    path.write_text(load("configmap")["data"]["config.yaml"])
    return load_config(str(path)).value


@pytest.fixture
def pod():
    return load("deployment")["spec"]["template"]["spec"]


def test_every_file_has_its_shape():
    assert {path.stem for path in FOLDER.glob("*.yaml")} == {*SHAPES, "kustomization"}
    for name, schema in SHAPES.items():
        errors = [error.message for error in Draft202012Validator(schema).iter_errors(load(name))]
        assert errors == [], name


def test_kustomize_names_every_file_but_the_secret():
    assert set(load("kustomization")["resources"]) == {f"{name}.yaml" for name in SHAPES} - {
        "secret.example.yaml"
    }


def test_everything_selects_the_same_pods():
    labels = load("deployment")["spec"]["template"]["metadata"]["labels"]
    assert load("deployment")["spec"]["selector"]["matchLabels"] == labels
    assert load("service")["spec"]["selector"] == labels
    assert load("pdb")["spec"]["selector"]["matchLabels"] == labels
    assert load("hpa")["spec"]["scaleTargetRef"]["name"] == load("deployment")["metadata"]["name"]
    assert load("pdb")["spec"]["minAvailable"] < load("hpa")["spec"]["minReplicas"]


def test_the_server_takes_the_config(config):
    server.check(config.serving, insecure=False)
    assert config.serving.auth.enabled
    assert config.serving.model_alias == "champion"


def test_the_secret_has_what_the_config_asks_for():
    wanted = set(re.findall(r"\$\{(\w+)", load("configmap")["data"]["config.yaml"]))
    assert wanted == set(load("secret.example")["stringData"])


def test_the_pod_is_true_to_the_server(config, pod):
    (container,) = pod["containers"]
    assert container["ports"] == [{"name": "http", "containerPort": config.serving.port}]
    assert load("service")["spec"]["ports"][0]["targetPort"] == "http"
    assert container["livenessProbe"]["httpGet"]["path"] == "/health"
    assert container["readinessProbe"]["httpGet"]["path"] == "/ready"
    _, seconds = container["lifecycle"]["preStop"]["exec"]["command"]
    assert pod["terminationGracePeriodSeconds"] > int(seconds) + config.serving.request_timeout_seconds + 2
    mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert str(config.logging.base_path).startswith("/tmp/")
    assert mounts == {"/etc/mmp", "/tmp"}
    assert {mount["name"] for mount in container["volumeMounts"]} == {
        volume["name"] for volume in pod["volumes"]
    }


def test_the_image_is_the_one_that_only_serves(pod):
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    stage = text.partition(" AS serve\n")[2].partition("\nFROM ")[0]
    assert 'ENTRYPOINT ["mmp", "serve-api"]' in stage
    assert "mlflow" not in stage
    assert pod["containers"][0]["args"] == ["-c", "/etc/mmp/config.yaml"]
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]["serve"]
    assert (compose["image"], compose["build"]["target"]) == (pod["containers"][0]["image"], "serve")
