"""One trace a Run, as a collector receives it over OTLP."""

import http.server
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from sandbox.objects import Objects, complete
from sandbox.process import wait_until
from sandbox.stage import API_VERSION, Stage
from spacelift_aws.names import child_name
from spacelift_aws.tracing import place_of

GIVEN = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@dataclass
class Collector:
    """Takes traces and keeps them as sent."""

    port: int = 0
    bodies: list[bytes] = field(default_factory=list)

    def spans(self, trace_id: int) -> dict[str, Any]:
        """The spans of a trace by name."""
        found: dict[str, Any] = {}
        for body in self.bodies:
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                for scope in resource.scope_spans:
                    found |= {span.name: span for span in scope.spans if span.trace_id == trace_id.to_bytes(16, "big")}
        return found


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    made = Collector()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            made.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield made
    server.shutdown()


@pytest.fixture(scope="module", autouse=True)
def traced(_stage: Stage, collector: Collector) -> Iterator[None]:
    variables = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.port}",
        "OTEL_EXPORTER_OTLP_COMPRESSION": "none",
        "OTEL_BSP_SCHEDULE_DELAY": "200",
    }
    _stage.controller.stop()
    _stage.controller.environment.update(variables)
    _stage.controller.start()
    yield
    _stage.controller.stop()
    for name in variables:
        del _stage.controller.environment[name]


STEPS = {"queued", "sts", "secret", "pod", "running", "end"}


def finished(stage: Stage, namespace: str, annotations: dict[str, str]) -> tuple[str, str]:
    """The ID of a Run that has ended, and what its container was told."""
    template = {"spec": {"containers": [stage.container('echo "told $TRACEPARENT"')]}}
    Objects(stage.cluster.kubeconfig).create(
        {
            "apiVersion": API_VERSION,
            "kind": "Run",
            "metadata": {"namespace": namespace, "name": "traced", "annotations": annotations},
            "spec": {"integrationRef": {"name": "prod"}, "template": template},
        }
    )
    run = stage.objects.wait("Run", namespace, "traced", complete, timeout=60, what="traced")
    run_id = str(run["status"]["runId"])
    said = stage.cluster.kubectl("logs", f"--namespace={namespace}", child_name(run_id)).stdout
    return run_id, said.partition("told ")[2].strip()


@pytest.mark.parametrize("given", [None, GIVEN], ids=["of its own", "of who created it"])
def test_a_run_leaves_one_trace(stage: Stage, namespace: str, collector: Collector, given: str | None) -> None:
    stage.integration(namespace)
    run_id, told = finished(stage, namespace, {"traceparent": given} if given else {})
    place = place_of(run_id, given)
    wait_until(lambda: "Run traced" in collector.spans(place.trace_id), timeout=30, what="the Run's span")
    spans = collector.spans(place.trace_id)
    assert spans.keys() - {"trust", "Run traced"} == STEPS
    whole = spans.pop("Run traced")
    assert whole.span_id == place.span_id.to_bytes(8, "big")
    assert whole.parent_span_id == (place.parent_id.to_bytes(8, "big") if place.parent_id else b"")
    assert {span.parent_span_id for span in spans.values()} == {whole.span_id}
    assert told == place.traceparent
    for span in spans.values():
        assert whole.start_time_unix_nano <= span.start_time_unix_nano <= span.end_time_unix_nano


def test_what_is_sent_holds_no_secret(stage: Stage, collector: Collector) -> None:
    sent = b"".join(collector.bodies)
    assert b"team" in sent
    for name in (b"SecretAccessKey", b"SessionToken", b"ASIA", stage.operator.secret_access_key.encode()):
        assert name not in sent
