"""read_setting.py KIND READS: reads one attribute of a service again and again.

Ten reads a turn of the loop, so that the loop is little of what is measured.
"""

import json
import sys
import timeit

from ginkgo import Service, Setting

TURN = 10


class Plain:
    """The value as an attribute of the object, and behind a property."""

    def __init__(self) -> None:
        self.message = "Hello World"

    @property
    def shown(self) -> str:
        """The same behind a property."""
        return self.message


class HelloWorld(Service):
    """The manual's example."""

    message = Setting("message", default="Hello World", help="Message to print out while running")


KINDS = {
    "attribute": (Plain(), "o.message"),
    "property": (Plain(), "o.shown"),
    "ginkgo": (HelloWorld(), "o.message"),
}

subject, read = KINDS[sys.argv[1]]
timer = timeit.Timer("\n".join([read] * TURN), globals={"o": subject})
turns = int(sys.argv[2]) // TURN
timer.timeit(turns // 10)  # until the interpreter has specialised the bytecode
print(json.dumps({"ns": timer.timeit(turns) / (turns * TURN) * 1e9}))
