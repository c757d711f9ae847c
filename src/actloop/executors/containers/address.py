"""Finds the container engine of this machine, and says why none can be used."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

SDK_MISSING = "the package 'docker' is not installed: pip install 'actloop[docker]'"

_NONE = (
    "no container engine was found: start Docker, or podman with `systemctl --user start podman.socket`, or say where "
    "one is in DOCKER_HOST"
)

_SCHEMES = ("unix", "http+unix", "tcp", "http", "https", "npipe", "ssh")


def usual_sockets() -> list[Path]:
    """Where engines have their sockets."""
    home = Path.home()
    runtime = Path(os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid() if hasattr(os, 'getuid') else 0}")
    return [
        Path("/var/run/docker.sock"),
        runtime / "docker.sock",
        home / ".docker/run/docker.sock",
        home / ".docker/desktop/docker.sock",
        home / ".colima/default/docker.sock",
        home / ".orbstack/run/docker.sock",
        runtime / "podman/podman.sock",
        Path("/run/podman/podman.sock"),
        home / ".local/share/containers/podman/machine/podman.sock",
    ]


def addresses() -> list[str]:
    """The addresses of engines, the likeliest first: what `DOCKER_HOST` or Docker's context names, or usual sockets."""
    given = os.environ.get("DOCKER_HOST") or _of_context() or os.environ.get("CONTAINER_HOST")
    if given:
        return [given]
    if sys.platform == "win32":
        return ["npipe:////./pipe/docker_engine"]
    return [f"unix://{path}" for path in usual_sockets() if path.exists()]


def _of_context() -> str:
    """The address of the context that Docker's command line uses; empty for its default one."""
    folder = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker")
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        name = os.environ.get("DOCKER_CONTEXT") or json.loads((folder / "config.json").read_text())["currentContext"]
        for path in (folder / "contexts/meta").glob("*/meta.json"):
            context = json.loads(path.read_text())
            if name != "default" and context["Name"] == name:
                return str(context["Endpoints"]["docker"]["Host"])
    return ""


def socket_of(address: str) -> str:
    """The path of the socket that an address names; empty when it names none."""
    return address.removeprefix("unix://") if address.startswith("unix://") else ""


def why_closed(address: str) -> str:
    """Why nobody answers at an address, as far as that can be told quickly; empty when somebody does."""
    path = socket_of(address)
    if not path:
        return _why_unreachable(address)
    try:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(1.0)
            probe.connect(path)
    except PermissionError:
        return (
            f"you may not use {path}: add yourself to its group (sudo usermod -aG docker $USER) and log in anew, or "
            "use an engine without root"
        )
    except FileNotFoundError:
        return f"no container engine listens at {path}: start it"
    except OSError as error:
        return f"the container engine at {path} does not answer ({error.strerror or error}): start it"
    return ""


def _why_unreachable(address: str) -> str:
    """As `why_closed`, of an engine on another machine."""
    try:
        parts = urlsplit(address if "://" in address else f"tcp://{address}")
        if parts.scheme not in _SCHEMES or ("://" not in address and parts.port is None):
            return f"{address!r} is no address of a container engine: write unix:///PATH, tcp://HOST:PORT or ssh://USER@HOST"
        if parts.scheme == "ssh" and find_spec("paramiko") is None:
            return f"the package 'paramiko' is not installed, which {address} needs: pip install paramiko"
        if parts.scheme in ("tcp", "http", "https") and parts.hostname:
            socket.create_connection((parts.hostname, parts.port or 2375), timeout=1.0).close()
    except (OSError, ValueError) as error:
        return f"the container engine at {address} does not answer: {error}"
    return ""


def find(base_url: str | None = None) -> tuple[str, str]:
    """The address of an engine that answers, and why there is none; one of the two is empty.

    Args:
        base_url: The only one to look at; by default, all usual ones.
    """
    if find_spec("docker") is None:
        return "", SDK_MISSING
    reasons: list[str] = []
    for address in [base_url] if base_url else addresses():
        reason = why_closed(address)
        if not reason:
            return address, ""
        reasons.append(reason)
    denied = [reason for reason in reasons if reason.startswith("you may not")]
    return "", (denied or reasons or [_NONE])[0]
