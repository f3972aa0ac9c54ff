"""Names and places."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from ginkgo.core.errors import CannotCreate
from ginkgo.process.places import (
    RUN,
    candidates,
    instance_name,
    is_config_file,
    runtime_folder,
)


def as_uid(monkeypatch: pytest.MonkeyPatch, uid: int) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: uid)


def test_a_class_is_its_own_name() -> None:
    assert instance_name("service.HelloWorld") == "service.HelloWorld"


def test_a_config_file_is_named_after_its_real_path(tmp_path: Path) -> None:
    path = tmp_path / "app.conf.py"
    digest = hashlib.sha256(os.fsencode(os.path.realpath(path))).hexdigest()[:8]
    assert instance_name(str(path)) == f"app-{digest}"


def test_every_way_to_a_config_file_leads_to_one_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "app.conf.py"
    path.touch()
    (tmp_path / "link.conf.py").symlink_to(path)
    monkeypatch.chdir(tmp_path)
    ways = ("app.conf.py", "./app.conf.py", str(path), "link.conf.py")
    assert len({instance_name(way) for way in ways}) == 1


def test_the_name_stays_when_the_config_file_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "app.conf.py"
    path.touch()
    before = instance_name(str(path))
    path.unlink()
    assert instance_name(str(path)) == before


def test_two_config_files_of_one_name_are_two_instances(tmp_path: Path) -> None:
    assert instance_name(str(tmp_path / "a" / "x.py")) != instance_name(
        str(tmp_path / "b" / "x.py")
    )


@pytest.mark.parametrize(
    "target",
    [
        "/srv/.conf.py",
        "/srv/a b\n\x1b[2J/ü.py",
        "/srv/" + "x" * 300 + ".py",
        "módulo.Clase",
        "a." * 200 + "B",
        "../../etc/passwd",
    ],
)
def test_a_name_is_harmless_as_the_name_of_a_folder(target: str) -> None:
    name = instance_name(target)
    assert name.isascii()
    assert name.isprintable()
    assert "/" not in name
    assert not name.startswith(".")
    assert 0 < len(name) <= 100


def test_two_odd_names_do_not_fall_together() -> None:
    assert instance_name("módulo.Clase") != instance_name("mòdulo.Clase")


@pytest.mark.parametrize(
    ("target", "answer"),
    [
        ("service.conf.py", True),
        ("conf/service", True),
        ("service.HelloWorld", False),
        ("package.module.factory", False),
    ],
)
def test_a_config_file_is_known_by_its_looks(target: str, answer: bool) -> None:
    assert is_config_file(target) is answer


def test_systemds_folder_comes_first(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNTIME_DIRECTORY", "/run/app:/run/app-cache")
    assert runtime_folder("x") == "/run/app"


def test_the_sessions_folder_comes_next(base: Path) -> None:
    assert runtime_folder("x") == f"{base}/ginkgo/x"


def test_root_without_a_session_uses_run(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    as_uid(monkeypatch, 0)
    assert runtime_folder("x") == "/run/ginkgo/x"


@pytest.mark.fault(26)
def test_a_user_without_a_session_uses_the_home_directory(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    as_uid(monkeypatch, 1000)
    assert runtime_folder("x") == f"{base}/.local/state/ginkgo/x"


def test_the_session_of_another_user_is_left_alone(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_uid(monkeypatch, os.geteuid() + 1)  # what `su` and `sudo -E` leave in the environment
    assert runtime_folder("x") == f"{base}/.local/state/ginkgo/x"


def test_a_session_that_others_can_write_is_left_alone(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base.chmod(0o777)
    assert not runtime_folder("x").startswith(f"{base}/ginkgo")


@pytest.mark.fault(26)
@pytest.mark.parametrize("variable", ["RUNTIME_DIRECTORY", "XDG_RUNTIME_DIR"])
def test_nothing_is_ever_relative_to_the_current_folder(
    variable: str, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(base)
    (base / "here").mkdir(mode=0o700)
    monkeypatch.setenv(variable, "here")
    assert os.path.isabs(runtime_folder("x"))
    assert "here" not in runtime_folder("x")


def test_no_place_at_all_is_an_error_that_says_what_to_set(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    monkeypatch.setenv("HOME", "nowhere")
    as_uid(monkeypatch, 1000)
    with pytest.raises(CannotCreate, match="no place for the runtime folder of x") as caught:
        runtime_folder("x")
    assert "XDG_RUNTIME_DIR" in str(caught.value.hint)


def test_a_reader_looks_first_where_a_start_would_go(base: Path) -> None:
    assert candidates("x")[0] == runtime_folder("x")
    assert f"{RUN}/ginkgo/x" in candidates("x")
