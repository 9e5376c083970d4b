"""What can go wrong with one query, as errors that know the client's answer; and a safe look at anybody's errors."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dnsproxy.message import Policy

NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED, NOTAUTH, BADVERS = 0, 1, 2, 3, 4, 5, 9, 16

# IANA "DNS RCODEs"; BADVERS shares 16 with BADSIG
RCODES = {
    "NOERROR": 0,
    "FORMERR": 1,
    "SERVFAIL": 2,
    "NXDOMAIN": 3,
    "NOTIMP": 4,
    "REFUSED": 5,
    "YXDOMAIN": 6,
    "YXRRSET": 7,
    "NXRRSET": 8,
    "NOTAUTH": 9,
    "NOTZONE": 10,
    "DSOTYPENI": 11,
    "BADVERS": 16,
    "BADKEY": 17,
    "BADTIME": 18,
    "BADMODE": 19,
    "BADNAME": 20,
    "BADALG": 21,
    "BADTRUNC": 22,
    "BADCOOKIE": 23,
}

# Extended DNS Errors (RFC 8914 section 4, IANA registry)
EDE_OTHER = 0
EDE_STALE_ANSWER = 3
EDE_NOT_READY = 14
EDE_BLOCKED = 15
EDE_PROHIBITED = 18
EDE_NO_REACHABLE_AUTHORITY = 22
EDE_NETWORK_ERROR = 23


class QueryError(Exception):
    """A query that cannot be answered as asked.

    `rcode` is what the client gets; `ede_code` (0, Other, if there is only a text) and `ede_text` travel as an Extended
    DNS Error (RFC 8914) to clients that sent an OPT. The text is for clients: it names no internal address. `policy` is
    for taps: which rule it was.
    """

    rcode = SERVFAIL
    ede_code: int | None = None

    def __init__(
        self,
        ede_text: object = "",
        *,
        rcode: int | None = None,
        ede_code: int | None = None,
        policy: Policy | None = None,
    ) -> None:
        super().__init__(ede_text)
        self.ede_text = str(ede_text)
        self.policy = policy
        if rcode is not None:
            self.rcode = rcode
        if ede_code is not None:
            self.ede_code = ede_code
        elif self.ede_text and self.ede_code is None:
            self.ede_code = EDE_OTHER


class Refused(QueryError):
    """This proxy does not serve that client or that name (REFUSED)."""

    rcode = REFUSED


class ServerFailure(QueryError):
    """Something inside failed while the query was handled (SERVFAIL, EDE 0)."""

    ede_code = EDE_OTHER


class DeadlineExceeded(QueryError):
    """No answer before the query's deadline (SERVFAIL, EDE 22)."""

    ede_code = EDE_NO_REACHABLE_AUTHORITY


class OutOfTime(DeadlineExceeded):
    """Thrown into a coroutine that has not answered by the chain's deadline, which none should let pass."""


class UpstreamsFailed(QueryError):
    """No upstream gave an answer (SERVFAIL; EDE 22 for silence, 23 for refused or broken connections)."""

    ede_code = EDE_NO_REACHABLE_AUTHORITY


def failure_in(error: BaseException) -> BaseException | None:
    """What is left of an error when trio's cancelling is taken from it; None when it is nothing else.

    A nursery that is cancelled raises both in one group when something fails on its way out.
    """
    import trio  # here, for it is slow to import, and most of who needs an rcode does not need it

    if isinstance(error, BaseExceptionGroup):
        return error.split(trio.Cancelled)[1]
    return None if isinstance(error, trio.Cancelled) else error


def shown(thing: object) -> str:
    """`repr` of an error or an answer that anybody may have written, for the log."""
    try:
        return repr(thing)
    except Exception:  # noqa: BLE001  an error in the error
        return f"<{type(thing).__name__} without a repr>"


def words_of(error: BaseException) -> str:
    """`str` of an error that anybody may have written; empty when it says nothing."""
    try:
        return str(error)
    except Exception:  # noqa: BLE001  an error in the error
        return ""
