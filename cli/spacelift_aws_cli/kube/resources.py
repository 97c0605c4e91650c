"""The kinds that are talked about, and their paths."""

from dataclasses import dataclass
from urllib.parse import quote

from spacelift_aws.api import AWSINTEGRATIONS, GROUP, RUNS, VERSION


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind as the API server's paths have it. `group` is empty for the core group."""

    group: str
    version: str
    plural: str
    singular: str = ""

    @property
    def word(self) -> str:
        """How a sentence calls one of them."""
        return self.singular or self.plural

    @property
    def root(self) -> str:
        """The path of the group's version."""
        return f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"

    @property
    def head(self) -> dict[str, str]:
        """The two fields that every object of the kind begins with."""
        version = f"{self.group}/{self.version}" if self.group else self.version
        return {"apiVersion": version, "kind": self.singular}

    def path(self, namespace: str | None = None, name: str | None = None, sub: str | None = None) -> str:
        """The path of the collection, of one object, or of its subresource."""
        parts = [self.root]
        if namespace is not None:
            parts += ["namespaces", quote(namespace, safe="")]
        parts.append(self.plural)
        parts += [quote(part, safe="") for part in (name, sub) if part is not None]
        return "/".join(parts)


RUN = Resource(GROUP, VERSION, RUNS, "Run")
INTEGRATION = Resource(GROUP, VERSION, AWSINTEGRATIONS, "AwsIntegration")
POD = Resource("", "v1", "pods", "Pod")
EVENT = Resource("", "v1", "events", "Event")
NAMESPACE = Resource("", "v1", "namespaces", "Namespace")
SECRET = Resource("", "v1", "secrets", "Secret")
CONFIG_MAP = Resource("", "v1", "configmaps", "ConfigMap")
SERVICE_ACCOUNT = Resource("", "v1", "serviceaccounts", "ServiceAccount")
DEPLOYMENT = Resource("apps", "v1", "deployments", "Deployment")
LEASE = Resource("coordination.k8s.io", "v1", "leases", "Lease")
DEFINITION = Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition")
POLICY = Resource("admissionregistration.k8s.io", "v1", "validatingadmissionpolicies", "ValidatingAdmissionPolicy")
BINDING = Resource(
    "admissionregistration.k8s.io", "v1", "validatingadmissionpolicybindings", "ValidatingAdmissionPolicyBinding"
)
CLUSTER_ROLE = Resource("rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole")
ACCESS_REVIEW = Resource("authorization.k8s.io", "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview")
OTHERS_REVIEW = Resource("authorization.k8s.io", "v1", "subjectaccessreviews", "SubjectAccessReview")
WHO_AM_I = Resource("authentication.k8s.io", "v1", "selfsubjectreviews", "SelfSubjectReview")
