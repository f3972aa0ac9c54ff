from __future__ import annotations

import subprocess
import sys
import threading
from textwrap import dedent
from typing import Any

import pytest

from ginkgo.config import Setting, Settings

PAIR = "class pair:\n    a = {0}\n    b = {0}\n"
READS = 1_000_000
RELOADS = 100


class Pair:
    a = Setting("pair.a", default=0)
    b = Setting("pair.b", default=0)


@pytest.mark.fault(111)
def test_a_pair_is_never_torn_while_it_is_reloaded(config: Settings, write: Any) -> None:
    config.load_file(write(PAIR.format(0)))
    torn: list[object] = []
    reads = 0
    over = threading.Event()

    def read() -> None:
        nonlocal reads
        last = 0
        while not over.is_set() or reads < READS:
            for _ in range(1000):
                now = config.snapshot
                a, b = now.entry(A).value, now.entry(B).value
                if a != b or a < last:
                    torn.append((a, b, last))
                last = a
            reads += 1000

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for number in range(1, RELOADS + 1):
            write(PAIR.format(number))
            config.reload()
    finally:
        over.set()
        reader.join()
    assert torn == []
    assert reads >= READS
    assert (Pair.a, Pair.b) == (RELOADS, RELOADS)


# The settings themselves, however the classes read them meanwhile.
A, B = vars(Pair)["a"], vars(Pair)["b"]


@pytest.mark.fault(111)
def test_a_group_reads_all_its_values_from_one_configuration(config: Settings, write: Any) -> None:
    config.load_file(write(PAIR.format(0)))
    group = config.group("pair")
    assert group is not None
    torn: list[object] = []
    over = threading.Event()

    def read() -> None:
        while not over.is_set():
            seen = [dict(group.items()), dict(zip("ab", group.values(), strict=True))]
            frozen = config.snapshot.group("pair")
            assert frozen is not None
            seen.append({"a": frozen.a, "b": frozen["b"]})
            torn.extend(each for each in seen if each["a"] != each["b"])

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    try:
        for number in range(1, RELOADS + 1):
            write(PAIR.format(number))
            config.reload()
    finally:
        over.set()
        for reader in readers:
            reader.join()
    assert torn == []


def test_attributes_never_fall_back_to_an_older_value(config: Settings) -> None:
    """What stands in the class is never older than what was read before."""
    steps: list[tuple[int, int]] = []
    over = threading.Event()

    def read() -> None:
        pair = Pair()
        last = 0
        while not over.is_set():
            now = pair.a
            if now < last:
                steps.append((last, now))
            last = now

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    try:
        for number in range(2000):
            config.set("pair.a", number)
            assert Pair.a == number
    finally:
        over.set()
        for reader in readers:
            reader.join()
    assert steps == []


def test_greenlets_of_a_patched_process_see_no_mixture(write: Any) -> None:
    code = """
        from gevent import monkey
        monkey.patch_all()
        import gevent, sys
        from ginkgo.config import Setting, settings

        class Pair:
            a = Setting("pair.a", default=0)
            b = Setting("pair.b", default=0)

        torn, seen = [], set()
        def read():
            while True:
                both = (Pair.a, Pair.b)
                if both[0] != both[1]:
                    torn.append(both)
                seen.add(both[0])
                gevent.sleep(0)

        settings.load_file(sys.argv[1])
        readers = [gevent.spawn(read) for _ in range(10)]
        for number in range(100):
            with open(sys.argv[1], "w") as file:
                file.write(f"import time\\nclass pair:\\n    a = {number}\\n")
                file.write(f"    time.sleep(0)\\n    b = {number}\\n")
            settings.reload()
            gevent.sleep(0)
        gevent.killall(readers)
        print(torn, len(seen))
        """
    path = write(PAIR.format(0))
    done = subprocess.run(
        [sys.executable, "-c", dedent(code), path], capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, done.stderr) == ("[] 100\n", "")


def test_a_snapshot_does_not_change(config: Settings) -> None:
    config.load({"foo": 1, "db.host": "a"})
    before = config.snapshot
    group = before.group("db")
    config.load({"foo": 2, "db.host": "b"})
    assert (before.get("foo"), before.origin("foo")) == (1, "load()")
    assert group is not None
    assert (group.host, config.snapshot.get("db.host")) == ("a", "b")


def test_each_configuration_has_a_number_of_its_own(config: Settings) -> None:
    numbers = [config.snapshot.number]
    for _ in range(3):
        config.set("foo", 1)
        numbers.append(config.snapshot.number)
    assert numbers == sorted(set(numbers))


def test_a_value_is_converted_once_and_stays_the_same_object(config: Settings) -> None:
    class Has:
        ports: list[int] = Setting("ports", default=[])

    config.load({"ports": (1, 2)})
    assert Has.ports == [1, 2]
    assert Has.ports is config.get("ports") is config.snapshot.get("ports")
