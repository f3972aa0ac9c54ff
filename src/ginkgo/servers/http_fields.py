"""The header fields of an HTTP request, read strictly (RFC 9112, sections 5 and 6.3).

Where a server and a proxy in front of it understand a request differently, the one can be made to
see two requests where the other sees one. So what the standard calls an error is an error here:
a name with a space in it, a folded line, two lengths that differ, a length beside chunks.

The standard library reads a header as it reads mail, in more than ten times the time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

# The characters of a token (RFC 9110, section 5.6.2).
_TOKEN = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
# As many as the standard library, and as long as pywsgi's request line.
MOST_FIELDS = 100
LONGEST_LINE = 8192


class FieldError(ValueError):
    """The header is not one. The client is told that its request is bad (400)."""


class Fields:
    """The fields of one header, in the order in which they came.

    It has the methods that pywsgi wants of a header.

    Attributes:
        items: name and value of each; the names as they came.
    """

    __slots__ = ("_first", "items")

    status = ""  # pywsgi: what is wrong with it

    def __init__(self, items: list[tuple[str, str]]) -> None:
        self.items = items
        self._first: dict[str, str] = {}
        for name, value in items:
            self._first.setdefault(name.lower(), value)

    @classmethod
    def read(cls, stream: BinaryIO, version: str) -> Fields:
        """Read a header up to the empty line behind it.

        Args:
            stream: what comes behind the request line.
            version: of that line, ``HTTP/1.1``.

        Raises:
            FieldError: it is no header.
        """
        items: list[tuple[str, str]] = []
        while True:
            line = stream.readline(LONGEST_LINE + 1)
            if line in (b"\r\n", b"\n"):
                break
            if len(items) == MOST_FIELDS:
                raise FieldError(f"more than {MOST_FIELDS} header fields")
            items.append(_field(line))
        fields = cls(items)
        fields._check(version)
        return fields

    def _check(self, version: str) -> None:
        """How long the body is, and for whom the request, must be told once and clearly."""
        lengths, hosts = self.all("content-length"), self.all("host")
        if len(set(lengths)) > 1 or not all(
            length.isascii() and length.isdecimal() for length in lengths
        ):
            raise FieldError(f"the length is not clear: {', '.join(lengths)[:100]!r}")
        codings = self.all("transfer-encoding")
        chunked = [coding.lower() for coding in codings] == ["chunked"] and version == "HTTP/1.1"
        if codings and (lengths or not chunked):
            raise FieldError(f"the transfer coding is not clear: {', '.join(codings)[:100]!r}")
        if len(hosts) > 1 or (version == "HTTP/1.1" and not hosts):
            raise FieldError(f"{len(hosts)} hosts")

    def all(self, name: str) -> list[str]:
        """The values of all fields with this name, in small letters."""
        if name not in self._first:
            return []
        return [value for given, value in self.items if given.lower() == name]

    def environ(self) -> Iterator[tuple[str, str]]:
        """The fields as WSGI's environ names them; but not those that could be mistaken there.

        ``X_User`` would become the same variable as ``X-User``, which a proxy may have checked.
        """
        for name, value in self.items:
            if "_" not in name:
                key = name.upper().replace("-", "_")
                if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
                    yield f"HTTP_{key}", value

    # -- what pywsgi asks ------------------------------------------------------------------------

    def get(self, name: str, default: str | None = None) -> str | None:
        """The value of the first field with this name."""
        return self._first.get(name.lower(), default)

    getheader = get

    @property
    def typeheader(self) -> str | None:
        """The Content-Type."""
        return self._first.get("content-type")

    @property
    def headers(self) -> list[str]:
        """The lines."""
        return [f"{name}: {value}\r\n" for name, value in self.items]

    def __delitem__(self, name: str) -> None:
        name = name.lower()
        del self._first[name]
        self.items = [item for item in self.items if item[0].lower() != name]


def _field(line: bytes) -> tuple[str, str]:
    if not line.endswith(b"\n"):
        raise FieldError("a header line is too long" if len(line) > LONGEST_LINE else "cut off")
    name, colon, value = line.partition(b":")
    if not colon or not name or name.translate(None, _TOKEN):
        raise FieldError(f"no header field: {line[:100]!r}")
    value = value.strip(b" \t\r\n")
    if b"\r" in value or b"\0" in value:
        raise FieldError(f"no value of a header field: {line[:100]!r}")
    return name.decode("ascii"), value.decode("latin-1")
