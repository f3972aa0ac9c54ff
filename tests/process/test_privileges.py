"""Giving up root: in the right order, completely, and provably."""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest
from tests.process.actors import NOBODY, Actor

from ginkgo.core.errors import ConfigError, NoSuchUser, PermissionDenied
from ginkgo.process.privileges import (
    DEFAULT_UMASK,
    Identity,
    apply_rundir,
    apply_umask,
    drop,
    find_identity,
)

SOMEBODY = Identity("somebody", 1234, 1234, (1234, 27))
UP, DOWN = 0, 1234


class Ended(Exception):
    """The process would have ended here."""


class Recorder:
    """A system that notes what it is asked for, and may be broken in one place."""

    def __init__(self, broken: str = "") -> None:
        self.calls: list[str] = []
        self.broken = broken
        self.dropped = False
        self.groups = [0, 4, 27]

    def _note(self, name: str, *args: Any) -> None:
        self.calls.append(f"{name}({', '.join(map(str, args))})")

    def _regain(self, name: str, *args: Any) -> None:
        self._note(name, *args)
        if self.dropped and name != self.broken:
            raise PermissionError(1, os.strerror(1))

    def initgroups(self, username: str, gid: int, /) -> None:
        self._note("initgroups", username, gid)
        if self.broken != "initgroups":
            self.groups = list(SOMEBODY.groups)

    def setgroups(self, groups: list[int], /) -> None:
        self._regain("setgroups", groups)
        self.groups = groups

    def setresgid(self, rgid: int, egid: int, sgid: int, /) -> None:
        self._note("setresgid", rgid, egid, sgid)

    def setresuid(self, ruid: int, euid: int, suid: int, /) -> None:
        self._regain("setresuid", ruid, euid, suid)
        self.dropped = True

    def setgid(self, gid: int, /) -> None:
        self._regain("setgid", gid)

    def setuid(self, uid: int, /) -> None:
        self._regain("setuid", uid)

    def seteuid(self, euid: int, /) -> None:
        self._regain("seteuid", euid)

    def getresgid(self) -> tuple[int, int, int]:
        return (DOWN, DOWN, UP if self.broken == "setresgid" else DOWN)

    def getresuid(self) -> tuple[int, int, int]:
        return (DOWN, DOWN, UP if self.broken == "saved uid" else DOWN)

    def getgroups(self) -> list[int]:
        return self.groups

    def _exit(self, status: int) -> NoReturn:
        self._note("_exit", status)
        raise Ended


