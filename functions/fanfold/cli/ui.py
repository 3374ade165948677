"""``fanfold ui``: the page for DAGs, runs and fan-outs, until Ctrl-C."""

from __future__ import annotations

import gc
import secrets
import socket
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console
from rich.text import Text

from fanfold.cli.store import Place

_NEEDED = ("jinja2", "starlette", "uvicorn", "python_multipart")
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def serve_page(place: Place, folder: Path, host: str, port: int) -> int:
    """Serve the page; the exit code: 0, or 2 when it cannot be served."""
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        return _refuse(f"fanfold ui needs {', '.join(missing)}, which is not installed. Run: pip install 'fanfold[ui]'")
    if not folder.is_dir():
        return _refuse(f"{folder} is no folder")
    try:
        listener = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except (OSError, OverflowError) as fault:
        return _refuse(f"{host}:{port}: {getattr(fault, 'strerror', None) or fault}; choose another one with --port")
    if place.stack is None:
        from fanfold.web.laptop import LaptopSite

        _serve(LaptopSite(place.folder, folder), listener, host)
        return 0
    from fanfold.cli.remote import connected
    from fanfold.web.cloud import CloudSite

    with connected(place.stack, place.endpoint_url) as stack:
        _serve(CloudSite(stack), listener, host)
    return 0


def _refuse(reason: str) -> int:
    Console(stderr=True, highlight=False).print(Text(reason, "red"), soft_wrap=True)
    return 2


def _serve(site: object, listener: socket.socket, host: str) -> None:
    import uvicorn

    from fanfold.web.app import create_app
    from fanfold.web.security import Guard

    gc.enable()  # unlike the other commands, this one lasts
    port = listener.getsockname()[1]
    token = secrets.token_urlsafe(24)
    hosts = frozenset({*_LOOPBACK, host})
    app = create_app(site, Guard(token, hosts if host not in ("0.0.0.0", "::") else None, port))  # type: ignore[arg-type]  # noqa: S104
    shown = f"[{host}]" if ":" in host else host
    console = Console(highlight=False)
    console.print(Text(f"http://{shown}:{port}/?token={token}"), soft_wrap=True)
    if host not in _LOOPBACK:
        console.print("whoever reaches this machine and knows the address may start and stop runs", style="yellow")
    console.print("Ctrl-C ends it; runs go on.", style="dim")
    config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=1, lifespan="off")
    uvicorn.Server(config).run(sockets=[listener])
