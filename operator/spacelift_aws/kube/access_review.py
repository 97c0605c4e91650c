"""Who shows a token, and whether they may read a path: asked of the API server, as its own components do."""

from spacelift_aws.kube.client import Kube
from spacelift_aws.kube.resources import SUBJECT_ACCESS_REVIEWS, TOKEN_REVIEWS


async def may_get(kube: Kube, token: str, path: str) -> bool:
    """Whether the API server knows the token, and its bearer may `get` the path. Raises KubeError."""
    review = {"apiVersion": TOKEN_REVIEWS.api_version, "kind": TOKEN_REVIEWS.kind, "spec": {"token": token}}
    status = (await kube.create(TOKEN_REVIEWS, None, review)).get("status") or {}
    if not status.get("authenticated"):
        return False
    user = status.get("user") or {}
    spec = {
        "user": user.get("username"),
        "uid": user.get("uid"),
        "groups": user.get("groups") or [],
        "extra": user.get("extra") or {},
        "nonResourceAttributes": {"path": path, "verb": "get"},
    }
    access = {"apiVersion": SUBJECT_ACCESS_REVIEWS.api_version, "kind": SUBJECT_ACCESS_REVIEWS.kind, "spec": spec}
    answer = (await kube.create(SUBJECT_ACCESS_REVIEWS, None, access)).get("status") or {}
    return bool(answer.get("allowed"))
