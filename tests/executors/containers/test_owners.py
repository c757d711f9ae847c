"""Which containers are leftovers: those of processes that surely are no more."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from actloop.executors.containers.engine import is_dead, owner

pytest.importorskip("docker")

_HIDDEN = """
import os
from actloop.executors.containers.engine import is_dead, owner
of_another = owner(1)
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
assert not os.path.exists("/proc/1/stat")
place, began = owner().rsplit("/", 2)[0], owner().rpartition("/")[2]
print(is_dead(of_another), is_dead(f"{place}/4194304/{began}"), is_dead(owner()))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux hides processes of other users")
def test_processes_that_are_hidden_are_not_taken_for_dead() -> None:
    mount = "mount -t proc -o hidepid=2 proc /proc"
    if os.getuid() or subprocess.run(["unshare", "-m", "sh", "-c", mount], capture_output=True).returncode:
        pytest.skip("this user cannot mount /proc anew")
    command = ["unshare", "-m", "sh", "-c", f'{mount} && exec "$0" -c "$1"', sys.executable, _HIDDEN]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "False True False\n"


def test_a_process_that_took_the_number_of_another() -> None:
    assert is_dead(owner() + "0")
    assert not is_dead(owner())


@pytest.mark.parametrize(
    "label", ["", "x", "/", "/1/", "{place}/{pid}/", "{place}/x/1", "{place}/" + "9" * 5000 + "/1"]
)
def test_labels_that_name_no_process_are_nobodys(label: str) -> None:
    place, pid, _ = owner().rsplit("/", 2)
    assert not is_dead(label.format(place=place, pid=pid))
