"""Control access to the review page: sessions, roles, checks of requests, and security headers of responses."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import Connection, delete, insert, select, update

from mechtag.review.acts import CODING_ROLES, ROLES, Refused, utc_now
from mechtag.review.store import schema
from mechtag.review.store.engine import Store

_EVERYBODY = frozenset(ROLES)
_CODERS = frozenset(CODING_ROLES)
_LEADS = frozenset(("owner", "adjudicator"))
_OWNER = frozenset(("owner",))
#: Roles that may call each route, by the name of the route. A route without an entry cannot be added.
MATRIX: Mapping[str, frozenset[str]] = {
    "home": _EVERYBODY,
    "screen": _CODERS,
    "screen_decide": _CODERS,
    "screen_skip": _CODERS,
    "words": _CODERS,
    "own_words": _CODERS,
    "code": _CODERS,
    "code_new": _CODERS,
    "code_answer": _CODERS,
    "code_mark": _CODERS,
    "code_sign": _CODERS,
    "code_example": _CODERS,
    "code_role": _CODERS,
    "code_link": _CODERS,
    "code_rest": _CODERS,
    "code_suggestion": _CODERS,
    "code_done": _CODERS,
    "code_skip": _CODERS,
    "decisions": _CODERS,
    "note": _CODERS,
    "read_mention": _EVERYBODY,
    "undo": _CODERS,
    "redo": _CODERS,
    "reconcile": _LEADS,
    "reconcile_list": _LEADS,
    "conflict": _LEADS,
    "settle": _LEADS,
    "preview_codes": _OWNER,
    "take_codes": _OWNER,
    "reopen": _LEADS,
    "unblind": _LEADS,
    "comment": _LEADS,
    "team": _EVERYBODY,
    "invite": _OWNER,
    "reset": _OWNER,
    "revoke": _OWNER,
    "change_person": _OWNER,
    "add_person": _OWNER,
    "switch_person": _EVERYBODY,
    "password": _EVERYBODY,
    "sign_out": _EVERYBODY,
    "records": _EVERYBODY,
    "record": _EVERYBODY,
    "tag": _CODERS,
    "tag_several": _CODERS,
    "edit_record": _CODERS,
    "activity": _EVERYBODY,
    "activity_csv": _EVERYBODY,
    "settings": _EVERYBODY,
    "change_settings": _OWNER,
    "stop": _OWNER,
    "resume": _OWNER,
    "export": _EVERYBODY,
    "make_export": _EVERYBODY,
    "download": _EVERYBODY,
    "codebook": _EVERYBODY,
    "edit_codebook": _OWNER,
    "change_codebook": _OWNER,
    "look_again": _OWNER,
    "learn": _LEADS,
    "learn_changes": _LEADS,
    "start_learning": _OWNER,
    "roll_back": _OWNER,
    "compute_curve": _LEADS,
    "flow": _LEADS,
    "enter_flow": _LEADS,
    "flow_file": _LEADS,
    "exercise": _EVERYBODY,
    "start_exercise": _OWNER,
    "end_exercise": _OWNER,
    "matrix": _EVERYBODY,
    "roles": _EVERYBODY,
    "accuracy": _EVERYBODY,
    "compute_accuracy": _LEADS,
    "accuracy_file": _EVERYBODY,
    "jobs": _EVERYBODY,
    # Each person, the jobs of the kinds that this person may start; see `mechtag.review.pages.jobs`.
    "cancel_job": _EVERYBODY,
    "import": _LEADS,
    "import_upload": _LEADS,
    "import_one": _LEADS,
    "import_act": _LEADS,
    "abstracts": _LEADS,
    "fetch_abstracts": _LEADS,
    "full_texts": _EVERYBODY,
    "full_texts_upload": _CODERS,
    "full_texts_file": _CODERS,
    "full_texts_attach": _CODERS,
    "full_texts_download": _EVERYBODY,
    "full_texts_detach": _CODERS,
    "full_texts_delete": _CODERS,
    "delete_full_text": _CODERS,
    "full_texts_read": _EVERYBODY,
    "codings": _LEADS,
    "codings_upload": _LEADS,
    "codings_one": _LEADS,
    "codings_act": _LEADS,
    "merge": _OWNER,
    "merge_upload": _OWNER,
    "merge_one": _OWNER,
    "merge_act": _OWNER,
    "duplicates": _CODERS,
    "duplicates_decide": _LEADS,
    "groups": _CODERS,
    "groups_split": _LEADS,
    "keys": _EVERYBODY,
    "keys_choose": _EVERYBODY,
    "keys_change": _EVERYBODY,
}

# Idle and longest time of a session.
_IDLE = timedelta(hours=12)
_LONGEST = timedelta(days=30)

#: Sent with every response. No script, style, image or connection from elsewhere, and no page may frame this one.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    # With no-referrer, browsers would send the origin of forms as null, so that it could not be checked.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), clipboard-read=(), payment=(), usb=()",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True)
class Person:
    """The person who is signed in.

    Attributes
    ----------
    id
        Number of the person's account.
    csrf
        Token that every form in the person's session must contain. It protects against cross-site request forgery.
    """

    id: int
    name: str
    role: str
    csrf: str

    def may(self, route: str) -> bool:
        """Return whether the person's role allows access to the route with this name, such as ``settle``."""
        return self.role in MATRIX[route]


