"""The socket of ``ginkgoctl shell``: what is left where it cannot be served."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest

from ginkgo.async_ import native
from ginkgo.control.backdoor import SOCKET, Backdoor


def test_without_a_thread_nothing_of_it_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> NoReturn:
        raise RuntimeError("can't start new thread")

    folder = os.open(tmp_path, os.O_PATH)
    try:
        backdoor = Backdoor(SimpleNamespace(folder_fd=folder, root=None, post=None))
        monkeypatch.setattr(native, "start_thread", refuse)
        with pytest.raises(RuntimeError, match="new thread"):
            backdoor.start()
        assert not (tmp_path / SOCKET).exists()  # and no descriptor: each test is looked at for it
    finally:
        os.close(folder)
