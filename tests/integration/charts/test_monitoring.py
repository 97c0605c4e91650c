"""What the charts bring for monitoring: looked at in what Helm renders, without a cluster."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from sandbox.charts import OPERATOR, WORKER, Document, documents, render

both_charts = pytest.mark.parametrize("chart", [OPERATOR, WORKER], ids=lambda chart: chart.name)


def rendered(chart: Path, **metrics: Any) -> list[Document]:
    installation = {"installation": "acme-prod"}
    return documents(render(chart, "home", {**installation, "metrics": metrics}, tests=True))


def of(found: list[Document], kind: str) -> list[Document]:
    return [document for document in found if document["kind"] == kind]


def container(found: list[Document]) -> dict[str, Any]:
    [deployment] = of(found, "Deployment")
    [only] = deployment["spec"]["template"]["spec"]["containers"]
    return dict(only)


def variable(found: list[Document], name: str) -> str | None:
    entries = container(found)["env"]
    return next((entry["value"] for entry in entries if entry["name"] == f"SPACELIFT_AWS_{name}"), None)


@both_charts
def test_by_default_a_service_leads_to_the_metrics_and_the_policy_lets_everybody_in(chart: Path) -> None:
    found = rendered(chart)
    assert {"name": "metrics", "containerPort": 8081} in container(found)["ports"]
    [service] = of(found, "Service")
    assert (service["spec"]["clusterIP"], service["spec"]["ports"]) == (
        "None",
        [{"name": "metrics", "port": 8081, "targetPort": "metrics"}],
    )
    [deployment] = of(found, "Deployment")
    assert service["spec"]["selector"] == deployment["spec"]["selector"]["matchLabels"]
    [policy] = of(found, "NetworkPolicy")
    assert policy["spec"]["ingress"] == [{"ports": [{"port": "health"}]}, {"ports": [{"port": "metrics"}]}]
    # Kinds that a cluster may not know come only when they are asked for.
    assert not {"ServiceMonitor", "PrometheusRule", "ConfigMap"} & {document["kind"] for document in found}


@both_charts
def test_without_metrics_there_is_none_of_it(chart: Path) -> None:
    found = rendered(chart, enabled=False, serviceMonitor={"create": True}, tlsSecret="tls")
    assert not of(found, "Service") + of(found, "ServiceMonitor")
    assert [port["name"] for port in container(found)["ports"]] == ["health"]
    assert variable(found, "METRICS_PORT") is None
    [policy] = of(found, "NetworkPolicy")
    assert policy["spec"]["ingress"] == [{"ports": [{"port": "health"}]}]


@both_charts
def test_the_policy_lets_in_whom_it_is_told(chart: Path) -> None:
    source = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
    [policy] = of(rendered(chart, networkPolicyFrom=[source]), "NetworkPolicy")
    assert policy["spec"]["ingress"][1] == {"ports": [{"port": "metrics"}], "from": [source]}


@both_charts
def test_a_certificate_comes_from_its_secret_and_opens_the_door_by_token(chart: Path) -> None:
    tls = {"ca": {"secret": {"name": "tls", "key": "ca.crt"}}}
    found = rendered(chart, tlsSecret="tls", serviceMonitor={"create": True, "tlsConfig": tls})
    folder = variable(found, "METRICS_CERTIFICATE")
    [mount] = container(found)["volumeMounts"]
    [deployment] = of(found, "Deployment")
    [volume] = deployment["spec"]["template"]["spec"]["volumes"]
    assert (mount["mountPath"], volume) == (folder, {"name": mount["name"], "secret": {"secretName": "tls"}})
    [monitor] = of(found, "ServiceMonitor")
    [endpoint] = monitor["spec"]["endpoints"]
    assert (endpoint["scheme"], endpoint["tlsConfig"]) == ("https", tls)
    assert endpoint["bearerTokenFile"]


def test_the_controller_may_ask_who_shows_a_token_only_with_a_certificate() -> None:
    name = "spacelift-aws-controller-metrics"
    [binding] = [
        one for one in of(rendered(OPERATOR, tlsSecret="tls"), "ClusterRoleBinding") if one["metadata"]["name"] == name
    ]
    assert binding["roleRef"]["name"] == "system:auth-delegator"
    assert [one for one in of(rendered(OPERATOR), "ClusterRoleBinding") if one["metadata"]["name"] == name] == []


@both_charts
def test_a_monitor_finds_the_service_and_is_found(chart: Path) -> None:
    found = rendered(chart, serviceMonitor={"create": True, "labels": {"release": "monitoring"}, "interval": "1m"})
    [monitor], [service] = of(found, "ServiceMonitor"), of(found, "Service")
    assert monitor["metadata"]["labels"]["release"] == "monitoring"
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    [endpoint] = monitor["spec"]["endpoints"]
    assert (endpoint["port"], endpoint["interval"], endpoint["honorLabels"]) == ("metrics", "1m", True)
    assert "scheme" not in endpoint


def test_the_rule_holds_the_alerts_as_they_are_tried() -> None:
    [rule] = of(rendered(OPERATOR, prometheusRule={"create": True, "labels": {"a": "b"}}), "PrometheusRule")
    assert rule["spec"] == yaml.safe_load((OPERATOR / "files" / "alerts.yaml").read_text())
    assert rule["metadata"]["labels"]["a"] == "b"


def test_the_dashboard_is_found_by_grafanas_sidecar() -> None:
    [config_map] = of(rendered(OPERATOR, dashboard={"create": True}), "ConfigMap")
    assert config_map["metadata"]["labels"]["grafana_dashboard"] == "1"
    [text] = config_map["data"].values()
    assert json.loads(text) == json.loads((OPERATOR / "files" / "dashboard.json").read_text())


@pytest.mark.parametrize(("create", "trusted"), [({}, "true"), ({"create": False}, "false")])
def test_the_requesters_name_is_believed_where_the_policies_are(create: dict[str, Any], trusted: str) -> None:
    found = documents(render(OPERATOR, "home", {"admissionPolicies": create}))
    assert variable(found, "TRUST_REQUESTER") == trusted
    found = documents(render(OPERATOR, "home", {"admissionPolicies": {"create": False, "trustRequester": True}}))
    assert variable(found, "TRUST_REQUESTER") == "true"


@pytest.mark.parametrize("trusted", [True, False])
def test_a_worker_is_told_whether_the_policies_are_there(trusted: bool) -> None:
    found = documents(render(WORKER, "home", {"installation": "acme-prod", "trustRequester": trusted}))
    assert variable(found, "TRUST_REQUESTER") == str(trusted).lower()
