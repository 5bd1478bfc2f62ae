"""Store the accounts of people, and the links with which people are invited."""

from __future__ import annotations

import secrets
import unicodedata
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from mechtag.review.access import hashed
from mechtag.review.acts import ROLES, Refused, utc_now
from mechtag.review.store import schema
from mechtag.review.store.events import Act, Draft, append

#: Time for which an invitation is valid.
INVITATION_DAYS = 7
#: Stands for the password of a person whose password was lost with the database; no password matches it.
LOST = "lost"
_LONGEST_NAME = 80


def clean_name(text: str) -> str:
    """Return a person's name without control and direction characters, in one line.

    Raises
    ------
    Refused
        If the cleaned name is empty or too long.
    """
    name = " ".join("".join(char for char in text if unicodedata.category(char)[0] != "C").split())
    if not name:
        raise Refused("enter your name")
    if len(name) > _LONGEST_NAME:
        raise Refused(f"the name has {len(name)} characters; use {_LONGEST_NAME} or fewer")
    return name


def add_account(connection: Connection, name: str, role: str, password: str | None = None) -> int:
    """Add an account for a person, and return its number.

    Parameters
    ----------
    password
        Hash of the password or PIN.

    Raises
    ------
    Refused
        If the role does not exist, or if there is already an account with this name.
    """
    if role not in ROLES:
        raise Refused(f"'{role}' is not a role; use one of {', '.join(ROLES)}")
    table = schema.account
    name = clean_name(name)
    if find_account(connection, name) is not None:
        raise Refused(f"somebody named {name} works on this review already; add an initial or a surname")
    now = utc_now()
    values = {"name": name, "role": role, "password": password, "created": now}
    account = int(connection.execute(insert(table).values(values).returning(table.c.id)).scalar_one())
    # The log alone must say who the people are.
    made = Draft("account", value={"account": account, "name": name, "role": role})
    append(connection, Act(account, str(uuid.uuid4()), now, [made]))
    return account


def find_account(connection: Connection, name: str) -> Any:
    """Return the account with a name, ignoring case, or ``None`` if there is no such account."""
    folded = " ".join(name.split()).casefold()
    rows = connection.execute(select(schema.account)).all()
    return next((row for row in rows if row.name.casefold() == folded), None)


def list_accounts(connection: Connection) -> list[Any]:
    """Return all accounts, sorted by name."""
    return list(connection.execute(select(schema.account).order_by(schema.account.c.name)).all())


def names_of(connection: Connection) -> dict[int, str]:
    """Return the names of all people, keyed by the number of their account and sorted by name."""
    table = schema.account
    rows = connection.execute(select(table.c.id, table.c.name).order_by(table.c.name))
    return {row.id: row.name for row in rows}


def invite(connection: Connection, role: str, made_by: int | None, resets: int | None = None) -> str:
    """Create an invitation or a password reset, and return the token for the link; only the token's hash is stored.

    Parameters
    ----------
    role
        Role of the invited person.
    made_by
        Account number of the person who invites, or ``None`` if mechtag itself creates the link.
    resets
        Account number of the person who gets a new password; ``None`` for an invitation.
    """
    if role not in ROLES:
        raise Refused(f"'{role}' is not a role; use one of {', '.join(ROLES)}")
    token = secrets.token_urlsafe(32)
    until = (datetime.now(UTC) + timedelta(days=INVITATION_DAYS)).isoformat(timespec="seconds")
    values = {"token_sha256": hashed(token), "role": role, "made_by": made_by, "until": until, "resets": resets}
    connection.execute(insert(schema.invitation).values(values))
    return token


def find_invitation(connection: Connection, token: str) -> Any:
    """Return the invitation for a token, if it can still be used.

    Raises
    ------
    Refused
        If the link does not exist or was used or withdrawn, or if it has expired.
    """
    table = schema.invitation
    row = connection.execute(select(table).where(table.c.token_sha256 == hashed(token))).one_or_none()
    if row is None or row.used_by is not None or datetime.fromisoformat(row.until) < datetime.now(UTC):
        raise Refused(
            "this link was used or withdrawn, or has expired; ask the owner of the review for a new link",
            403,
        )
    return row


def use_invitation(connection: Connection, token: str, name: str, password: str) -> int:
    """Create an account as an invitation says or, for a password reset, set the password; return the account number.

    Parameters
    ----------
    password
        Hash of the password.
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
    """Return the invitations and password resets that nobody has used yet and that have not expired."""
    table = schema.invitation
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return list(connection.execute(select(table).where(table.c.used_by.is_(None), table.c.until > now)).all())


def revoke_invitation(connection: Connection, token_sha256: str) -> None:
    """Withdraw an invitation that nobody has used yet."""
    table = schema.invitation
    connection.execute(delete(table).where(table.c.token_sha256 == token_sha256, table.c.used_by.is_(None)))


def set_password(connection: Connection, account: int, password_hash: str) -> None:
    """Store the hash of a person's new password or PIN, and end all sessions of the person."""
    connection.execute(update(schema.account).where(schema.account.c.id == account).values(password=password_hash))
    connection.execute(delete(schema.session).where(schema.session.c.account == account))
