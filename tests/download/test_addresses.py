"""Addresses are inside however they are written."""

import pytest

from worker.download.addresses import is_inside, leads_inside

INSIDE = [
    "127.0.0.1", "127.9.9.9", "::1", "0.0.0.0", "::", "169.254.169.254", "169.254.0.1", "fe80::1", "fe80::1%eth0",
    "::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1", "2002:7f00:1::", "fd00:ec2::254",
    "100.100.100.200", "168.63.129.16",
]  # fmt: skip


@pytest.mark.parametrize("address", INSIDE)
def test_inside(address: str) -> None:
    assert is_inside(address)
    assert leads_inside(address)


@pytest.mark.parametrize("address", ["10.0.0.1", "192.168.1.1", "172.16.0.1", "8.8.8.8", "fd12::1", "2001:db8::1"])
def test_elsewhere(address: str) -> None:
    assert not is_inside(address)
    assert not leads_inside(address)


def test_names_are_resolved() -> None:
    assert leads_inside("localhost")
    assert leads_inside("LOCALHOST.")
    assert leads_inside("127.1")  # as inet_aton and every client read it
    assert not leads_inside("hub.invalid")
    assert not is_inside("hub.invalid")
