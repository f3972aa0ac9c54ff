"""The names of settings: how they are written, and which one was probably meant.

in a config file    rate_per_minute = 180         class db:
                                                      password = "..."
in an application   Setting("rate_per_minute")    Setting("db.password")
in the environment  GINKGO_RATE_PER_MINUTE        GINKGO_DB__PASSWORD
"""

from __future__ import annotations

from collections.abc import Iterable

ENVIRONMENT_PREFIX = "GINKGO_"

# What a config file names its service by; see service.py.
SERVICE = "service"

# In a shorter name one letter is a third of all it says: `b` is no misspelt `a`.
SHORTEST_TO_GUESS = 3

# How alike two names have to be, beyond a single slip, for one to be taken for the other. At 0.8
# `rate_per_min` is recognised as `rate_per_minute`, and `logfile` and `pidfile` stay strangers.
LIKENESS = 0.8


def normalise(path: str) -> str:
    """Return the one spelling of `path`: lower case, without a leading dot, as 0.6 had it."""
    return path.lower().lstrip(".")


def environment_name(path: str) -> str:
    """Return the environment variable that sets `path`.

    Example:
        environment_name("db.pool_size") == "GINKGO_DB__POOL_SIZE"
    """
    return ENVIRONMENT_PREFIX + path.upper().replace(".", "__").replace("-", "_")


def groups_above(path: str) -> list[str]:
    """Return the groups that `path` is in, the innermost first: `a.b` and `a` for `a.b.c`."""
    parts = path.split(".")
    return [".".join(parts[:end]) for end in range(len(parts) - 1, 0, -1)]


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the one of `known` that `name` was probably meant to be, or None.

    One slip of the fingers (a letter too many, too few, wrong, or two swapped) is always
    recognised; more than that, where the names are much alike. A known name is never "meant".
    """
    candidates = [each for each in known if len(each) >= SHORTEST_TO_GUESS]
    if name in candidates:
        return None
    for each in candidates:
        if one_slip_apart(name, each):
            return each
    import difflib  # here: most configurations have nothing to guess at

    # Of its own depth: a helper called `rate` is not meant to be `t.rate`.
    level = [each for each in candidates if each.count(".") == name.count(".")]
    alike = difflib.get_close_matches(name, level, n=1, cutoff=LIKENESS)
    return alike[0] if alike else None


def one_slip_apart(one: str, other: str) -> bool:
    """Whether a single insertion, deletion, substitution or swap makes `one` into `other`."""
    if len(one) > len(other):
        one, other = other, one
    if len(other) - len(one) > 1 or one == other:
        return False
    at = 0
    while at < len(one) and one[at] == other[at]:
        at += 1
    if len(one) < len(other):
        return one[at:] == other[at + 1 :]
    if one[at + 1 :] == other[at + 1 :]:
        return True
    return one[at : at + 2] == other[at : at + 2][::-1] and one[at + 2 :] == other[at + 2 :]
