"""Executors outside this machine's kernel.

The names of smolagents' module `remote_executors`, for programs that import from there; `actloop` has them all.
"""

from actloop import (
    BlaxelExecutor as BlaxelExecutor,
    DockerExecutor as DockerExecutor,
    E2BExecutor as E2BExecutor,
    LocalDockerExecutor as LocalDockerExecutor,
    ModalExecutor as ModalExecutor,
    RemotePythonExecutor as RemotePythonExecutor,
    WasmExecutor as WasmExecutor,
)
