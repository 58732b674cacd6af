"""The stack of request checks, outermost first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from starlette.middleware import Middleware
from starlette.middleware.gzip import DEFAULT_EXCLUDED_CONTENT_TYPES, GZipMiddleware

from app.jobs.accounts.audit import AuditLog
from app.ui.document.document import Opening
from app.ui.document.language import LanguageMiddleware
from app.ui.login.authenticator import Authenticator
from app.ui.middleware.bad_calls import BadCallsMiddleware, Missing
from app.ui.middleware.calls import CallsMiddleware, StreamsMiddleware
from app.ui.middleware.file_access import FileAccessMiddleware
from app.ui.middleware.foreign import ForeignAddressMiddleware
from app.ui.middleware.headers import HeadersMiddleware, PolicyMiddleware
from app.ui.middleware.hosts import HostsMiddleware, OriginsMiddleware
from app.ui.middleware.limits import Shares, SizeMiddleware, UploadsMiddleware
from app.ui.middleware.login import LoginMiddleware
from app.ui.middleware.not_found import NotFoundMiddleware
from app.ui.middleware.page_sessions import PageSessionsMiddleware
from app.ui.middleware.proxy import ForwardedMiddleware
from app.ui.middleware.routes import RoutesMiddleware
from app.ui.middleware.visitor import VisitorMiddleware
from app.ui.monitoring.measure import MeasureMiddleware, Note
from app.ui.visits import VisitsMiddleware

COMPRESSION = 6
"""Level of zlib; higher ones take longer and gain nothing on pages."""
NOT_COMPRESSED = (*DEFAULT_EXCLUDED_CONTENT_TYPES, "application/octet-stream")
"""Style files and images stay as they are: they hardly shrink, and a download keeps its length and its ranges."""


def checks(
    *,
    hosts: frozenset[str],
    authenticator: Authenticator,
    audit: AuditLog,
    public: Path,
    uploads: Path,
    shares: Shares,
    is_waiting: Callable[[str], bool],
    parameters_missing: Missing,
    opened: Mapping[str, Callable[[str], None]],
    note: Note,
    proxies: Sequence[str] = (),
) -> list[Middleware]:
    """The middlewares, outermost first; each may rely on the previous ones.

    `opened` are called with the sender of each visit of a page, by its path; `note` is told every answer.
    """
    return [
        Middleware(ForwardedMiddleware, proxies=proxies),
        Middleware(MeasureMiddleware, note=note),
        Middleware(LanguageMiddleware),
        Middleware(HeadersMiddleware),
        Middleware(GZipMiddleware, compresslevel=COMPRESSION, exclude_content_types=NOT_COMPRESSED),
        Middleware(HostsMiddleware, hosts=hosts),
        Middleware(OriginsMiddleware),
        Middleware(NotFoundMiddleware),
        Middleware(RoutesMiddleware),
        Middleware(SizeMiddleware),
        Middleware(LoginMiddleware, authenticator=authenticator, audit=audit),
        Middleware(CallsMiddleware, is_waiting=is_waiting),
        Middleware(StreamsMiddleware),
        Middleware(UploadsMiddleware, shares=shares),
        Middleware(FileAccessMiddleware, public=public, uploads=uploads),
        Middleware(ForeignAddressMiddleware, uploads=uploads),
        Middleware(PageSessionsMiddleware),
        Middleware(VisitorMiddleware),
        *(Middleware(VisitsMiddleware, path=path, visited=visited) for path, visited in opened.items()),
        Middleware(PolicyMiddleware),
        Middleware(Opening),
        Middleware(BadCallsMiddleware, missing=parameters_missing),
    ]
