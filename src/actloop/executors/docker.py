"""Runs programs in containers, with Docker or podman: hardened, attached to a stream, and removed surely."""

from __future__ import annotations

import binascii
import contextlib
import dataclasses
import time
import weakref
from importlib import import_module
from typing import TYPE_CHECKING, Any

from actloop.errors import MissingExtraError, SandboxUnavailableError
from actloop.executors import bundle
from actloop.executors.containers import address, calls, images, options
from actloop.executors.containers.engine import OWNER, engine_at, owner
from actloop.executors.reaper import REAPER
from actloop.executors.remote import RemotePythonExecutor
from actloop.executors.session import SandboxLimits
from actloop.executors.stream import KeeperProcess
from actloop.executors.warm import WarmPool
from actloop.values.cuts import cut_before

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from actloop.executors.containers.engine import Attached, Engine
    from actloop.executors.guest_process import GuestProcess
    from actloop.executors.network import SessionProxy

START = 60.0
"""Seconds that Python may take to start in a container."""


class ContainerProcess(KeeperProcess):
    """A guest in a container.

    Attributes:
        container: The container's id.
        proxy: What serves the requests of its programs; None where they have no network.
    """

    def __init__(self, engine: Engine, container: str, stream: Attached, proxy: SessionProxy | None) -> None:
        self.container = container
        self.proxy = proxy
        self._engine = engine
        super().__init__(stream, lambda: engine.remove(container), connect=None if proxy is None else proxy.serve)

    def why_lost(self) -> str:
        """As in `KeeperProcess`."""
        for wait in (0.0, 0.2) if self.status is None else ():  # an engine that ends may still listen for a moment
            time.sleep(wait)
            if address.why_closed(self._engine.address):
                return f"The container engine at {self._engine.address} does not answer any more"
        return super().why_lost()

    def close(self) -> None:
        """As in `KeeperProcess`."""
        super().close()
        if self.proxy is not None:
            self.proxy.close()


