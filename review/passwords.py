"""Hash and check passwords, and refuse passwords that are easily guessed."""

from __future__ import annotations

import unicodedata
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from mechtag.review.acts import Refused

#: Smallest number of characters of a password.
SHORTEST = 12
# Largest number of characters; longer passwords would only take more time.
_LONGEST = 256
# Lowest score of zxcvbn that a password must have; 3 means that at least 10^8 guesses are needed.
_SCORE = 3


@cache
def _hasher() -> PasswordHasher:
    # The second choice of OWASP's Password Storage Cheat Sheet for argon2id: 19 MiB, 2 passes, 1 thread.
    return PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)


def hash_password(password: str) -> str:
    """Return the argon2id hash of a password or PIN."""
    return _hasher().hash(_composed(password))


def _composed(password: str) -> str:
    # Some computers send ä as one character, others as two; see section 3.1.1.2 of NIST SP 800-63B-4.
    return unicodedata.normalize("NFC", password)


def is_right(password: str, known: str | None) -> bool:
    """Return whether a password matches a hash.

    ``known`` is the hash. If it is ``None``, the result is ``False``, but the check takes equally long. Its duration
    therefore does not reveal which accounts exist.
    """
    try:
        return _hasher().verify(known or _nobodys(), _composed(password)) and known is not None
    except (VerificationError, InvalidHashError):
        return False


@cache
def _nobodys() -> str:
    return hash_password("of an account that does not exist")


def require_strong(password: str, *known: str) -> None:
    """Refuse a password that is too short, too long or easily guessed.

    Parameters
    ----------
    known
        Words that are easily guessed, such as the name of the person.

    Raises
    ------
    Refused
        If the password is too short, too long or easily guessed.
    """
    from zxcvbn import zxcvbn

    if len(password) < SHORTEST:
        raise Refused(
            f"the password is too short ({len(password)} characters); use at least {SHORTEST} characters, for example "
            "four words"
        )
    if len(password) > _LONGEST:
        raise Refused(f"the password is too long ({len(password)} characters); use {_LONGEST} characters or fewer")
    # Only the beginning is checked, because zxcvbn takes longer for longer passwords.
    found = zxcvbn(password[:72], user_inputs=list(known))
    if found["score"] < _SCORE:
        raise Refused("this password is too easily guessed; use four or more unrelated words")
