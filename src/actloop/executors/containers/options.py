"""How containers are closed: options of the engine, and which others a user may set without opening them."""

from __future__ import annotations

import re
import sys
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actloop.values.cuts import cut

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from actloop.executors.session import SandboxLimits

USER = 65532
"""User and group id of programs: nobody's, on any machine."""

SCRATCH = "/tmp"  # noqa: S108 - of the container
"""The folder that programs may write to, and begin in."""

OVERHEAD = 64 * 1024 * 1024
"""Bytes of memory that a container may take beyond the limits of programs: for Python itself and the keeper."""

MOST_FILES = 20_000
"""Files that programs may have in their scratch folder, where the engine can limit that."""

MOST_PIDS = 1 << 22
"""Processes that Linux can count at most."""

MOST_WARM = 1000
"""Containers that are kept ready at most."""

OPENING = frozenset(
    """
    blkio_weight_device cap_add cgroup_parent cgroupns command cpu_rt_period cpu_rt_runtime device_cgroup_rules
    device_read_bps device_read_iops device_write_bps device_write_iops devices dns dns_opt dns_search entrypoint
    extra_hosts group_add init_path isolation kernel_memory links log_config lxc_conf mounts network networking_config
    ports publish_all_ports restart_policy stdin_open sysctls tmpfs tty use_config_proxy uts_mode volume_driver volumes
    volumes_from working_dir
    """.split()  # noqa: SIM905 - a list of names, not of strings
)
"""Options of `docker run`, by the SDK's names, that open a container, or that only its executor can set."""

HARMLESS = frozenset(
    """
    auto_remove blkio_weight cpu_count cpu_percent cpu_period cpu_quota cpu_shares cpuset_cpus cpuset_mems detach
    device_requests domainname environment healthcheck hostname labels mac_address mem_limit mem_reservation
    mem_swappiness memswap_limit name nano_cpus oom_score_adj pids_limit platform remove runtime shm_size stop_signal
    storage_opt ulimits version
    """.split()  # noqa: SIM905 - a list of names, not of strings
)
"""Options of `docker run`, by the SDK's names, that let nothing out of a container."""


def _is_strict(option: Any) -> bool:
    name, _, value = re.sub("[:=]", "=", str(option), count=1).partition("=")
    return (name == "no-new-privileges" and value in ("", "true")) or (name == "apparmor" and value != "unconfined")


def _is_other(*values: Any) -> Callable[[Any], bool]:
    return lambda value: value not in values


_CHECKED: dict[str, Callable[[Any], bool]] = {
    "cap_drop": _is_other(["ALL"], ["all"], ()),
    "init": _is_other(True, False, None),
    "ipc_mode": _is_other("none", "private", None),
    "network_disabled": _is_other(True, None),
    "network_mode": _is_other("none", None),
    "oom_kill_disable": _is_other(False, None),
    "pid_mode": _is_other("", None),
    "privileged": _is_other(False, None),
    "read_only": _is_other(True, None),
    "security_opt": lambda value: not isinstance(value, list | tuple) or not all(map(_is_strict, value)),  # pyright: ignore[reportUnknownArgumentType]
    "user": lambda value: not re.fullmatch(r"[1-9]\d*(:[1-9]\d*)?", str(value)),
    "userns_mode": _is_other("", "auto", "keep-id", "nomap", None),
}
"""Options that may have some values; each with what tells another value."""


def refuse_unknown(options: Mapping[str, Any]) -> None:
    """Refuse options that there are not.

    Raises:
        ValueError: There are some; the message names the first, and one that is nearly called so.
    """
    known = OPENING | HARMLESS | _CHECKED.keys()
    for name in options:
        if name not in known:
            close = get_close_matches(name, known, n=1)
            hint = f"; did you mean '{close[0]}'?" if close else ""
            raise ValueError(f"container_run_kwargs: unknown option '{name}'{hint}")


def refuse_root(user: Any) -> None:
    """Refuse a user that is root, or may be.

    Raises:
        ValueError: It is not given by numbers above 0.
    """
    if _CHECKED["user"](user):
        raise ValueError(
            f"user={user!r}: programs never run as root; give numbers above 0, as '65532:65532', or pass "
            "allow_unsafe_options=True if that is what you want"
        )


def check_numbers(cpus: Any, warm: Any) -> None:
    """Refuse processors and containers to be kept ready that cannot be counted.

    Raises:
        ValueError: They cannot.
    """
    if cpus is not None and (isinstance(cpus, bool) or not isinstance(cpus, int | float) or not 0.01 <= cpus <= 1e6):
        raise ValueError(f"cpus={cpus!r}: give a number of processors, such as 1.5, or None for all")
    if isinstance(warm, bool) or not isinstance(warm, int) or not 0 <= warm <= MOST_WARM:
        shown = f"{warm!r}" if not isinstance(warm, int) or abs(warm) < 1e18 else "so large a number"
        raise ValueError(f"warm={shown}: give a whole number of containers, 0 to {MOST_WARM}")


_REFERENCE = re.compile(
    r"(?:[A-Za-z0-9.\-]+(?::[0-9]+)?/|\[[0-9a-fA-F:]+\](?::[0-9]+)?/)?"  # a registry
    r"[a-z0-9]+(?:[._/-]+[a-z0-9]+)*(?::\w[\w.-]{0,127})?(?:@[A-Za-z0-9+._-]+:[0-9a-fA-F]{32,})?"
)


def check_image(option: str, name: str | None) -> None:
    """Refuse what is no name of an image, before an engine is asked for it.

    Raises:
        ValueError: It is none.
    """
    if name is not None and (len(name) > 1000 or not _REFERENCE.fullmatch(name)):
        raise ValueError(
            f"{option}={name!r:.100}: give the name of an image, such as 'python:3.12-slim' or "
            "'registry.example.org/team/image:tag'; the part before the colon is in lower case"
        )


