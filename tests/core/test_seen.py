"""A tree is read from outside without any code of the user's."""

from __future__ import annotations

import pytest

from ginkgo import Service
from ginkgo.core.failure import Failure
from ginkgo.core.seen import find, name_of, path_of, state_of, walk


class Hostile(Service):
    """Answers nobody who asks it anything."""

    def _refuse(self):
        raise AssertionError("the user's code was called")

    name = property(_refuse)
    path = property(_refuse)
    state = property(_refuse)
    children = property(_refuse)
    failure = property(_refuse)
    restarts = property(_refuse)
    ready = property(_refuse)
    root = property(_refuse)

    def walk(self):
        self._refuse()

    def __getattribute__(self, name: str):
        if name in ("path", "state", "children", "failure", "_state", "_children"):
            raise AssertionError("the user's code was called")
        return super().__getattribute__(name)

    def __eq__(self, other: object):
        raise AssertionError("the user's code was called")

    __hash__ = None  # type: ignore[assignment]


class Named(Service):
    name = "db"  # type: ignore[assignment]


def family() -> Service:
    root = Service()
    root.name = "app"
    for _ in range(2):
        child = Service()
        child.name = "db"
        root.add_service(child)
        child.add_service(Service())
    return root


def test_paths_are_those_that_the_services_say():
    root = family()
    assert [path for _, path in walk(root)] == [service.path for service in root.walk()]
    assert all(path_of(service) == service.path for service in root.walk())


def test_a_path_leads_to_its_service():
    root = family()
    for service in root.walk():
        assert find(root, service.path) is service


@pytest.mark.parametrize(
    "path", ["", "/", "app/", "db", "app/db-3", "app/db/Service/x", "other/db"]
)
def test_a_path_of_nobody_leads_to_nobody(path: str):
    assert find(family(), path) is None


def test_a_name_may_be_an_attribute_of_the_class():
    service = Named()
    assert name_of(service) == service.name == "db"


def test_the_code_of_a_service_is_not_asked():
    hostile = Hostile()
    root = Service()
    root._children = [hostile]
    vars(hostile)["parent"] = root
    assert [path for _, path in walk(root)] == ["Service", "Service/Hostile"]
    assert state_of(hostile) == "init"
    assert path_of(hostile) == "Service/Hostile"


def test_what_an_error_says_is_asked_once_when_it_failed():
    class Wrong(Exception):
        asked = 0

        def __str__(self) -> str:
            self.asked += 1
            return f"asked {self.asked}"

    failure = Failure("app", "start", Wrong())
    assert failure.text == "asked 1"
    assert str(failure) == str(failure) == "app: start failed: Wrong: asked 1"


def test_the_time_of_the_last_change_of_the_state_is_kept():
    service = Service()
    service.backend = "threading"
    assert service._since is None
    service.start()
    started = service._since
    service.stop()
    assert started is not None
    assert service._since is not None
    assert service._since >= started
