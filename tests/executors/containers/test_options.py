"""The options of a container: those that would open it are refused, and what is asked for is there."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from actloop.errors import SandboxUnavailableError
from actloop.executors.containers import options
from actloop.executors.containers.engine import Engine, owner
from actloop.executors.docker import DockerExecutor
from actloop.executors.session import SandboxLimits

from .kit import containers, needs_engine

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize(
    "bad",
    [
        {"privileged": True},
        {"network_mode": "host"},
        {"network_mode": "bridge"},
        {"network": "bridge"},
        {"cap_add": ["SYS_ADMIN"]},
        {"cap_drop": []},
        {"pid_mode": "host"},
        {"ipc_mode": "host"},
        {"uts_mode": "host"},
        {"userns_mode": "host"},
        {"cgroupns": "host"},
        {"devices": ["/dev/kvm"]},
        {"device_cgroup_rules": ["a *:* rwm"]},
        {"volumes": {"/": {"bind": "/host"}}},
        {"volumes": ["/var/run/docker.sock:/var/run/docker.sock"]},
        {"volumes_from": ["other"]},
        {"mounts": []},
        {"security_opt": ["seccomp=unconfined"]},
        {"security_opt": ["apparmor:unconfined"]},
        {"security_opt": ["label=disable"]},
        {"security_opt": "no-new-privileges:false"},
        {"security_opt": ["no-new-privileges:false"]},
        {"read_only": False},
        {"ports": {"8888/tcp": 8888}},
        {"publish_all_ports": True},
        {"extra_hosts": {"a": "1.2.3.4"}},
        {"sysctls": {"net.ipv4.ip_forward": "1"}},
        {"group_add": ["docker"]},
        {"cgroup_parent": "/"},
        {"oom_kill_disable": True},
        {"restart_policy": {"Name": "always"}},
        {"user": "root"},
        {"user": "0:0"},
        {"entrypoint": "sh"},
        {"command": "sh"},
        {"tmpfs": {"/tmp": "exec"}},
    ],
    ids=str,
)
def test_options_that_open_a_container_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"container_run_kwargs: {next(iter(bad))}=.*allow_unsafe_options"):
        DockerExecutor([], None, container_run_kwargs=bad)


@pytest.mark.parametrize("unsafe", [False, True])
def test_options_that_there_are_not_are_named(unsafe: bool) -> None:
    for bad, words in (("foo", "unknown option 'foo'"), ("mem_limits", "'mem_limits'; did you mean 'mem_limit'")):
        with pytest.raises(ValueError, match=f"container_run_kwargs: .*{words}"):
            DockerExecutor([], None, container_run_kwargs={bad: 1}, allow_unsafe_options=unsafe)


@pytest.mark.parametrize("bad", [{"cpus": "two"}, {"cpus": 0}, {"cpus": True}, {"warm": -1}, {"warm": "1"}], ids=str)
def test_numbers_that_are_none_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(bad))}="):
        DockerExecutor([], None, **bad)


@pytest.mark.parametrize("user", ["root", "0", "0:0", "", "00", "+0", "root:65532"])
def test_programs_are_never_root(user: str) -> None:
    with pytest.raises(ValueError, match=r"^user="):
        DockerExecutor([], None, user=user)


@needs_engine
def test_harmless_options_are_taken(make: Callable[..., DockerExecutor], engine: Engine) -> None:
    kwargs = {
        "environment": {"GREETING": "hello"},
        "labels": {"mine": "1"},
        "network_mode": "none",
        "hostname": "lab",
        "mem_limit": "700m",
        "memswap_limit": "700m",
        "detach": True,
        "remove": True,
    }
    executor = make(["*"], container_run_kwargs=kwargs, cpus=None)
    value = executor("import os; os.environ['GREETING'], os.environ['HOME'], os.uname().nodename").output
    assert value == ("hello", "/tmp", "lab")
    (name,) = containers(engine, owner())
    found = engine.api.inspect_container(name)
    assert found["Config"]["Labels"]["mine"] == "1"
    assert found["HostConfig"]["Memory"] == 700 << 20


@needs_engine
def test_a_user_may_insist_on_unsafe_options(make: Callable[..., DockerExecutor], tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "data").write_text("of the host")
    kwargs = {"volumes": {str(tmp_path): {"bind": "/data", "mode": "ro"}}}
    executor = make(["*"], container_run_kwargs=kwargs, allow_unsafe_options=True)
    assert executor("open('/data/data').read()").output == "of the host"


@pytest.mark.parametrize("option", ["base_image", "image_name", "dockerfile_content"])
def test_an_image_of_the_user_is_not_built(option: str) -> None:
    options: dict[str, Any] = {option: "other:2"}
    with pytest.raises(ValueError, match=rf"image='mine:1' is taken as it is, and {option}= says how to build one"):
        DockerExecutor(image="mine:1", **options)


@needs_engine
def test_as_many_processes_as_there_may_be(make: Callable[..., DockerExecutor]) -> None:
    assert make(["*"], limits=SandboxLimits(processes=1 << 22))("1 + 1").output == 2


def test_gpus_are_asked_for() -> None:
    assert options.gpu_requests("all")[0]["Count"] == -1
    assert options.gpu_requests(2)[0] == {
        "Driver": "", "Capabilities": [["gpu"]], "Options": {}, "Count": 2, "DeviceIDs": []
    }  # fmt: skip
    assert options.gpu_requests(["GPU-1"])[0]["DeviceIDs"] == ["GPU-1"]
    wrongs: list[Any] = [0, True, "some", []]
    for wrong in wrongs:
        with pytest.raises(ValueError, match="gpus="):
            options.gpu_requests(wrong)


@needs_engine
def test_gpus_are_in_the_request(make: Callable[..., DockerExecutor]) -> None:
    executor = make(gpus="all")
    config = executor._config({})  # pyright: ignore[reportPrivateUsage]
    assert config["HostConfig"]["DeviceRequests"][0]["Capabilities"] == [["gpu"]]


@needs_engine
def test_gpus_that_an_engine_does_not_have_are_refused(make: Callable[..., DockerExecutor]) -> None:
    if any(Path("/dev").glob("nvidia*")):
        pytest.skip("engine has no lack: this machine has GPUs")
    with pytest.raises(SandboxUnavailableError, match="none of the devices that gpus= asks for"):
        make(gpus="all")("1")


@needs_engine
def test_what_an_engine_cannot_limit_is_not_promised(
    make: Callable[..., DockerExecutor], engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(engine.info, "MemoryLimit", False)
    with pytest.raises(ValueError, match="cannot enforce memory"):
        make(limits=SandboxLimits(memory=1 << 30))
    assert make().limits.memory is None


@needs_engine
def test_containers_start_where_the_engine_cannot_raise_limits(
    make: Callable[..., DockerExecutor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "node", lambda: "another machine")
    executor = make()
    assert executor("6 * 7").output == 42
    executor.cleanup()
    assert executor("6 * 7").output == 42
