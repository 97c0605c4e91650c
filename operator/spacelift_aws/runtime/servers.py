"""What a process answers over HTTP: the probes, and `/metrics`."""

from spacelift_aws.runtime.health import Health, HealthProbes
from spacelift_aws.runtime.http_server import HttpServer
from spacelift_aws.runtime.metrics_endpoint import PATH, MetricsEndpoint
from spacelift_aws.settings import Settings


def start_servers(settings: Settings, health: Health) -> MetricsEndpoint:
    """Listen on the ports that are configured. Raises OSError if one is taken, or a certificate cannot be read."""
    endpoint = MetricsEndpoint(guarded=settings.metrics_certificate is not None)
    routes = HealthProbes(health).routes()
    if settings.metrics_port is not None and settings.metrics_port == settings.health_port:
        routes[PATH] = endpoint.handle
    elif settings.metrics_port is not None:
        HttpServer({PATH: endpoint.handle}, settings.metrics_port, settings.metrics_certificate).start()
    if settings.health_port is not None:
        HttpServer(routes, settings.health_port).start()
    return endpoint
