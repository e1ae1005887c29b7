"""Addresses of tracking stores, and the secrets in them.

Owns what may be shown or stored of an address. A user and password in the address of a server are given to MLflow
through the environment, as its documentation advises: MLflow prints and raises the address that it was given.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, unquote

from longtake.platform.errors import masked
from longtake.platform.store.root import OutputRoot

OFF = "disabled"
SQLITE = "sqlite:///"
SERVERS = ("http", "https")
USER, PASSWORD = "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"
HOST = re.compile(r"(\[[^\]]*\]|[^\s:/]*)(:\d*)?(/.*)?")
AUTHORITY = re.compile(r"(?:(?P<user>[^/?#]*)@)?(?P<host>\[[^\]]*\]|[^\s:/?#@]*)(?::\d+)?(?=[/?#]|$)")
"""'user:password@host:port' (RFC 3986, section 3.2): it ends at the first '/', '?' or '#'."""
SHORT = 3
"""A secret of fewer characters is masked only where it stands in an address: elsewhere it may be part of any word."""


def default_uri(output: Path) -> str:
    """The URI of the sqlite store in the output folder."""
    return f"{SQLITE}{OutputRoot(output).mlflow_db.absolute()}"


def without_password(uri: str | None) -> str | None:
    """The URI without 'user:password@' and without the query, for display and records."""
    if uri is None or "://" not in uri or uri.startswith("sqlite:"):
        return uri
    scheme, rest = uri.split("://", 1)
    return f"{scheme}://{split_user(rest)[1]}"


def split_user(rest: str) -> tuple[str, str]:
    """('user:password', address without query) of what follows '://'.

    Where that is a valid address, an @ behind the host belongs to the path. Otherwise a '/', '?' or '#' stands in a
    password as it is ('u:p/w@host'); one that would be a port ('u:12/w@host') has to be written '%2F', '%3F' or '%23'.
    """
    if valid := AUTHORITY.match(rest):
        return valid["user"] or "", re.split(r"[?#]", rest[valid.start("host") :])[0]
    before_query = re.split(r"[?#]", rest)[0]
    user, _, host = before_query.rpartition("@")
    if not HOST.fullmatch(host) and "@" in rest:  # a ? or # of the password
        user, _, host = rest.rpartition("@")
        host = re.split(r"[?#]", host)[0]
    return user, host


def for_mlflow(uri: str) -> str:
    """The URI to give to MLflow: that of a server is without its 'user:password@', see `credentials`."""
    if login_of(uri) is None:
        return uri
    scheme, rest = uri.split("://", 1)
    user, _ = split_user(rest)
    return f"{scheme}://{rest.removeprefix(f'{user}@')}"


def login_of(uri: str) -> tuple[str, str] | None:
    """(user, password) in the address of a server. None without a password, and for databases, which have their own
    way to connect."""
    scheme, _, rest = uri.partition("://")
    user, colon, password = split_user(rest)[0].partition(":")
    return (unquote(user), unquote(password)) if scheme in SERVERS and colon and password else None


@contextmanager
def credentials(uri: str) -> Iterator[None]:
    """Gives the user and password of an address to MLflow while the context is open."""
    login = login_of(uri)
    if login is None:
        yield
        return
    before = {name: os.environ.get(name) for name in (USER, PASSWORD)}
    os.environ[USER], os.environ[PASSWORD] = login
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def secrets_of(uri: str) -> set[str]:
    """The parts of the URI that must not be shown, as written and as libraries may rewrite them."""
    if uri.startswith("sqlite:") or "://" not in uri:
        return set()
    rest = uri.partition("://")[2]
    user = split_user(rest)[0]
    query = rest.removeprefix(user).partition("?")[2]
    values = [field.partition("=")[2] or field for field in re.split(r"[&#;]", query)]
    name, _, password = user.partition(":")
    given = [user, password or name, query, *values]
    return {form for one in given if one for form in (one, unquote(one), quote(one, safe=""), quote(unquote(one)))}


def without_secrets(text: str, uri: str) -> str:
    """The text on one line, with *** for the secrets of the URI."""
    for secret in sorted(secrets_of(uri), key=len, reverse=True):
        if len(secret) >= SHORT:
            text = text.replace(secret, "***")
    return " ".join(masked(text).split())