@pytest.fixture(autouse=True)
def _no_prctl(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The recorder's process is ours: it keeps its own privileges."""
    calls: list[tuple[int, int]] = []
    monkeypatch.setattr(
        "ginkgo.process.privileges._load_prctl",
        lambda: lambda option, value: calls.append((option, value)),
    )
    return calls


# Whom to become


def test_nothing_is_set_and_nothing_changes() -> None:
    assert find_identity(None, None) is None


@pytest.mark.root
def test_a_user_comes_with_its_own_groups() -> None:
    entry = pwd.getpwnam("nobody")
    identity = find_identity("nobody", None)
    assert identity is not None
    assert (identity.user, identity.uid, identity.gid) == ("nobody", entry.pw_uid, entry.pw_gid)
    assert set(identity.groups) == set(os.getgrouplist("nobody", entry.pw_gid))


@pytest.mark.fault(19)
@pytest.mark.root
def test_users_and_groups_may_be_numbers() -> None:
    entry = pwd.getpwnam("nobody")
    assert find_identity(entry.pw_uid, None) == find_identity("nobody", None)
    assert find_identity(str(entry.pw_uid), None) == find_identity("nobody", None)
    group = grp.getgrnam("daemon")
    by_name = find_identity("nobody", "daemon")
    assert by_name == find_identity("nobody", group.gr_gid) == find_identity("nobody", "1")
    assert by_name is not None
    assert by_name.gid == group.gr_gid


@pytest.mark.fault(19)
@pytest.mark.root
def test_a_uid_that_nobody_has_needs_a_group() -> None:
    with pytest.raises(NoSuchUser, match="uid 54321 is not in the user database"):
        find_identity(54321, None)
    assert find_identity(54321, 54322) == Identity("54321", 54321, 54322, (54322,))


@pytest.mark.fault(19)
@pytest.mark.parametrize(
    "user", ["nosuch", "", "-1", -1, 2**32 - 1, 2**32, "root\0", "1 2", True, "\udcff"]
)
def test_a_user_that_does_not_exist_is_status_67(user: str | int) -> None:
    with pytest.raises(NoSuchUser, match="there is no user") as caught:
        find_identity(user, None)
    assert caught.value.status == 67


@pytest.mark.fault(19)
@pytest.mark.parametrize("group", ["nosuch", "", -1, 2**32 - 1])
def test_a_group_that_does_not_exist_is_status_67(group: str | int) -> None:
    with pytest.raises(NoSuchUser, match="there is no group") as caught:
        find_identity(None, group)
    assert caught.value.status == 67


@pytest.mark.fault(20)
@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        ('"root", None', "77 cannot become root (uid 0)"),
        ('"daemon", None', "77 cannot become daemon"),
        ('None, "daemon"', "77 cannot change to group daemon"),
        ("os.getuid(), None", "nothing to do"),
        ("os.getuid(), os.getgid()", "nothing to do"),
        ("None, os.getgid()", "nothing to do"),
    ],
)
def test_who_is_not_root_can_only_stay_who_he_is(
    arguments: str, answer: str, act: Callable[..., Actor]
) -> None:
    actor = act(
        f"""
        from ginkgo.core.errors import PermissionDenied
        from ginkgo.process.privileges import *
        try:
            found = find_identity({arguments})
            say("nothing to do" if found is None else found)
        except PermissionDenied as error:
            say(error.status, error)
        """,
        nobody=True,
    )
    assert actor.says().startswith(answer)


# The drop


@pytest.mark.fault(137)
@pytest.mark.fault("O14")
def test_the_groups_go_first_and_the_user_last_and_then_root_is_refused(
    _no_prctl: list[tuple[int, int]],
) -> None:
    system = Recorder()
    drop(SOMEBODY, system)
    assert system.calls == [
        "initgroups(somebody, 1234)",
        "setresgid(1234, 1234, 1234)",
        "setresuid(1234, 1234, 1234)",
        "setuid(0)",
        "seteuid(0)",
        "setresuid(0, 0, 0)",
        "setgid(0)",
        "setgroups([0])",
    ]
    assert _no_prctl == [(38, 1)]  # no new privileges


@pytest.mark.fault(137)
@pytest.mark.parametrize(
    "broken",
    [
        "setuid",
        "seteuid",
        "setresuid",
        "setgid",
        "setgroups",
        "initgroups",
        "saved uid",
        "setresgid",
    ],
)
def test_whoever_could_regain_root_ends_at_once(
    broken: str, capfd: pytest.CaptureFixture[str]
) -> None:
    system = Recorder(broken)
    with pytest.raises(Ended):
        drop(SOMEBODY, system)
    assert system.calls[-1] == "_exit(77)"
    assert "the privileges were not dropped" in capfd.readouterr().err


@pytest.mark.fault(137)
@pytest.mark.root
@pytest.mark.parametrize("user", ["nobody", "54321"])
def test_the_kernel_agrees(user: str, act: Callable[..., Actor]) -> None:
    actor = act(
        """
        import os, sys
        from ginkgo.process.privileges import *
        os.setgroups([0, 4, 27])
        identity = find_identity(sys.argv[1], "daemon")
        drop(identity)
        say(identity.uid, identity.gid, *sorted(identity.groups))
        input()
        """,
        args=[user],
    )
    uid, gid, *groups = actor.says().split()
    status = dict(
        line.split(":", 1) for line in Path(f"/proc/{actor.pid}/status").read_text().splitlines()
    )
    assert status["Uid"].split() == [uid] * 4
    assert status["Gid"].split() == [gid] * 4
    assert sorted(map(int, status["Groups"].split())) == [int(group) for group in groups]
    assert "0" not in status["Groups"].split()
    assert int(status["CapEff"], 16) == 0
    assert int(status["CapPrm"], 16) == 0
    assert status["NoNewPrivs"].strip() == "1"


