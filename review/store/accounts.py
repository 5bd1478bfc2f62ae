"""Store the accounts of people, and the links with which people join a review or choose a new password."""

from __future__ import annotations

import secrets
import unicodedata
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Select, delete, insert, select, update

from mechtag.review.access import hashed
from mechtag.review.acts import ROLES, Refused, utc_now
from mechtag.review.store import schema
from mechtag.review.store.events import Act, Draft, append

#: Number of days for which an invitation is valid.
INVITATION_DAYS = 7
#: Value in the column ``password`` if the password was lost with the database; no password matches it.
LOST = "lost"
_LONGEST_NAME = 80


def clean_name(text: str) -> str:
    """Return a person's name in one line, without invisible characters such as control characters.

    Raises
    ------
    Refused
        If the cleaned name is empty or too long.
    """
    composed = unicodedata.normalize("NFC", text)
    name = " ".join("".join(char for char in composed if unicodedata.category(char)[0] != "C").split())
    if not name:
        raise Refused("enter your name")
    if len(name) > _LONGEST_NAME:
        raise Refused(f"the name is too long ({len(name)} characters); use {_LONGEST_NAME} characters or fewer")
    return name


def add_account(connection: Connection, name: str, role: str, password: str | None = None) -> int:
    """Add an account for a person, log this as an event, and return the number of the account.

    Parameters
    ----------
    password
        Hash of the password or PIN, or ``None`` if the person has none.

    Raises
    ------
    Refused
        If the role does not exist, the name is empty or too long, or another account has this name.
    """
    if role not in ROLES:
        raise Refused(f"'{role}' is not a role; use one of {', '.join(ROLES)}")
    table = schema.account
    name = clean_name(name)
    if find_account(connection, name) is not None:
        raise Refused(f"another person in this review has the name {name}; add an initial or a surname")
    now = utc_now()
    values = {"name": name, "role": role, "password": password, "created": now}
    account = int(connection.execute(insert(table).values(values).returning(table.c.id)).scalar_one())
    # The log must contain the people too, so that the database can be restored from it.
    made = Draft("account", value={"account": account, "name": name, "role": role})
    append(connection, Act(account, str(uuid.uuid4()), now, [made]))
    return account


def find_account(connection: Connection, name: str) -> Any:
    """Return the row of table ``account`` with the given name, or ``None`` if there is no such account.

    Upper and lower case are not distinguished.
    """
    folded = unicodedata.normalize("NFC", " ".join(name.split())).casefold()
    rows = connection.execute(select(schema.account)).all()
    return next((row for row in rows if unicodedata.normalize("NFC", row.name).casefold() == folded), None)


def list_accounts(connection: Connection) -> list[Any]:
    """Return all rows of table ``account``, sorted by name."""
    return list(connection.execute(select(schema.account).order_by(schema.account.c.name)).all())


def withdrawn() -> Select[int]:
    """Return a query for the account numbers of withdrawn people, whose codes do not count."""
    table = schema.account
    return select(table.c.id).where(table.c.state == "withdrawn")


def names_of(connection: Connection) -> dict[int, str]:
    """Return the names of all people, keyed by account number and sorted by name."""
    table = schema.account
    rows = connection.execute(select(table.c.id, table.c.name).order_by(table.c.name))
    return {row.id: row.name for row in rows}


def invite(connection: Connection, role: str, made_by: int | None, resets: int | None = None) -> str:
    """Create an invitation or a password reset, and return the secret token for its link.

    The database stores only the hash of the token.

    Parameters
    ----------
    role
        Role of the invited person.
    made_by
        Account number of the person who invites, or ``None`` if mechtag itself creates the link.
    resets
        Account number of the person who is to choose a new password; ``None`` for an invitation.

    Raises
    ------
    Refused
        If the role does not exist.
    """
    if role not in ROLES:
        raise Refused(f"'{role}' is not a role; use one of {', '.join(ROLES)}")
    token = secrets.token_urlsafe(32)
    until = (datetime.now(UTC) + timedelta(days=INVITATION_DAYS)).isoformat(timespec="seconds")
    values = {"token_sha256": hashed(token), "role": role, "made_by": made_by, "until": until, "resets": resets}
    connection.execute(insert(schema.invitation).values(values))
    return token


def find_invitation(connection: Connection, token: str) -> Any:
    """Return the row of table ``invitation`` for the token in a link that invites a person or resets a password.

    Raises
    ------
    Refused
        If there is no such link, or if it has been used, was withdrawn or has expired.
    """
    table = schema.invitation
    row = connection.execute(select(table).where(table.c.token_sha256 == hashed(token))).one_or_none()
    if row is None or row.used_by is not None or datetime.fromisoformat(row.until) < datetime.now(UTC):
        raise Refused(
            "this link is not valid: it has been used, was withdrawn, has expired or is incomplete; ask the owner of "
            "the review for a new link",
            403,
        )
    return row


def use_invitation(connection: Connection, token: str, name: str, password: str) -> int:
    """Create the account of an invited person or, for a password reset, set the new password.

    Parameters
    ----------
    token
        Token of the link.
    name
        Name of the invited person; ignored for a password reset.
    password
        Hash of the password.

    Returns
    -------
    int
        Number of the account.

    Raises
    ------
    Refused
        For the same reasons as `find_invitation` and `add_account`.
    """
    row = find_invitation(connection, token)
    if row.resets is None:
        account = add_account(connection, name, row.role, password)
    else:
        account = int(row.resets)
        set_password(connection, account, password)
    table = schema.invitation
    connection.execute(update(table).where(table.c.token_sha256 == row.token_sha256).values(used_by=account))
    return account


def open_invitations(connection: Connection) -> list[Any]:
    """Return the rows of table ``invitation`` for links that have neither been used nor expired.

    The rows contain invitations and password resets.
    """
    table = schema.invitation
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return list(connection.execute(select(table).where(table.c.used_by.is_(None), table.c.until > now)).all())


def revoke_invitation(connection: Connection, token_sha256: str) -> None:
    """Delete an invitation or a password reset that nobody has used.

    ``token_sha256`` is the hash of the token in the link of the invitation or password reset.
    """
    table = schema.invitation
    connection.execute(delete(table).where(table.c.token_sha256 == token_sha256, table.c.used_by.is_(None)))


def set_password(connection: Connection, account: int, password_hash: str) -> None:
    """Store the hash of a person's new password or PIN, and end all sessions of the person."""
    connection.execute(update(schema.account).where(schema.account.c.id == account).values(password=password_hash))
    connection.execute(delete(schema.session).where(schema.session.c.account == account))
