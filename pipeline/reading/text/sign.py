"""Decide whether a sentence says that something is present, or that it is absent.

Something also counts as absent if it is weak, denied or failing. For example, *the partners had no shared budget* and
*the partners shared a budget* support the same label, with opposite signs.

By default, words alone decide (`by_words`). First, expressions such as *not only* or *without blame* are set aside. If
a word that expresses lack remains, the sign is ``absent``. In a sentence with *but* or *although*, the main statement
decides.

The words were chosen on the coded records. ``python -m benchmarks.sign`` measures how well the words work on other
sentences: only a half to three quarters of the sentences with the sign ``absent`` are really about absence. Absence
that is expressed without such words (*each agency kept its own records*) is not found. `sign_by_vectors` also finds
absence of this kind, but needs the encoder named ``accurate``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Literal

Sign = Literal["present", "absent"]
#: Function that returns the signs of sentences, in their order.
ReadSigns = Callable[[Sequence[str]], Sequence[Sign]]

# Words of lack, as regular expressions.
_LACKING = (
    # Quantity
    r"lack(?:s|ed|ing)?",
    r"absen(?:t|ce)",
    r"missing|scarc\w+|shortages?|gaps?|vacanc\w+|turnover",
    r"(?:was|were|is|are|ran|fell|falls) short",
    r"short (?:funding|of|on)",
    r"too (?:few|little|seldom|rarely|late|narrow|weak|small|slow|vague|busy|many|much)",
    r"insufficien\w+|inadequa\w+|deficien\w+|limited|narrow|nominal|in name only|wanting",
    r"little|few (?:\w+ )?(?:had|were|knew|felt|took|could|saw|of|considered|leaders|managers)",
    # Negation
    r"no|not|\w+n['’]t|cannot|never|neither|none|nobody|no[- ]one|nothing|without",
    r"seldom|rarely|hardly|scarcely|barely|infrequent\w*",
    r"un(?:clear|defined|resolved|willing\w*|able|equal\w*|aware|supported|certain\w*|addressed|settled|heard)",
    r"un(?:informed|prepared|trained|funded|met|accountable|coordinated|recogni[sz]ed)",
    r"under-?(?:represented|resourced|funded)",
    # Weakness and failure
    r"weak(?:ness\w*|en\w*|ly)?|poor(?:ly)?|faulty|ineffective\w*",
    r"fail(?:ed|s|ing|ures?)?|collaps\w+|broke down|broken down|stall\w*|erod\w+|deteriorat\w+",
    r"undermin\w+|jeopardi[sz]\w+",
    r"hamper\w*|hinder\w*|hindrances?|obstacles?|barriers?|imped\w+|constrain\w*",
    r"held (?:it |them )?back|strain(?:s|ed)?",
    # Refusal and exclusion
    r"reluctan\w+|resist(?:ed|ance|ing|s)|refus\w+|declin(?:ed|es|ing)|withheld|with(?:drew|drawn|drawal)",
    r"marginali[sz]\w+|exclud\w+|sidelin\w+|belittl\w+|bypass\w+|ignor(?:ed|ing|es)|overlook\w*|neglect\w*",
    r"dominat\w+|monopoli[sz]\w+|command-and-control|self-interest|rivalr\w+|tribalism|(?:mis|dis)trust\w*",
    # Disorder
    r"contested|disputed|fragment\w+|contradict\w+|conflicting|incompatib\w+|inconsisten\w+",
    r"incoheren\w+|dual accountability",
    r"opaque|vague\w*|ambigu\w+|blurred|confus\w+|bewilder\w+|frustrat\w+",
)
# Expressions with a word of lack that say of nothing that it is lacking.
_SET_ASIDE = (
    r"not (?:only|merely|just|simply|solely|exclusively|alone|necessarily)",
    r"(?:and|but|,) not (?:as|by|to|the|a|an|in|at|for|from|on|with|of)",
    r"(?:rather than|instead of|than) [^,;.]*",
    r"(?:not|never|hardly|not therefore|therefore not) be (?:under|over)\w+",
    r"(?:should|must|ought|need|can) not (?:be|become|remain|rest|lie|stay) (?:the|a|an|with|in) [^,;.]*",
    r"not the (?:property|monopoly|preserve|task|business|job|work) of",
    r"no (?:doubt|less|one (?:type|style|way|model|size|profession|person|form) )",
    r"(?:never|not) (?:stop\w*|ceas\w+|vary|end|tire|give up|as finished|impose\w*|dictate\w*|take sides|hide|hesitate"
    r"|stay the same)",
    r"without (?:\w+ ){0,3}?(?:los\w+|blam\w+|interrupt\w+|withdraw\w*|delay\w*|tak\w+ over|legislation|fear|harm"
    r"|titles?|exception|hesitation|abandon\w+|giv\w+ up|dominat\w+|impos\w+|prejudice|reprisals?"
    r"|punish\w+|hierarchy|friction)",
    r"(?:convinc|persuad|reassur|engag|motivat)\w+ (?:\w+ ){0,2}?(?:reluctant|resist\w+|sceptic\w+|hesitant|unwilling)",
    r"(?:over(?:came|com\w+)|remov\w+|resolv\w+|reduc\w+|eas(?:ed|es|ing)|settl\w+|mediat\w+|address\w+|lower\w*"
    r"|prevent\w*|handl\w+|manag\w+|deal\w* with|dealt with|navigat\w+|bridg\w+|clos\w+|fill(?:ed|s|ing)?(?: in)?"
    r"|counter\w*|mitigat\w+|lessen\w*|avoid\w*|revers\w+) (?:\w+ ){0,3}?(?:resistance|barriers?|obstacles?|conflict\w*"
    r"|gaps?|confusion|reluctance|uncertaint\w+|ambiguit\w+|mistrust|distrust|weakness\w*|rivalr\w+|fragmentation"
    r"|contradictions?)",
    r"(?:where|when|because|over whom they have) (?:no|nobody|none|no one) [^,;.]*",
    r"otherwise (?:had |have |would )?(?:no|never|not) [^,;.]*",
    r"(?:seldom|rarely|not) (?:through|by) (?:hierarchy|command|orders?|force)",
    r"do(?:es)? not suffice|necessary but insufficient|whose absence [^,;.]*",
    r"in spite of [^,;.]*",
    r"(?:lead\w*|influence) without (?:formal )?authority",
)
_LACK = re.compile(rf"\b(?:{'|'.join(_LACKING)})\b", re.I)
_HARMLESS = re.compile(rf"(?:\b|(?=,))(?:{'|'.join(_SET_ASIDE)})\b", re.I)
_BUT = re.compile(r"\b(?:but|yet|however|nevertheless|nonetheless)\b", re.I)
_ALTHOUGH = re.compile(r"\b(?:although|though|while|whereas|despite)\b[^,;.]*", re.I)
# Fewer words than these are no statement of their own.
_STATEMENT = 4


def sign_of(sentence: str) -> Sign:
    """Return the sign of an English sentence that is evidence for a label, based on the words of the sentence.

    The sign is ``absent`` if the sentence says that what the label describes is lacking, weak, refused or insufficient.
    Otherwise, the sign is ``present``. A recommendation counts as ``present``.
    """
    if not _says_lack(sentence):
        return "present"
    parts = _statements(_BUT.split(sentence))
    main = _statements(_ALTHOUGH.sub(" ", part) for part in parts)
    return "absent" if all(map(_says_lack, [*parts[-1:], *main[-1:]])) else "present"


def by_words(sentences: Sequence[str]) -> list[Sign]:
    """Return the sign of each sentence, ``present`` or ``absent``, as `sign_of` decides it."""
    return list(map(sign_of, sentences))


def word_features(sentence: str) -> tuple[float, ...]:
    """Return numbers that describe the words of a sentence.

    From these numbers, a classifier learns to recognise sentences about the absence of something.
    """
    rest = _HARMLESS.sub(" ", sentence)
    return (
        float(_says_lack(sentence)),
        float(sign_of(sentence) == "absent"),
        float(bool(_LACK.search(sentence))),
        float(rest != sentence),
        float(len(_LACK.findall(rest))),
        float(len(_statements(_BUT.split(sentence))) > 1),
    )


def absence_in(signs: Iterable[Sign]) -> Literal["absent", "partly absent", ""]:
    """Return ``absent`` if all signs are ``absent``, ``partly absent`` if only some are, and ``""`` if none is.

    Even if no sign is ``absent``, something may be absent: mechtag does not recognise every statement of absence.
    """
    found = set(signs)
    if "absent" not in found:
        return ""
    return "absent" if len(found) == 1 else "partly absent"


def _statements(parts: Iterable[str]) -> list[str]:
    return [part for part in parts if len(part.split()) >= _STATEMENT]


def _says_lack(text: str) -> bool:
    return bool(_LACK.search(_HARMLESS.sub(" ", text)))
