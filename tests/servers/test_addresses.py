from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ginkgo.core.errors import ConfigError
from ginkgo.servers.addresses import Address, AddressError


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (("0.0.0.0", 7000), Address("0.0.0.0", 7000)),
        (["localhost", 7000], Address("localhost", 7000)),
        (("", 7000), Address("", 7000)),
        ((None, 7000), Address("", 7000)),
        (("localhost", "7000"), Address("localhost", 7000)),
        (("::1", 7000, 0, 0), Address("::1", 7000)),
        ("127.0.0.1:7000", Address("127.0.0.1", 7000)),
        ("example.org:80", Address("example.org", 80)),
        ("my_host-1.local:80", Address("my_host-1.local", 80)),
        (":7000", Address("", 7000)),
        ("*:7000", Address("", 7000)),
        ("7000", Address("", 7000)),
        (7000, Address("", 7000)),
        (0, Address("", 0)),
        ("[::1]:7000", Address("::1", 7000)),
        ("[::]:0", Address("::", 0)),
        ("[fe80::1%eth0]:7000", Address("fe80::1%eth0", 7000)),
        ("unix:/run/app.sock", Address(path="/run/app.sock")),
        ("unix:app.sock", Address(path="app.sock")),
        (Address("a", 1), Address("a", 1)),
    ],
)
def test_what_can_be_written_for_an_address(written: Any, meant: Address):
    assert Address.parse(written) == meant


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("localhost", "no port"),
        ("", "no port"),
        ("::1:7000", "more than one colon"),
        ("tcp://localhost:7000", "more than one colon"),
        ("//localhost:80", "no host"),
        ("[localhost]:80", "brackets are for IPv6"),
        ("localhost:http", "number from 0 to 65535"),
        ("localhost:65536", "number from 0 to 65535"),
        ("localhost:-1", "number from 0 to 65535"),
        ("localhost:", "number from 0 to 65535"),
        ("localhost:99999999999999999999999", "number from 0 to 65535"),
        ("local host:80", "no host"),
        ("localhost\n:80", "no host"),
        (65536, "number from 0 to 65535"),
        (-1, "number from 0 to 65535"),
        (True, "not an address"),
        (None, "not an address"),
        (7000.0, "not an address"),
        (("localhost",), "not an address"),
        ((80, "localhost"), "not an address"),
        (("localhost", True), "number from 0 to 65535"),
        ("unix:", "no path"),
        ("unix:/a\0b", "no path"),
        ("unix:/" + "x" * 107, "at most 107 bytes, this one has 108"),
    ],
)
def test_what_is_no_address_is_refused_with_the_reason(written: Any, why: str):
    with pytest.raises(AddressError, match=why) as raised:
        Address.parse(written)
    assert raised.value.hint
    assert isinstance(raised.value, ConfigError) and isinstance(raised.value, ValueError)


@pytest.mark.parametrize(
    ("address", "printed"),
    [
        (Address("127.0.0.1", 80), "127.0.0.1:80"),
        (Address("", 80), "*:80"),
        (Address("::1", 80), "[::1]:80"),
        (Address(path="/run/a"), "unix:/run/a"),
    ],
)
def test_an_address_is_printed_as_it_is_written(address: Address, printed: str):
    assert str(address) == printed
    assert Address.parse(printed) == address


hosts = st.one_of(
    st.just(""),
    st.ip_addresses().map(str),
    st.from_regex(r"[a-z][a-z0-9-]{0,10}(\.[a-z]{2,5})?", fullmatch=True),
)


@given(hosts, st.integers(0, 65535))
def test_every_address_can_be_read_back(host: str, port: int):
    address = Address(host, port)
    assert Address.parse(str(address)) == address
    assert Address.parse((host, port)) == address


@given(st.one_of(st.text(), st.integers(), st.tuples(st.text(), st.text()), st.binary()))
def test_nonsense_never_raises_anything_else(nonsense: Any):
    try:
        assert isinstance(Address.parse(nonsense), Address)
    except AddressError:
        pass


@pytest.mark.parametrize(
    ("written", "loopback"),
    [
        ("127.0.0.1:1", True),
        ("127.9.9.9:1", True),
        ("[::1]:1", True),
        ("localhost:1", True),
        ("unix:/a", True),
        (":1", False),
        ("0.0.0.0:1", False),
        ("[::]:1", False),
        ("10.0.0.1:1", False),
        ("example.org:1", False),
    ],
)
def test_what_only_this_machine_can_reach(written: str, loopback: bool):
    assert Address.parse(written).is_loopback is loopback


@pytest.mark.parametrize(
    ("written", "target"),
    [
        (":7", "localhost:7"),
        ("0.0.0.0:7", "127.0.0.1:7"),
        ("[::]:7", "[::1]:7"),
        ("10.0.0.1:7", "10.0.0.1:7"),
        ("unix:/a", "unix:/a"),
    ],
)
def test_a_client_of_every_interface_connects_to_this_machine(written: str, target: str):
    assert str(Address.parse(written).for_connecting) == target


def test_the_kernels_addresses_become_ours():
    assert Address.of(("::1", 7, 0, 0)) == Address("::1", 7)
    assert Address.of("/run/a") == Address(path="/run/a")
    assert Address.of(b"/run/a") == Address(path="/run/a")