def hashed(token: str) -> str:
    """Return the SHA-256 hash of a token, in hexadecimal digits; only this hash is stored."""
    return hashlib.sha256(token.encode()).hexdigest()


def same(given: str, expected: str) -> bool:
    """Compare two secrets in constant time, and return whether they are equal."""
    return hmac.compare_digest(given.encode(), expected.encode())


def check_key(given: str, expected: str | None) -> None:
    """Check the secret key in the start address, which mechtag prints in the terminal.

    Parameters
    ----------
    given
        Key that the browser sent.
    expected
        Key that mechtag created when it was started. ``None`` if there is no start address, because the page is served
        to a team.

    Raises
    ------
    Refused
        If the keys differ, or if there is no start address; the error has status 403.
    """
    if expected is None or not same(given, expected):
        raise Refused(
            "the key in this address is wrong or no longer valid; open the address that mechtag printed in the "
            "terminal",
            403,
        )


def open_session(connection: Connection, account: int, agent: str = "") -> str:
    """Start a session for a person, and return the secret token of the session.

    Parameters
    ----------
    account
        Number of the person's account.
    agent
        Value of the header ``User-Agent``, with which the browser describes itself.
    """
    token = secrets.token_urlsafe(32)
    now = utc_now()
    values = {"token_sha256": hashed(token), "account": account, "csrf": secrets.token_urlsafe(32)}
    connection.execute(insert(schema.session).values({**values, "created": now, "seen": now, "agent": agent[:200]}))
    return token


def person_of(store: Store, token: str | None) -> Person | None:
    """Return the person who is signed in with a session token.

    Returns ``None`` if there is no such session, if the session has expired, or if the person may no longer sign in.
    """
    if not token:
        return None
    session, account = schema.session, schema.account
    with store.read() as connection:
        row = connection.execute(
            select(session, account.c.name, account.c.role, account.c.state)
            .join(account, account.c.id == session.c.account)
            .where(session.c.token_sha256 == hashed(token))
        ).one_or_none()
    if row is None or row.state != "active":
        return None
    now = datetime.now(UTC)
    seen = datetime.fromisoformat(row.seen)
    if now - seen > _IDLE or now - datetime.fromisoformat(row.created) > _LONGEST:
        end_session(store, token)
        return None
    if now - seen > timedelta(minutes=5):
        with store.write() as connection:
            connection.execute(update(session).where(session.c.token_sha256 == hashed(token)).values(seen=utc_now()))
    return Person(row.account, row.name, row.role, row.csrf)


def end_session(store: Store, token: str) -> None:
    """End the session to which a token belongs."""
    with store.write() as connection:
        connection.execute(delete(schema.session).where(schema.session.c.token_sha256 == hashed(token)))


def check_request(method: str, headers: Mapping[str, str], hosts: frozenset[str], scheme: str) -> None:
    """Refuse a request if its host name is unknown, or if it would change data and comes from a different website.

    Parameters
    ----------
    hosts
        Host names, with port, under which the page is served. The check protects against DNS rebinding.
    scheme
        ``http`` or ``https``.

    Raises
    ------
    Refused
        If the request is refused; the error has status 403.
    """
    host = headers.get("host", "")
    if host not in hosts:
        raise Refused(
            f"this page is not served under the name '{host}'; open the address that mechtag printed in the terminal",
            403,
        )
    if method in ("GET", "HEAD"):
        return
    origin = headers.get("origin")
    if origin is not None:
        parts = urlsplit(origin)
        if (parts.scheme, parts.netloc) != (scheme, host):
            raise _foreign()
    elif headers.get("sec-fetch-site", "same-origin") != "same-origin":
        raise _foreign()


def _foreign() -> Refused:
    return Refused(
        "this request was sent by a different web page, so it was refused; open the address that mechtag printed in "
        "the terminal",
        403,
    )


def check_form(person: Person, form: Mapping[str, Any], headers: Mapping[str, str]) -> None:
    """Refuse a form that does not contain the person's CSRF token.

    The token is read from the field ``csrf`` of the form. If the form has no such field, the token is read from the
    header ``X-CSRF``.

    Raises
    ------
    Refused
        If the token is missing or wrong; the error has status 403.
    """
    given = str(form.get("csrf") or headers.get("x-csrf", ""))
    if not same(given, person.csrf):
        raise Refused(
            "this form belongs to an earlier session, so it was not saved; reload the page and repeat what you did",
            403,
        )
