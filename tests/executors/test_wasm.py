"""The executor over Pyodide in Deno: what is particular to it, beside the contract and the attacks on all executors."""

from __future__ import annotations

import inspect
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.attacks.host import Host, descendants
from tests.executors.contract.kit import EXECUTORS
from tests.executors.driving import WAITER, Driver
from tests.waiting import eventually

from actloop.agents.code import CodeAgent
from actloop.errors import InterpreterError, MissingExtraError, SandboxUnavailableError
from actloop.executors.fallback import FallbackExecutor
from actloop.executors.session import Call, SandboxLimits
from actloop.executors.unsafe import UnsafeInProcessExecutor
from actloop.executors.waiting import run_now
from actloop.executors.wasm import WasmExecutor, assets, image
from actloop.executors.wasm.process import DenoProcess, Plan
from actloop.models.scripted import ScriptedModel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from actloop.executors.session import Session

HERE = Path(__file__).parent


@pytest.fixture(autouse=True, scope="module")
def ready() -> None:
    """Pyodide, fetched on first use."""
    if reason := EXECUTORS["wasm"].why_not():
        pytest.skip(reason)


@pytest.fixture
def open_driver() -> Iterator[Callable[..., Driver]]:
    sessions: list[Session] = []

    def open_driver(options: dict[str, Any] | None = None, /, **tools: Any) -> Driver:
        session = run_now(WasmExecutor(**(options or {})).open_session(WAITER))
        sessions.append(session)
        return Driver(session, **tools)

    yield open_driver
    for session in sessions:
        session.close()


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache in which nothing but Pyodide is."""
    pyodide = assets.pyodide_folder()
    monkeypatch.setenv("ACTLOOP_CACHE", str(tmp_path))
    shutil.copytree(pyodide, assets.pyodide_folder())
    return tmp_path / "wasm"


def add(a: int, b: int) -> int:
    return a + b


def twice(n: int) -> int:
    return 2 * n


def echo(value: Any) -> Any:
    return value


def failure_of(driver: Driver, code: str) -> tuple[str, str]:
    failure = driver.run(code).failure
    assert failure is not None
    return failure.kind, failure.message


# ---- as in the reference


def test_it_is_made_as_in_the_reference() -> None:
    parameters = list(inspect.signature(WasmExecutor).parameters.values())[:5]
    assert [item.name for item in parameters] == [
        *("additional_imports", "logger", "deno_path", "deno_permissions", "timeout")
    ]
    assert [item.default for item in parameters[2:]] == ["deno", None, 60]
    assert WasmExecutor([], None).limits.wall == 60
    assert WasmExecutor([], None, timeout=5).timeout == 5
    assert WasmExecutor([], None, limits=SandboxLimits(wall=7)).timeout == 7


def test_it_is_called_as_in_the_reference() -> None:
    executor = WasmExecutor(["os"], None)
    executor.send_tools({"add": add, "final_answer": echo})
    executor.send_variables({"x": 5})
    assert executor.run_code_raise_errors("import os\nprint(os.sep)\nadd(x, b=2)").output == 7
    ended = executor("final_answer(x)\nx = 0")
    assert (ended.output, ended.is_final_answer) == (5, True)
    assert executor.install_packages(["json"]) == []
    executor.cleanup()
    executor.delete()


def test_an_agent_uses_it_by_name_and_is_told_of_its_limits() -> None:
    model = ScriptedModel(["<code>\nimport sys\nfinal_answer(sys.platform)\n</code>"])
    with CodeAgent([], model, executor_type="wasm", verbosity_level=0, journal=None) as agent:
        assert agent.run("go") == "emscripten"
        assert "no threads" in str(model.requests[0])


def test_permissions_are_refused_with_what_to_do_instead() -> None:
    with pytest.raises(ValueError, match="Give them a tool"):
        WasmExecutor([], None, deno_permissions=["allow-net"])
    with pytest.raises(ValueError, match="allow_hosts"):
        WasmExecutor([], None, allow_hosts=["api.example.org:443"])


# ---- without threads


def test_asyncio_waits_for_tools_and_time_together(open_driver: Callable[..., Driver]) -> None:
    driver = open_driver(None, a_twice=twice)
    code = (
        "import asyncio\nasync def late(n):\n    await asyncio.sleep(0.05)\n    return await a_twice(n)\n"
        "first = await asyncio.gather(late(1), a_twice(2), asyncio.sleep(0.1, 'slept'))\n"
        "async def main():\n    async with asyncio.TaskGroup() as group:\n"
        "        tasks = [group.create_task(late(n)) for n in range(3)]\n    return [task.result() for task in tasks]\n"
        "first, asyncio.run(main()), a_twice(4)"
    )
    assert driver.value(code) == ([2, 4, "slept"], [0, 2, 4], 8)
    assert driver.value("await asyncio.wait_for(a_twice(3), 5)") == 6
    assert failure_of(driver, "await asyncio.wait_for(asyncio.sleep(9), 0.05)")[0] == "TimeoutError"


def test_threads_fail_with_the_platforms_reason(open_driver: Callable[..., Driver]) -> None:
    driver = open_driver()
    assert failure_of(driver, "import threading\nthreading.Thread(target=print).start()")[0] == "RuntimeError"
    kind, message = failure_of(driver, "import asyncio\nawait asyncio.to_thread(print)")
    assert (kind, "thread" in message) == ("RuntimeError", True)
    assert driver.value("1 + 1") == 2


def test_sleep_takes_no_processor_time_and_can_be_interrupted(open_driver: Callable[..., Driver]) -> None:
    driver = open_driver({"limits": SandboxLimits(wall=30, cpu=1.0)})
    assert driver.value("import time\nbefore = time.time()\ntime.sleep(2)\ntime.time() - before >= 2") is True
    assert failure_of(driver, "time.sleep(-1)")[0] == "ValueError"
    run_now(driver.session.start("time.sleep(25)", WAITER))
    time.sleep(0.3)
    driver.session.interrupt()
    failure = driver.finish().failure
    assert failure is not None
    assert (failure.kind, failure.lost) == ("KeyboardInterrupt", False)


def test_a_program_that_waits_for_a_tool_can_be_interrupted(open_driver: Callable[..., Driver]) -> None:
    driver = open_driver(None, ask=list)
    run_now(driver.session.start("try:\n    ask()\nfinally:\n    x = 1", WAITER))
    assert isinstance(run_now(driver.session.receive(WAITER)), Call)
    driver.session.interrupt()
    failure = driver.finish().failure
    assert failure is not None
    assert failure.kind == "KeyboardInterrupt"
    assert driver.value("x") == 1


def test_a_program_that_hears_nothing_is_killed(open_driver: Callable[..., Driver]) -> None:
    driver = open_driver({"limits": SandboxLimits(wall=1.0)})
    kind, _ = failure_of(driver, "sum(range(10 ** 13))")
    assert (kind, driver.session.alive) == ("TimeoutError", False)


# ---- limits


def test_memory_is_bounded_and_the_session_goes_on(open_driver: Callable[..., Driver]) -> None:
    driver = open_driver({"limits": SandboxLimits(memory=64 << 20)})
    assert driver.value("len(bytearray(40 << 20))") == 40 << 20
    assert failure_of(driver, "x = bytearray(120 << 20)")[0] == "MemoryError"
    assert failure_of(driver, "x = []\nwhile True:\n    x.append('x' * 100_000)")[0] == "MemoryError"
    assert driver.value("x = None\nlen(bytearray(40 << 20))") == 40 << 20


def test_files_take_no_more_than_their_limit_together(open_driver: Callable[..., Driver]) -> None:
    driver = open_driver({"limits": SandboxLimits(disk=4 << 20), "additional_imports": ["os"]})
    driver.value(
        "import os\ndef fill(name, size):\n    with open(name, 'wb') as file:\n        file.write(bytes(size))"
    )
    driver.value("fill('a', 3 << 20)")
    assert failure_of(driver, "fill('b', 2 << 20)") == ("OSError", "[Errno 51] No space left on device")
    assert failure_of(driver, "os.truncate('a', 1 << 30)")[0] == "OSError"
    assert failure_of(driver, "with open('c', 'wb') as f:\n    f.seek(1 << 29)\n    f.write(b'x')")[0] == "OSError"
    assert driver.value("os.remove('a')\nfor n in range(50):\n    fill('d', 3 << 20)\nos.path.getsize('d')") == 3 << 20
    code = "f = open('d', 'rb')\nos.remove('d')\nfill('e', 2 << 20)"
    assert failure_of(driver, code)[0] == "OSError"
    assert driver.value("f.close()\nfill('e', 2 << 20)\nopen('e', 'ab').write(b'x' * 1000)") == 1000


def test_open_files_are_limited(open_driver: Callable[..., Driver]) -> None:
    driver = open_driver({"limits": SandboxLimits(files=20)})
    kind, message = failure_of(driver, "files = [open(f'f{n}', 'w') for n in range(100)]")
    assert (kind, "descriptors" in message) == ("OSError", True)
    assert driver.value("files = None\n1 + 1") == 2


def test_large_values_cross_in_both_directions(open_driver: Callable[..., Driver]) -> None:
    driver = open_driver(None, echo=echo)
    driver.define(data=b"0123456789" * 1_000_000)
    assert driver.value("echo(data) == data, len(data)") == (True, 10_000_000)
    assert len(driver.value("data + data")) == 20_000_000


def test_limits_that_nothing_enforces_are_not_promised() -> None:
    promised = {"wall", "cpu", "memory", "output", "files", "processes", "disk", "value"}
    assert WasmExecutor.enforced == promised if sys.platform == "linux" else promised - {"cpu"}


# ---- what programs find


def test_sessions_draw_different_random_numbers_and_know_time_zones(open_driver: Callable[..., Driver]) -> None:
    code = (
        "import random, uuid\nfrom zoneinfo import ZoneInfo\nfrom datetime import datetime\n"
        "moment = datetime(2026, 7, 1, tzinfo=ZoneInfo('America/New_York'))\n"
        "random.random(), str(uuid.uuid4()), str(moment.utcoffset())"
    )
    one, other = open_driver().value(code), open_driver().value(code)
    assert one[0] != other[0]
    assert one[1] != other[1]
    assert one[2] == other[2] == "-1 day, 20:00:00"


def wheel(folder: Path, name: str, files: dict[str, str], requires: str = "") -> Path:
    path = folder / f"{name}-1.0-py3-none-any.whl"
    info = f"{name}-1.0.dist-info"
    needs = f"Requires-Dist: {requires}\n" if requires else ""
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in files.items():
            archive.writestr(file, text)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{needs}")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return path


def test_packages_come_from_wheels(open_driver: Callable[..., Driver], tmp_path: Path) -> None:
    path = wheel(
        tmp_path, "lentil", {"lentil/__init__.py": "from lentil.soup import hot\n", "lentil/soup.py": "hot = 60"}
    )
    driver = open_driver({"additional_imports": [str(path)]})
    assert driver.value("import lentil.soup\nlentil.hot") == 60
    assert failure_of(open_driver(), "import lentil")[0] == "ImportError"


def test_packages_come_with_what_they_need_from_pip(
    open_driver: Callable[..., Driver], own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = tmp_path / "index"
    index.mkdir()
    wheel(index, "lentil", {"lentil.py": "import onion\nhot = onion.hot"}, requires="onion")
    wheel(index, "onion", {"onion.py": "hot = 61"})
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    driver = open_driver({"additional_imports": ["lentil"]})
    assert driver.value("import lentil\nlentil.hot") == 61
    assert failure_of(driver, "import onion")[0] == "ImportError"
    shutil.rmtree(index)
    assert open_driver({"additional_imports": ["lentil"]}).value("import lentil\nlentil.hot") == 61
    with pytest.raises(SandboxUnavailableError, match="turnip cannot be had for Pyodide"):
        open_driver({"additional_imports": ["turnip"]})
    with pytest.raises(InterpreterError, match="There is no wheel"):
        WasmExecutor([str(tmp_path / "no.whl")])
    assert WasmExecutor(["json", "os.path", "PIL", "attrs>=25"]).installed_packages == ["pillow", "attrs>=25"]


def test_an_executor_whose_packages_cannot_be_had_is_passed_over(
    own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert own_cache
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    executor = FallbackExecutor([WasmExecutor(["turnip"]), UnsafeInProcessExecutor([])])
    try:
        executor.send_tools({})
        assert executor("6 * 7").output == 42
        assert "turnip cannot be had for Pyodide" in executor.passed_over["WasmExecutor"]
    finally:
        executor.cleanup()


# ---- what it starts from


def test_a_damaged_image_is_made_anew(open_driver: Callable[..., Driver], own_cache: Path) -> None:
    assert open_driver().value("1") == 1
    path = next(own_cache.glob("image-*.bin"))
    whole = path.stat().st_size
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    assert open_driver().value("2") == 2
    path.write_bytes(b"")
    assert open_driver().value("3") == 3
    assert path.stat().st_size == whole


def test_it_starts_without_an_image_where_none_can_be_kept(
    open_driver: Callable[..., Driver], own_cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (own_cache / f"image-{image.version()}.bin").mkdir()
    assert open_driver().value("6 * 7") == 42
    assert "no memory image" in caplog.text


def test_pyodide_that_cannot_be_fetched_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACTLOOP_CACHE", str(tmp_path))
    monkeypatch.setenv("NPM_CONFIG_REGISTRY", "http://127.0.0.1:9/")
    assert WasmExecutor.why_unavailable() == ""  # since the first session fetches it
    assert "python -m actloop.executors.wasm" in WasmExecutor.to_fetch()
    with pytest.raises(SandboxUnavailableError, match=r"could not be fetched .*NPM_CONFIG_REGISTRY"):
        run_now(WasmExecutor().open_session(WAITER))
    assert not assets.has_pyodide()


def test_files_of_pyodide_that_were_changed_are_not_run(own_cache: Path) -> None:
    file = assets.pyodide_folder() / "pyodide.asm.mjs"
    file.write_text(file.read_text() + "\n")
    with pytest.raises(SandboxUnavailableError, match=r"delete .* and it is fetched anew"):
        run_now(WasmExecutor().open_session(WAITER))


def test_a_deno_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(SandboxUnavailableError, match="there is no such program"):
        run_now(WasmExecutor(deno_path=str(tmp_path / "deno")).open_session(WAITER))
    with pytest.raises(SandboxUnavailableError, match="did not start in Deno"):
        run_now(WasmExecutor(deno_path="/bin/false").open_session(WAITER))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "deno", None)
    assert "actloop[wasm]" in WasmExecutor.why_unavailable()
    with pytest.raises(MissingExtraError):
        assets.find_deno()


def test_a_spare_process_serves_the_next_session() -> None:
    executor = WasmExecutor(spare=True)
    sessions = [run_now(executor.open_session(WAITER)) for _ in range(3)]
    assert [Driver(session).value("1 + 1") for session in sessions] == [2, 2, 2]
    for session in sessions:
        session.close()
    executor.cleanup()
    executor.cleanup()


def test_an_end_waits_for_no_spare_process() -> None:
    go = threading.Event()

    class Slow(WasmExecutor):
        def _start(self, config: dict[str, Any]) -> DenoProcess:
            if threading.current_thread().name == "actloop-spare":
                go.wait()
            return super()._start(config)

    for thread in threading.enumerate():
        if thread.name == "actloop-spare":  # of another test
            thread.join()
    before = descendants(os.getpid())
    executor = Slow(spare=True)
    try:
        assert executor("1 + 1").output == 2
        [maker] = [thread for thread in threading.enumerate() if thread.name == "actloop-spare"]
        executor.cleanup()
        assert (maker.daemon, maker.is_alive()) == (True, True)
    finally:
        go.set()
    maker.join()
    assert descendants(os.getpid()) == before


# ---- the boundary


class Hostile(Plan):
    """Runs JavaScript of the test's instead of Pyodide."""

    def files(self) -> dict[str, Path]:
        return {**super().files(), "worker": HERE / "hostile_worker.mjs"}