class DockerExecutor(RemotePythonExecutor):
    """Runs programs in containers of Docker, or of podman through its socket: one for each session.

    A container has no network, a root that cannot be written, no capability, no further privileges, an unprivileged
    user, and limits of memory, processors, processes, files and disk. The guest is handed in over the container's
    standard input, so that no port is opened and no file is put into the image.

    Args:
        additional_imports: Modules that programs may import besides the standard library's, or requirements as pip
            understands them. They are installed when the image is built; an image of your own must have them.
        logger: Prints what happens, with `log(text)`; None prints nothing.
        host: Accepted for programs written for smolagents, and without a meaning: no port is opened.
        port: As `host`.
        image_name: Name of the image that is built; by default one that tells its content.
        build_new_image: Build the image when there is none of its name with the same content. False takes any of that
            name, and builds one only if there is none.
        container_run_kwargs: Further options of the container, by the SDK's names. Those that would open it to its
            host or the network are refused.
        dockerfile_content: To build the image from. It must have Python 3.11 or later as `python3`.
        allow_pickle: Accepted as False: values travel in a safe codec here, never as pickles.
        image: An image of your own, taken as it is: only Python 3.11 or later must be in it.
        base_image: The image that the Dockerfile of this package builds on.
        base_url: Address of the engine; by default that of `DOCKER_HOST`, Docker's context or the usual sockets.
        python: Name or path of Python in the image.
        gpus: GPUs that programs may use: "all", a number, or a list of ids.
        cpus: Processors that a container may use at once; None for all.
        user: User and group of programs, as "uid:gid"; never root.
        warm: Containers that are kept ready for sessions to come.
        allow_unsafe_options: Take `container_run_kwargs` as they are, even if they open the sandbox.
        **guest_options: Those of `GuestExecutor`: `limits`, `timeout_seconds`, `workspace`, `allow_hosts`, ...

    Raises:
        MissingExtraError: The SDK is not installed.
        SandboxUnavailableError: No engine can be used, or the image cannot be had.
        ValueError: An option would open the sandbox, or cannot be kept.
    """

    kind = "docker"
    enforced = frozenset(field.name for field in dataclasses.fields(SandboxLimits))
    files_in_memory = True
    networked = True

    def __init__(
        self,
        additional_imports: Iterable[str] = (),
        logger: Any = None,
        host: str = "127.0.0.1",
        port: int = 8888,
        image_name: str | None = None,
        build_new_image: bool = True,
        container_run_kwargs: Mapping[str, Any] | None = None,
        dockerfile_content: str | None = None,
        allow_pickle: bool = False,
        *,
        image: str | None = None,
        base_image: str | None = None,
        base_url: str | None = None,
        python: str = "python3",
        gpus: str | int | list[str] | None = None,
        cpus: float | None = 1.0,
        user: str = f"{options.USER}:{options.USER}",
        warm: int = 0,
        allow_unsafe_options: bool = False,
        **guest_options: Any,
    ) -> None:
        self._own_options = dict(container_run_kwargs or {})
        options.refuse_unknown(self._own_options)
        if not allow_unsafe_options:
            options.refuse_root(user)
            options.refuse_unsafe(self._own_options)
        options.check_numbers(cpus, warm)
        for option, name in (("image", image), ("base_image", base_image), ("image_name", image_name)):
            options.check_image(option, name)
        building = {"base_image": base_image, "image_name": image_name, "dockerfile_content": dockerfile_content}
        options.refuse_beside(image, building)
        self.host, self.port = host, port
        self._gpus = None if gpus is None else options.gpu_requests(gpus)
        self._cpus, self._user, self._python = cpus, user, python
        if address.find(base_url)[1] == address.SDK_MISSING:
            raise MissingExtraError("docker", "docker", type(self).__name__)
        self._engine = engine_at(base_url)
        self._processes: int | None = None
        super().__init__(additional_imports, logger, allow_pickle, **guest_options)
        self._build = {"name": image_name, "base": base_image, "dockerfile": dockerfile_content}
        self._reuse = not build_new_image and image_name is not None
        self._given = image
        self.image_name = self._image()
        self._volumes = self._volumes_of(self.image_name)
        self._pool = self._new_pool(warm)

    @classmethod
    def why_unavailable(cls) -> str:
        """As in `GuestExecutor`."""
        return address.find()[1]

    @classmethod
    def to_fetch(cls) -> str:
        """What the first session does by itself, once; empty when that is done."""
        try:
            return (
                ""
                if images.has_built(engine_at(None))
                else "builds its image, which takes a registry; image= names one"
            )
        except SandboxUnavailableError as error:
            return f"cannot begin: {error}"

    def _promised(self, limits: SandboxLimits) -> SandboxLimits:
        """As in `GuestExecutor`; what this engine cannot limit is not promised."""
        info, default = self._engine.info, SandboxLimits()
        missing = {"memory": "MemoryLimit", "processes": "PidsLimit"}
        lacking = [
            name
            for name, key in missing.items()
            if info.get(key) is False and getattr(limits, name) not in (None, getattr(default, name))
        ]
        if lacking:
            raise ValueError(
                f"The container engine at {self._engine.address} cannot enforce {' and '.join(lacking)}: leave it out, "
                "or let the engine use cgroups"
            )
        limits = dataclasses.replace(limits, **{name: None for name, key in missing.items() if info.get(key) is False})
        return super()._promised(limits)

    # ---- the image

    def _image(self) -> str:
        """The name of the image, which is there from then on."""
        if self._given is not None:
            images.get(self._engine, self._given, self._say)
            return self._given
        if self._reuse and self._build["name"] is not None and not self.installed_packages:
            try:
                self._engine.api.inspect_image(self._build["name"])
                return self._build["name"]
            except self._engine.sdk.errors.NotFound:
                pass
            except self._engine.errors as error:
                raise self._engine.unavailable(error) from error
        return images.build(self._engine, self._say, packages=self.installed_packages, **self._build)

    def _volumes_of(self, image: str) -> list[str]:
        """Folders that an image wants to be written outside of the container's own limits."""
        config: dict[str, Any] = images.get(self._engine, image, self._say).get("Config") or {}
        volumes: dict[str, Any] = config.get("Volumes") or {}
        return list(volumes)

    def install_packages(self, additional_imports: list[str]) -> list[str]:
        """As in `RemotePythonExecutor`: builds another image.

        Raises:
            ValueError: The image is the user's own.
        """
        if self._given is not None and additional_imports:
            raise ValueError(f"The image {self._given!r} is taken as it is: put {additional_imports} into it")
        with self._lock:
            packages = super().install_packages(additional_imports)
            self.image_name = self._image()
        return packages

    # ---- sessions

    def mounts_workspace(self) -> bool:
        """As in `GuestExecutor`: an engine on this machine can mount it, if nothing in it leads out."""
        assert self.workspace is not None
        filtered = calls.architecture(str(self._engine.info.get("Architecture"))) is not None
        return self._engine.local and filtered and self.workspace.can_mount(others=True, doors=True)

    def spawn(self, config: dict[str, Any]) -> GuestProcess:
        """As in `GuestExecutor`."""
        return self._pool.take(config, self._start_container)

    def _new_pool(self, size: int) -> WarmPool:
        """A pool of its own, whose containers end with it."""
        pool = WarmPool(size)
        weakref.finalize(self, pool.close)
        return pool

    def _set_apart(self) -> None:
        """As in `SessionExecutor`."""
        super()._set_apart()
        self._pool = self._new_pool(self._pool.size)

    def _start_container(self, config: dict[str, Any]) -> ContainerProcess:
        folder: str = config["workspace"]["folder"] if "workspace" in config else options.SCRATCH
        keep = {"config": {**config, "folder": folder}, "rlimits": ("memory", "files"), "filter": self._filter(config)}
        container, stream = self._begin(config)
        try:
            with contextlib.suppress(OSError):  # what it then says tells more
                stream.write(bundle.boot(keep))
            if not stream.first(START):
                said = stream.said.decode(errors="replace").strip()
                raise SandboxUnavailableError(
                    f"The image {self.image_name!r} cannot run programs: {cut_before(said, 1000)}"
                )
            return ContainerProcess(self._engine, container, stream, self.new_proxy())
        except BaseException:
            stream.close()
            REAPER.put(_removal(self._engine, container))
            raise

    def _begin(self, config: dict[str, Any]) -> tuple[str, Attached]:
        """Start a container; an engine that cannot give as many processes as it would by itself is asked for fewer."""
        for processes in (self._processes, *options.FEWER_PROCESSES):
            try:
                begun = self._engine.start(self._config(config, processes))
                self._processes = processes
                return begun
            except SandboxUnavailableError as error:
                if options.PROCESSES_REFUSED not in str(error) or processes == options.FEWER_PROCESSES[-1]:
                    raise
        raise AssertionError

    def _filter(self, config: dict[str, Any]) -> dict[str, Any] | None:
        """The filter of system calls that the keeper is to use."""
        machine = calls.architecture(str(self._engine.info.get("Architecture")))
        if machine is None:
            return None
        mounted = "workspace" in config and config["workspace"]["mounted"]
        code = binascii.b2a_base64(calls.compiled(machine, unix=not mounted), newline=False).decode()
        return {"machine": machine, "code": code, "needed": mounted}

    def _config(self, config: dict[str, Any], processes: int | None = None) -> dict[str, Any]:
        """A container, as the engine's API takes it."""
        count_files = not self._engine.is_podman
        wanted = options.hardened(self.limits, self._cpus, self._user, (OWNER, owner()), count_files=count_files)
        if self.workspace is not None:
            options.add_workspace(wanted, config["workspace"], count_files=count_files)
            if config["workspace"]["mounted"]:
                wanted["mounts"] = [self._mount(str(self.workspace.path), config["workspace"]["folder"])]
        for folder in self._volumes:
            wanted["tmpfs"].setdefault(folder, "ro,noexec,nosuid,nodev,size=4096")
        types = self._engine.sdk.types
        ulimits = options.ulimits(self._engine.local) | ({} if processes is None else {"nproc": processes})
        wanted["ulimits"] = [types.Ulimit(name=name, soft=most, hard=most) for name, most in ulimits.items()]
        wanted["log_config"] = types.LogConfig(type="none")
        if self._gpus:
            wanted["device_requests"] = self._gpus
        for name, value in self._own_options.items():
            if name == "security_opt":
                wanted[name] = [*wanted[name], *value]
            else:
                both = isinstance(value, dict) and isinstance(wanted.get(name), dict)
                wanted[name] = {**wanted[name], **value} if both else value
        for name in ("detach", "remove"):  # of the SDK's own `run`
            wanted.pop(name, None)
        models = import_module("docker.models.containers")
        host = {name: wanted.pop(name) for name in list(wanted) if name in models.RUN_HOST_CONFIG_KWARGS}
        for name, meant in (("volumes", "binds"), ("ports", "port_bindings"), ("network", "network_mode")):
            if name in wanted:
                host[meant] = wanted.pop(name)
        if "port_bindings" in host:
            wanted["ports"] = [tuple(port.split("/")) for port in host["port_bindings"]]
        made = self._engine.api.create_container_config(
            self.image_name,
            None,
            entrypoint=[self._python, "-I", "-c", bundle.BOOT],
            host_config=self._engine.api.create_host_config(**host),
            **wanted,
        )
        return {**made, "Cmd": [], "OpenStdin": True, "StdinOnce": True, "AttachStdin": True, "Tty": False}

    def _mount(self, path: str, folder: str) -> Any:
        mount = self._engine.sdk.types.Mount(folder, path, type="bind", read_only=True)
        return {**mount, "BindOptions": {"NonRecursive": True}}  # what is mounted within could be written

    def cleanup(self) -> None:
        """End this executor's own session, and what is kept ready; idempotent."""
        super().cleanup()
        self._pool.close()


LocalDockerExecutor = DockerExecutor
"""Another name of it."""


def _removal(engine: Engine, container: str) -> Callable[[], None]:
    return lambda: engine.remove(container)
