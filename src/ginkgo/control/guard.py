"""Who may come in over TCP: a token for programs, a cookie for the page, and no guessing.

    Authorization: Bearer TOKEN     each time
    POST /login {"token": TOKEN}    once; the browser keeps a cookie that its pages cannot read

Tokens are compared in a time that tells nothing of them (`hmac.compare_digest`). A wrong one costs
its address one of a few attempts, which come back one a second.
"""

from __future__ import annotations

import hmac
import secrets
import time
from collections.abc import Callable
from http.cookies import CookieError, SimpleCookie
from ipaddress import ip_address

from .messages import Rejection, Remote, Request, error

ATTEMPTS = 5
"""Wrong tokens of one address in a row before it has to wait."""

REFILL = 1.0
"""Seconds until an address has another attempt."""

ADDRESSES = 1024
"""Addresses whose attempts are kept; beyond that the oldest are forgotten."""

SESSIONS = 64
"""Cookies that are good at a time; beyond that the oldest is not any more."""

SESSION_TIME = 12 * 3600.0
"""Seconds that a cookie is good for."""


class Guard:
    """Asks for the token.

    Args:
        token: the secret.
        port: of the address; cookies know no ports, so that ours has it in its name.
        secure: whether the cookie is for TLS only.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        token: str,
        port: int,
        *,
        secure: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._token = token.encode()
        self._secure = secure
        self._clock = clock
        self._cookie = f"__Host-ginkgo-{port}" if secure else f"ginkgo-{port}"
        self._sessions: dict[str, float] = {}  # until when
        self._failures: dict[str, tuple[float, float]] = {}  # how many are left, as of when

    def knows(self, request: Request) -> bool:
        """Whether a request brings the token or a good cookie; False if it brings none.

        Raises:
            Rejection: 401 for a wrong token, 429 when there were too many of them.
        """
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme:
            if scheme.lower() != "bearer":
                raise unauthorized("The token is sent as `Authorization: Bearer TOKEN`.")
            self.check(given.strip(), request)
            return True
        return self._has_session(request)

    def check(self, given: str, request: Request) -> None:
        """Compare a token with ours.

        Raises:
            Rejection: 401 if it is wrong, 429 when there were too many of them.
        """
        source = source_of(request)
        left = self._attempts(source)
        if left < 1:
            answer = error(429, "Too many wrong tokens", "This address has to wait.", "Wait 1 s.")
            raise Rejection(answer._replace(headers=(("Retry-After", "1"),)))
        if not hmac.compare_digest(given.encode("utf-8", "surrogatepass"), self._token):
            self._failures[source] = (left - 1, self._clock())
            if len(self._failures) > ADDRESSES:
                del self._failures[next(iter(self._failures))]
            raise unauthorized("The token is another one.")
        self._failures.pop(source, None)

    def login(self) -> str:
        """Begin a session; return the Set-Cookie header's value."""
        now = self._clock()
        self._sessions = {name: until for name, until in self._sessions.items() if until > now}
        while len(self._sessions) >= SESSIONS:
            del self._sessions[next(iter(self._sessions))]
        name = secrets.token_urlsafe(32)
        self._sessions[name] = now + SESSION_TIME
        return self._set_cookie(name, SESSION_TIME)

    def logout(self, request: Request) -> str:
        """End the request's session; return the Set-Cookie header's value."""
        self._sessions.pop(self._session(request), None)
        return self._set_cookie("", 0)

    def _has_session(self, request: Request) -> bool:
        # A look-up in a dict tells nothing about 256 random bits.
        return self._sessions.get(self._session(request), 0.0) > self._clock()

    def _session(self, request: Request) -> str:
        cookies: SimpleCookie = SimpleCookie()
        try:
            # One by one: what others have set on this host must not hide ours.
            for part in request.headers.get("cookie", "").split(";"):
                if part.strip().startswith(f"{self._cookie}="):
                    cookies.load(part.strip())
        except CookieError:
            return ""
        found = cookies.get(self._cookie)
        return "" if found is None else found.value

    def _set_cookie(self, value: str, seconds: float) -> str:
        secure = "; Secure" if self._secure else ""
        return (
            f"{self._cookie}={value}; Path=/; Max-Age={seconds:.0f}; HttpOnly; SameSite=Strict"
            f"{secure}"
        )

    def _attempts(self, source: str) -> float:
        left, at = self._failures.get(source, (float(ATTEMPTS), 0.0))
        return min(float(ATTEMPTS), left + (self._clock() - at) / REFILL)


def unauthorized(why: str) -> Rejection:
    """Return the 401 that RFC 9110, 15.5.2 wants: with how to do better."""
    answer = error(
        401,
        "A token is needed here",
        why,
        "Send the setting control_token as `Authorization: Bearer TOKEN`.",
    )
    return Rejection(answer._replace(headers=(("WWW-Authenticate", 'Bearer realm="ginkgo"'),)))


def source_of(request: Request) -> str:
    """Return whose attempts a request is one of: an address, or the /64 of one of IPv6."""
    if not isinstance(request.peer, Remote):
        return ""
    address = ip_address(request.peer.address.partition("%")[0])
    if address.version == 4:
        return str(address)
    return str(address.ipv4_mapped or address.exploded[:19])