def test_javascript_with_all_of_deno_at_hand_reaches_nothing() -> None:
    with Host() as host:
        pyodide = assets.pyodide_folder()
        hostile = Hostile(assets.find_deno(), pyodide, None, image.guest_file())
        known = {**host.variables(None), "pyodide": str(pyodide / "pyodide.mjs")}
        del known["NR"]
        with pytest.raises(SandboxUnavailableError, match=r"worked=\[\] refused=\d\d") as caught:
            DenoProcess(hostile, known, SandboxLimits())
        assert host.harm([str(caught.value)]) == []


@pytest.mark.skipif(sys.platform != "linux", reason="the second wall is made of what Linux has")
def test_a_second_wall_stands_by_itself() -> None:
    """As if a program had broken out of V8: another program than Deno, confined as Deno is."""
    program = (
        "import os, socket, subprocess, sys\nfolder, canary, tcp, abstract = sys.argv[1:]\n"
        "def attempt(name, action):\n    try:\n        print(name, action())\n    except OSError:\n        pass\n"
        "attempt('read', lambda: open(canary).read())\nattempt('write', lambda: open(canary, 'a').write('!'))\n"
        "attempt('list', lambda: os.listdir(folder))\nattempt('make', lambda: os.mkdir(folder + '/x'))\n"
        "attempt('start', lambda: subprocess.run(['/usr/bin/id']))\n"
        "attempt('connect', lambda: socket.create_connection(('127.0.0.1', int(tcp))))\n"
        "def other():\n    link = socket.socket(socket.AF_UNIX)\n    link.connect(chr(0) + abstract)\n    return True\n"
        "attempt('abstract', other)\nprint('done')"
    )
    with Host() as host:
        known = host.variables(None)
        mine = [folder for folder in (sys.base_prefix, sys.prefix) if Path(folder).is_dir()]
        told = json.dumps({"read": mine, "write": []})
        launch = Path(inspect.getfile(DenoProcess)).with_name("launch.py")
        interpreter = os.path.realpath(sys.executable)
        arguments = [str(known[name]) for name in ("folder", "canary", "tcp", "abstract")]
        command = [sys.executable, "-I", "-S", str(launch), told, interpreter, "-I", "-c", program, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.stdout, done.stderr) == ("done\n", "")
        assert host.harm([done.stdout]) == []