@pytest.mark.fault(137)
@pytest.mark.root
def test_a_group_alone_leaves_root_root(act: Callable[..., Actor]) -> None:
    actor = act(
        """
        from ginkgo.process.privileges import *
        import os
        drop(find_identity(None, "daemon"))
        say(*os.getresuid(), *os.getresgid())
        """
    )
    gid = grp.getgrnam("daemon").gr_gid
    assert actor.says() == f"0 0 0 {gid} {gid} {gid}"


@pytest.mark.root
def test_root_without_the_capability_is_refused(act: Callable[..., Actor]) -> None:
    actor = act(
        """
        from ginkgo.core.errors import PermissionDenied
        from ginkgo.process.privileges import *
        try:
            drop(Identity("65534", 65534, 65534, (65534,)))
        except PermissionDenied as error:
            say(error.status, error)
        """,
        prefix=["setpriv", "--bounding-set=-setuid,-setgid", "--inh-caps=-all"],
    )
    assert actor.says().startswith("77 cannot become 65534 (uid 65534, gid 65534)")


@pytest.mark.fault(138)
@pytest.mark.root
def test_what_root_has_opened_stays_open(act: Callable[..., Actor]) -> None:
    actor = act(
        """
        import socket
        from ginkgo.process.privileges import *
        listener = socket.create_server(("127.0.0.1", 0))
        drop(find_identity("nobody", None))
        client = socket.socket()
        client.connect(listener.getsockname())
        say(listener.accept()[1] == client.getsockname())
        """
    )
    assert actor.says() == "True"


# umask and rundir


@pytest.fixture
def umask() -> Any:
    before = os.umask(0o022)
    yield
    os.umask(before)


def current_umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


@pytest.mark.fault("O17")
@pytest.mark.parametrize(
    ("value", "mask"),
    [(0o027, 0o027), ("027", 0o027), ("0o22", 0o022), (0, 0), (None, DEFAULT_UMASK)],
)
def test_the_umask_is_set(value: int | str | None, mask: int, umask: None) -> None:
    assert apply_umask(value) == mask
    assert current_umask() == mask


@pytest.mark.fault(25)
@pytest.mark.parametrize(("inherited", "mask"), [(0, DEFAULT_UMASK), (0o077, 0o077)])
def test_without_a_setting_others_get_nothing(inherited: int, mask: int, umask: None) -> None:
    os.umask(inherited)
    apply_umask(None)
    assert current_umask() == mask


@pytest.mark.parametrize("value", [-1, 0o1000, "", "abc", "8", "-1", True])
def test_what_is_no_umask_is_refused(value: int | str, umask: None) -> None:
    with pytest.raises(ConfigError, match="is not a file mode mask"):
        apply_umask(value)
    assert current_umask() == 0o022


def test_the_rundir_is_entered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    apply_rundir(None)
    assert os.getcwd() == "/"
    apply_rundir(str(tmp_path))
    assert os.getcwd() == str(tmp_path)


def test_a_rundir_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="missing: No such file or directory"):
        apply_rundir(str(tmp_path / "missing"))
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="Not a directory"):
        apply_rundir(str(tmp_path / "file"))
    with pytest.raises(ConfigError, match="null byte"):
        apply_rundir("a\0b")


def test_a_rundir_that_this_user_may_not_enter_is_refused_with_the_uid(
    open_folder: Path, act: Callable[..., Actor]
) -> None:
    (open_folder / "closed").mkdir(mode=0o000)
    actor = act(
        """
        from ginkgo.core.errors import PermissionDenied
        from ginkgo.process.privileges import *
        try:
            apply_rundir(sys.argv[1])
        except PermissionDenied as error:
            say(error.status, error)
        """,
        args=[str(open_folder / "closed")],
        nobody=True,
    )
    uid = NOBODY if os.geteuid() == 0 else os.geteuid()
    assert actor.says() == (
        f"77 cannot change to rundir {open_folder}/closed as uid {uid}: Permission denied"
    )


def test_errors_tell_what_to_do() -> None:
    with pytest.raises(NoSuchUser) as caught:
        find_identity("nosuch", None)
    assert caught.value.hint == "check the setting `user`"
    assert not isinstance(caught.value, PermissionDenied)
