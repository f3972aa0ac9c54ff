"""The state machine: its table, and the picture of it."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from tests.dialects import World, done
from tests.trees import plant

from ginkgo.core import state
from ginkgo.core.errors import UsageError
from ginkgo.core.state import STATES, TRANSITIONS, move


def test_the_picture_and_the_table_agree():
    table = {
        (source, event, target)
        for event, (sources, target) in TRANSITIONS.items()
        for source in sources
    }
    assert set(Picture(state.__doc__).arrows()) == table


@pytest.mark.parametrize("event", TRANSITIONS)
@pytest.mark.parametrize("source", STATES)
def test_a_move_is_legal_or_is_not_made(world: World, source: str, event: str):
    service = plant(world, "a")
    service._state = source
    sources, target = TRANSITIONS[event]
    assert move(service, event) == (source in sources)
    assert service.state == (target if source in sources else source)


async def test_a_state_compares_equal_to_its_name(world: World):
    service = plant(world, "a")
    assert service.state == "init"
    assert service.state != "ready"
    assert service.state in {"init", "ready"}
    assert str(service.state) == service.state.current == "init"
    assert repr(service.state) == "<State init of a>"


async def test_services_in_the_same_state_have_equal_states(world: World):
    one, other = plant(world, "a"), plant(world, "b")
    assert one.state == other.state
    assert hash(one.state) == hash(other.state)
    await done(one.start())
    assert one.state != other.state
    await done(one.stop())


async def test_a_state_follows_its_service(world: World):
    service = plant(world, "a")
    seen = service.state
    await done(service.start())
    assert seen == "ready"
    await done(service.stop())
    assert seen == "stopped"


async def test_an_unknown_state_cannot_be_waited_for(world: World):
    with pytest.raises(UsageError, match=r"there is no state 'running'.*ready"):
        await done(plant(world, "a").wait("running"))


class Picture:
    """A drawing in ASCII: boxes with names, and lines that leave them at a ``+`` of the border."""

    HEADS = {"v": (1, 0), ">": (0, 1), "<": (0, -1), "^": (-1, 0)}

    def __init__(self, text: str) -> None:
        self.rows = text.splitlines()
        self.boxes = {
            match[2]: (row, match.start(1), match.start(3))
            for row, line in enumerate(self.rows)
            for match in re.finditer(r"([|+]) +(\w+) +(?=([|+]))", line)
            if match[2] in STATES
        }

    def at(self, row: int, column: int) -> str:
        line = self.rows[row] if 0 <= row < len(self.rows) else ""
        return line[column] if 0 <= column < len(line) else " "

    def box_at(self, row: int, column: int) -> str | None:
        for name, (middle, left, right) in self.boxes.items():
            if abs(row - middle) <= 1 and left <= column <= right:
                return name
        return None

    def arrows(self) -> Iterator[tuple[str, str, str]]:
        """Every line that ends in an arrow head: the box it leaves, its word, the box it enters."""
        for name, (row, left, right) in self.boxes.items():
            for column in range(left + 1, right):
                if self.at(row + 1, column) == "+":
                    word = re.match(r" (\w+)", self.rows[row + 2][column + 1 :])
                    yield from self._arrows(name, word[1], (row + 1, column), (1, 0))
            for column, way in ((left, -1), (right, 1)):
                if self.at(row, column) == "+":
                    end = column + way
                    while self.at(row, end) == "-":
                        end += way
                    above = self.rows[row - 1][min(column, end) + 1 : max(column, end)]
                    yield from self._arrows(name, above.strip(), (row, column), (0, way))

    def _arrows(
        self, name: str, word: str, start: tuple[int, int], way: tuple[int, int]
    ) -> Iterator[tuple[str, str, str]]:
        for target in self._ends(start, way):
            yield name, word, target

    def _ends(self, cell: tuple[int, int], way: tuple[int, int]) -> Iterator[str]:
        row, column = cell[0] + way[0], cell[1] + way[1]
        mark = self.at(row, column)
        if mark in self.HEADS:
            way = self.HEADS[mark]
            yield self.box_at(row + way[0], column + way[1]) or "nowhere"
        elif mark == "+" and self.box_at(row, column) is None:
            back = (-way[0], -way[1])
            for turn in self.HEADS.values():
                line = "|" if turn[0] else "-"
                if turn != back and self.at(row + turn[0], column + turn[1]) in (line, "+"):
                    yield from self._ends((row, column), turn)
        elif mark == ("|" if way[0] else "-"):
            yield from self._ends((row, column), way)
