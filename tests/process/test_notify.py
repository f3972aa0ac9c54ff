"""What systemd is told: each word of sd_notify, and that nothing ever waits for it."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.systemd import FakeSystemd

from ginkgo.logs import hiding
from ginkgo.process.notify import Heartbeat, Notifier


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[FakeSystemd]:
    with FakeSystemd(tmp_path / "notify") as fake:
        yield fake


@pytest.fixture
def notifier(systemd: FakeSystemd) -> Iterator[Notifier]:
    made = Notifier(systemd.address)
    yield made
    made.close()


def test_the_variables_are_taken_out_of_the_environment() -> None:
    environ = {
        "NOTIFY_SOCKET": "/nowhere",
        "WATCHDOG_USEC": "3000000",
        "WATCHDOG_PID": "7",
        "HOME": "/",
    }
    notifier = Notifier.inherited(environ, 7)
    assert environ == {"HOME": "/"}
    assert notifier.listens
    assert notifier.watchdog == 3.0
    notifier.close()


@pytest.mark.parametrize("every", ["", "-1", "soon", "1" * 30, "٣"])
def test_a_watchdog_time_that_is_no_number_is_none(every: str) -> None:
    assert Notifier.inherited({"WATCHDOG_USEC": every}, 7).watchdog == 0.0


def test_the_watchdog_of_another_process_is_not_ours() -> None:
    environ = {"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "8"}
    assert Notifier.inherited(environ, 7).watchdog == 0.0


def test_ready_says_how_it_is(systemd: FakeSystemd, notifier: Notifier) -> None:
    notifier.ready("Ready: 3 services")
    assert systemd.hear() == {"READY": "1", "STATUS": "Ready: 3 services"}


def test_a_daemon_names_its_process(systemd: FakeSystemd, notifier: Notifier) -> None:
    notifier.ready("Ready", main_pid=4711)
    assert systemd.hear()["MAINPID"] == "4711"


def test_an_abstract_socket_hears_it() -> None:
    with FakeSystemd(f"@ginkgo-test-{os.getpid()}") as systemd:
        notifier = Notifier(systemd.address)
        notifier.ready("Ready")
        assert systemd.hear()["READY"] == "1"
        notifier.close()


def test_a_reload_has_the_time_of_the_monotonic_clock(
    systemd: FakeSystemd, notifier: Notifier
) -> None:
    notifier.ready("Ready")
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    notifier.reloading("Reloading")
    after = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    systemd.hear()
    message = systemd.hear()
    assert message["RELOADING"] == "1"
    assert before <= int(message["MONOTONIC_USEC"]) <= after


def test_nothing_is_reloaded_before_it_is_ready(systemd: FakeSystemd, notifier: Notifier) -> None:
    notifier.reloading("Reloading")
    assert systemd.says_nothing()


def test_stopping_is_the_last_word_about_the_state(
    systemd: FakeSystemd, notifier: Notifier
) -> None:
    notifier.ready("Ready")
    notifier.stopping("Stopping", 30.0)
    notifier.stopping("Stopping", 30.0)
    notifier.reloading("Reloading")
    notifier.ready("Ready")
    systemd.hear()
    assert systemd.hear() == {
        "STOPPING": "1",
        "EXTEND_TIMEOUT_USEC": "30000000",
        "STATUS": "Stopping",
    }
    assert systemd.says_nothing()


def test_a_status_is_one_line_however_long_it_is(systemd: FakeSystemd, notifier: Notifier) -> None:
    notifier.status("a\nREADY=1\x1b" + "b" * 1000)
    message = systemd.hear()
    assert list(message) == ["STATUS"]
    assert message["STATUS"].startswith("a\\nREADY=1\\x1bbbb")
    assert len(message["STATUS"]) < 400


@pytest.mark.fault(117)
def test_no_secret_gets_into_a_status(systemd: FakeSystemd, notifier: Notifier) -> None:
    hiding.learn(["canary"])
    try:
        notifier.status("Degraded: App/Db: no login with canary")
    finally:
        hiding.forget()
    assert systemd.hear() == {"STATUS": "Degraded: App/Db: no login with ****"}


@pytest.mark.fault(28)
@pytest.mark.parametrize("address", ["/nowhere/at/all", "@nobody", "vsock:2:1234", "relative", ""])
def test_nobody_who_listens_is_no_reason_to_fail(address: str) -> None:
    notifier = Notifier(address)
    notifier.ready("Ready")
    notifier.stopping("Stopping", 1.0)
    notifier.close()
    notifier.status("after the end")


@pytest.mark.fault(28)
def test_who_does_not_read_is_not_waited_for_and_hears_it_later(
    systemd: FakeSystemd, notifier: Notifier
) -> None:
    count = 0
    while not notifier._waiting:  # until the kernel's queue is full
        notifier.status(str(count))
        count += 1
        assert count < 100_000
    began = time.monotonic()
    notifier.ready("Ready")
    assert time.monotonic() - began < 1.0
    systemd.wait_for("READY", "1")
    told = [message["STATUS"] for message in systemd.heard]
    assert told == [*map(str, range(count)), "Ready"]


class Loop:
    """A loop that answers when the test lets it."""

    def __init__(self) -> None:
        self.asked = threading.Semaphore(0)
        self.calls: list[Callable[[], object]] = []

    def post(self, function: Callable[[], object]) -> None:
        self.calls.append(function)
        self.asked.release()


def test_the_watchdog_hears_of_a_loop_that_answers_and_of_no_other(systemd: FakeSystemd) -> None:
    notifier = Notifier(systemd.address, watchdog=0.1)
    loop = Loop()
    heart = Heartbeat(notifier, loop.post)
    heart.start()
    try:
        assert systemd.hear() == {"WATCHDOG": "1"}
        assert loop.asked.acquire(timeout=20)
        assert systemd.says_nothing()  # it was asked, and has not answered
        loop.calls.pop()()
        assert systemd.hear() == {"WATCHDOG": "1"}
        assert loop.asked.acquire(timeout=20)
        assert len(loop.calls) == 1  # never more than one question at a time
    finally:
        heart.close()
        notifier.close()


def test_a_loop_that_is_closed_ends_the_beat(systemd: FakeSystemd) -> None:
    notifier = Notifier(systemd.address, watchdog=0.02)

    def closed(function: Callable[[], object]) -> None:
        raise RuntimeError("Event loop is closed")

    heart = Heartbeat(notifier, closed)
    heart.start()
    assert heart._thread is not None
    assert heart._thread.join(20.0)
    heart.close()
    notifier.close()


def test_no_watchdog_takes_no_thread(notifier: Notifier) -> None:
    heart = Heartbeat(notifier, Loop().post)
    heart.start()
    assert heart._thread is None
    heart.close()


def test_the_socket_is_closed_over_exec(notifier: Notifier) -> None:
    assert isinstance(notifier._socket, socket.socket)
    assert not notifier._socket.get_inheritable()