def refuse_beside(image: str | None, building: Mapping[str, str | None]) -> None:
    """Refuse options of an image that is to be built, where one is named that is taken as it is.

    Raises:
        ValueError: There are some.
    """
    given = [f"{name}=" for name, value in building.items() if value is not None]
    if image is not None and given:
        raise ValueError(
            f"image={image!r} is taken as it is, and {' and '.join(given)} says how to build one: leave one of them out"
        )


def refuse_unsafe(options: Mapping[str, Any]) -> None:
    """Refuse options that would open a container to its host or the network.

    Raises:
        ValueError: There are some; the message names them.
    """
    bad = [
        cut(f"{name}={value!r}", 80)
        for name, value in options.items()
        if name not in HARMLESS and (name not in _CHECKED or _CHECKED[name](value))
    ]
    if bad:
        raise ValueError(
            f"container_run_kwargs: {', '.join(bad)} would open the sandbox to its host or to the network. Leave it "
            "out (files: workspace=, hosts: allow_hosts=, devices: gpus=), or pass allow_unsafe_options=True if that "
            "is what you want"
        )


def tmpfs(size: int | None, files: int | None) -> str:
    """Options of a folder in memory that anybody may write to, for so many bytes and files; None for no limit."""
    parts = ["rw,noexec,nosuid,nodev,mode=1777"]
    parts += [f"size={size}"] if size is not None else []
    parts += [f"nr_inodes={files}"] if files is not None else []
    return ",".join(parts)


def hardened(
    limits: SandboxLimits, cpus: float | None, user: str, owner: tuple[str, str], *, count_files: bool
) -> dict[str, Any]:
    """Options of `docker run`, by the SDK's names, of a container that can do nothing but compute.

    Args:
        limits: What programs are held to.
        cpus: Processors that it may use; None for all.
        user: User and group of programs.
        owner: Name and value of the label that says whose it is.
        count_files: The engine can limit the number of files in a folder in memory.
    """
    writable = limits.disk or 0
    options: dict[str, Any] = {
        "network_mode": "none",
        "read_only": True,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
        "ipc_mode": "private",
        "shm_size": 65536,
        "user": user,
        "hostname": "sandbox",
        "init": False,
        "auto_remove": True,
        "stdin_open": True,
        "tmpfs": {SCRATCH: tmpfs(limits.disk, MOST_FILES if count_files else None)},
        "labels": dict([owner]),
        "environment": {
            "HOME": SCRATCH,
            "LANG": "C.UTF-8",
            "PYTHONDONTWRITEBYTECODE": "1",
            **{f"{library}_NUM_THREADS": "1" for library in ("OPENBLAS", "OMP", "MKL", "NUMEXPR")},
        },
    }
    if limits.memory is not None:
        options["mem_limit"] = options["memswap_limit"] = limits.memory + writable + OVERHEAD
    if limits.processes is not None:
        options["pids_limit"] = min(limits.processes + 1, MOST_PIDS)  # one is the keeper
    if cpus is not None:
        options["nano_cpus"] = int(cpus * 1e9)
    return options


def add_workspace(options: dict[str, Any], workspace: Mapping[str, Any], *, count_files: bool) -> None:
    """Give a container a place for the copy of a workspace, unless the folder itself is mounted.

    Args:
        options: Of the container; changed.
        workspace: What the guest is told: `folder`, `mounted`, `room`, `files`.
        count_files: As for `hardened`.
    """
    if workspace["mounted"]:
        return
    room: int = workspace["room"]
    files = 4 * int(workspace["files"]) if count_files else None
    options["tmpfs"][workspace["folder"]] = tmpfs(room, files)
    if "mem_limit" in options:
        options["mem_limit"] += room
        options["memswap_limit"] += room


FEWER_PROCESSES = (32_768, 8_192, 2_048, 512)
"""How many processes a user may have, for engines that cannot raise that. A container's own limit is another."""

PROCESSES_REFUSED = "rlimit type 6"
"""In what an engine says when it cannot set this limit: the number of RLIMIT_NPROC."""


def ulimits(local: bool) -> dict[str, int]:
    """Limits of each process, and their values.

    Args:
        local: The engine runs on this machine. It may be of this user, and can give no more than this process has.
    """
    files, processes = 1024, 0
    if local and sys.platform == "linux":
        import resource

        most = int(Path("/proc/sys/kernel/pid_max").read_text())
        for kind, value in ((resource.RLIMIT_NOFILE, files), (resource.RLIMIT_NPROC, most)):
            hard = resource.getrlimit(kind)[1]
            bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
            files, processes = (bound, processes) if kind == resource.RLIMIT_NOFILE else (files, bound)
    return {"core": 0, "nofile": files, **({"nproc": processes} if processes else {})}


def gpu_requests(gpus: Any) -> list[dict[str, Any]]:
    """What the engine is asked for: `"all"`, a number of GPUs, or a list of their ids.

    Raises:
        ValueError: It is none of these.
    """
    request: dict[str, Any] = {"Driver": "", "Capabilities": [["gpu"]], "Options": {}, "Count": 0, "DeviceIDs": []}
    if gpus == "all":
        request["Count"] = -1
    elif isinstance(gpus, int) and not isinstance(gpus, bool) and gpus > 0:
        request["Count"] = gpus
    elif isinstance(gpus, list | tuple) and gpus:
        request["DeviceIDs"] = [str(name) for name in gpus]  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    else:
        raise ValueError(f"gpus={gpus!r}: give 'all', a number, or a list of ids")
    return [request]
