"""`python -m sandbox.node --kubeconfig FILE`: run the stand-in node in the foreground until it is interrupted."""

import argparse
import asyncio
import contextlib
import logging
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from sandbox.node import keeper
from sandbox.node.apiserver import read_kubeconfig
from sandbox.node.kubelet import Kubelet, Settings


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when it was told to stop, 1 when it could not go on."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=options.log_level)
    if sys.platform != "linux":
        print("the stand-in node needs Linux: it relies on /proc and on adopting orphaned processes", file=sys.stderr)
        return 1
    variables = dict(one.split("=", 1) for one in options.env)
    settings = Settings(options.name, options.address, tuple(options.path), variables)
    # Should the keeper be killed, its containers' processes come to us.
    keeper.adopt_orphans()
    try:
        return asyncio.run(_serve(Kubelet(settings, read_kubeconfig(options.kubeconfig)), options.ready_file))
    finally:
        keeper.kill_descendants()


async def _serve(kubelet: Kubelet, ready_file: Path | None) -> int:
    ready = asyncio.Event()
    node = asyncio.create_task(kubelet.run(ready))
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, told.set)
    waits = [asyncio.create_task(event.wait()) for event in (ready, told)]
    await asyncio.wait([node, *waits], return_when=asyncio.FIRST_COMPLETED)
    if ready.is_set():
        logging.getLogger(__name__).info("ready")
        if ready_file is not None:
            await asyncio.to_thread(ready_file.touch)
        await asyncio.wait([node, waits[1]], return_when=asyncio.FIRST_COMPLETED)
    if node.done():
        node.result()
        return 1
    node.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await node
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sandbox.node", description=__doc__)
    parser.add_argument("--kubeconfig", type=Path, required=True, help="whose current context may bind and report pods")
    parser.add_argument("--name", default=Settings.name, help="the node's name (default: %(default)s)")
    parser.add_argument("--address", default=Settings.address, help="the node's InternalIP (default: %(default)s)")
    parser.add_argument("--path", action="append", default=[], metavar="FOLDER", help="put before every PATH")
    parser.add_argument(
        "--env", action="append", default=[], metavar="NAME=VALUE", help="for every container without it"
    )
    parser.add_argument("--ready-file", type=Path, help="made when the node is ready")
    parser.add_argument("--log-level", default="INFO")
    return parser


if __name__ == "__main__":
    sys.exit(main())