def test_programs_find_no_way_to_javascript(open_driver: Callable[..., Driver]) -> None:
    driver = open_driver({"additional_imports": ["*"]})
    for module in ("js", "pyodide_js", "pyodide", "pyodide.code", "pyodide.ffi", "_pyodide", "_pyodide_core"):
        assert failure_of(driver, f"import {module}")[0] in ("ImportError", "ModuleNotFoundError"), module
    dig = "import sys\nsys.modules.pop('_pyodide_core', None)\nimport _pyodide_core\nfound = _pyodide_core.to_js([1])\n"
    driver.value(f"{dig}make = found.constructor.constructor")
    assert "Code generation from strings disallowed" in failure_of(driver, "make('return globalThis')()")[1]
    assert driver.value("found.constructor.name, make.name") == ("Array", "Function")
    known = {"HOME", "LANG", "LD_LIBRARY_PATH", "LOGNAME", "PATH", "PWD", "PYTHONINSPECT", "TZ", "USER", "_"}
    assert set(driver.value("import os\nsorted(os.environ)")) <= known
    assert driver.value("os.environ['PATH'], os.environ['USER'], os.environ['PWD']") == ("/", "web_user", "/")
    assert set(driver.value("os.listdir('/')")) <= {"dev", "home", "lib", "packages", "proc", "tmp", "workspace"}


def test_nothing_is_left_of_a_paused_guest_when_its_host_is_killed() -> None:
    program = (
        "import time\nfrom actloop.executors.wasm import WasmExecutor\nexecutor = WasmExecutor()\nexecutor('1')\n"
        "from tests.attacks.host import descendants\nimport os\nprint(*descendants(os.getpid()), flush=True)\n"
        "time.sleep(100)"
    )
    host = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, start_new_session=True, cwd=HERE.parents[1]
    )
    with host:
        assert host.stdout is not None
        guest = int(host.stdout.readline())
        assert eventually(lambda: "T (stopped)" in Path(f"/proc/{guest}/status").read_text())
        host.send_signal(signal.SIGKILL)
        host.wait()
        assert eventually(lambda: not os.path.exists(f"/proc/{guest}"))
