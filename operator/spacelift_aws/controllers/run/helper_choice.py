"""By which way the helper that masks logs comes into the next pod, and what API server and nodes have shown of that."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

from spacelift_aws.api.run import Run
from spacelift_aws.controllers.run.pod.helper import Helper, HelperDelivery, delivery_now
from spacelift_aws.controllers.run.pod.masking import has_image_volume, masks_all
from spacelift_aws.controllers.run.template_rules import masking_of
from spacelift_aws.kube.errors import ApiError, KubeError

log = logging.getLogger(__name__)

TryOut = Callable[[Helper], Awaitable[Mapping[str, Any]]]
"""Has the API server try out the pod with this helper (`dryRun`), and answers the pod that it would store."""


class HelperChoice:
    """What is known is known for the life of this process: a cluster that was upgraded is asked by the next one."""

    def __init__(self, helper: Helper | None) -> None:
        self._helper = helper
        self._server_keeps: bool | None = None
        self._refused = False

    @property
    def falls_back(self) -> bool:
        """Whether a pod whose node refuses the image volume is to be replaced."""
        return self._helper is not None and self._helper.delivery is HelperDelivery.AUTO

    async def choose(self, run: Run, try_out: TryOut, *, refused: bool) -> Helper | None:
        """The helper with one of the two ways; None without a helper. `refused`: a node has refused this Run's pod."""
        helper = self._helper
        if helper is None:
            return None
        if refused and not self._refused:
            log.warning("A node refused an image volume: from now on an init container brings the helper into pods.")
            self._refused = True
        planned = masking_of(run.spec, helper.image)
        way = delivery_now(
            helper.delivery,
            server_keeps=self._server_keeps,
            refused=self._refused,
            all_masked=planned is not None and masks_all(run.spec, planned),
        )
        return replace(helper, delivery=way if way is not None else await self._ask(helper, try_out))

    async def _ask(self, helper: Helper, try_out: TryOut) -> HelperDelivery:
        """The pod is tried out: an API server without image volumes takes them out of it, or refuses the field.

        Another refusal says nothing of image volumes; the pod itself is going to be refused with it.
        """
        try:
            answer = await try_out(replace(helper, delivery=HelperDelivery.IMAGE))
        except KubeError as error:
            if isinstance(error, ApiError) and _UNKNOWN in error.message and _FIELD in error.message:
                self._server_keeps = False
            return HelperDelivery.INIT_CONTAINER
        self._server_keeps = has_image_volume(answer.get("spec") or {})
        return HelperDelivery.IMAGE if self._server_keeps else HelperDelivery.INIT_CONTAINER


# An API server older than the field has only words to say so.
_UNKNOWN, _FIELD = "unknown field", '].image"'
