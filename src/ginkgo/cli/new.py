"""``ginkgo new NAME``: a project of few files that runs, with a test and a unit."""

from __future__ import annotations

import argparse
import keyword
import os
import re
import sys

from ..core.errors import CannotCreate, UsageError
from .new_files import FILES

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_LONGEST = 60
_TAKEN = {"ginkgo", "gevent", "pytest", "conftest", "test", "tests"}


def parser() -> argparse.ArgumentParser:
    """Return the parser of its command line."""
    made = argparse.ArgumentParser(
        prog="ginkgo new",
        description="Make a project in a new folder: a service with settings, its config file, a "
        "test, and a unit for systemd.",
        allow_abbrev=False,
    )
    made.add_argument(
        "name", metavar="NAME", help="of the folder and the module: small letters, digits and _"
    )
    return made


def run(options: argparse.Namespace) -> int:
    """Make the project. Returns 0.

    Raises:
        UsageError: no module can have that name.
        CannotCreate: there is something already, or it cannot be written.
    """
    name = checked(options.name)
    make(name, contents(name))
    print(
        f"{name}/ is made. Next:\n"
        f"  cd {name}\n"
        "  ginkgo dev          run it, and anew when a file of it changes: http://127.0.0.1:8000\n"
        "                      and its page: http://127.0.0.1:8001\n"
        "  python3 -m pytest   test it"
    )
    return 0


def checked(name: str) -> str:
    """Return the name of a project, if it is one.

    Raises:
        UsageError: no module can have that name, or another module has it.
    """
    hint = "small letters, digits and _, a letter first: ginkgo new hello"
    if not _NAME.fullmatch(name) or len(name) > _LONGEST:
        better = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")[:_LONGEST]
        if better != name and _NAME.fullmatch(better) and not _is_taken(better):
            hint = f"what about {better}?"
        raise UsageError(f"{name!r} is no name for a module", hint=hint)
    if _is_taken(name):
        raise UsageError(f"{name!r} is the name of something else in Python", hint="choose another")
    return name


def _is_taken(name: str) -> bool:
    return keyword.iskeyword(name) or name in sys.stdlib_module_names or name in _TAKEN


def contents(name: str) -> dict[str, str]:
    """Return the files of a project of this name: their names, and what is in them."""
    words = {
        "name": name,
        "Name": "".join(word.capitalize() for word in name.split("_")),
        "distribution": name.strip("_").replace("_", "-"),
    }
    files = {file.format(**words): text.substitute(words) for file, text in FILES.items()}
    return {**files, f"{name}.service": unit(name)}


def unit(name: str) -> str:
    """Return the unit of a project that lies in /opt, with a virtual environment."""
    from ..process.deployment import Deployment
    from ..process.unit import Wish, service_unit

    folder = f"/opt/{name}"
    program = (f"{folder}/.venv/bin/ginkgo",)
    return service_unit(Deployment(name, f"{folder}/{name}.conf.py", folder, program), Wish())


def make(folder: str, files: dict[str, str]) -> None:
    """Write the files into a folder that is new, or empty.

    Raises:
        CannotCreate: there is something already, or it cannot be written.
    """
    try:
        os.makedirs(folder, exist_ok=True)
        if os.listdir(folder):
            raise CannotCreate(
                f"there is a folder {folder} already, and it is not empty",
                hint="Nothing was written. Choose another name, or remove it.",
            )
        for name, text in files.items():
            with open(os.path.join(folder, name), "x", encoding="utf-8") as file:
                file.write(text)
    except FileExistsError as error:
        raise CannotCreate(
            f"there is a file {error.filename} already", hint="Choose another name."
        ) from error
    except OSError as error:
        raise CannotCreate(f"cannot make {error.filename or folder}: {error.strerror}") from error
