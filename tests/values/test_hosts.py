import pytest

from actloop.values.hosts import split_host


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("LocalHost:8000", ("localhost", 8000)),
        ("127.0.0.1", ("127.0.0.1", None)),
        ("[::1]:80", ("::1", 80)),
        ("", ("", None)),
        ("evil@localhost:80", ("", None)),
        ("localhost/evil", ("", None)),
        ("localhost:80.evil", ("", None)),
        ("local host", ("", None)),
        ("::1", ("", None)),
    ],
)
def test_the_name_and_the_port_of_a_host_header(header: str, found: tuple[str, int | None]) -> None:
    assert split_host(header) == found
