"""Recognise texts that services return instead of an abstract, such as ``No abstract available``."""

from __future__ import annotations

import re

from mechtag.pipeline.reading.text.notices import is_only_notice, says_none

# Fewer letters are a heading, a blurb or the beginning of a sentence.
_FEWEST_LETTERS = 60
# Longer texts contain content, whatever their beginning.
_LONGEST = 600
_PLACEHOLDER = re.compile(
    r"""
      (?:there\ is\ |sorry,\ )?no\ (?:abstract|summary)(?:\ (?:is|was|has|could|for|provided|available)\b|[.,;:])
    | (?:an?\ |the\ )?(?:abstract|summary)\ (?:is\ |was\ )?(?:not\ |un)(?:available|provided|supplied)\b
    | (?:this|the)\ (?:article|paper|item|content|document|chapter|editorial)\ (?:has|contains)\ no\ abstract\b
    | (?:this|the)\ (?:article|paper|item|content|document|chapter|editorial)\ does\ not\ have\ an\ abstract\b
    | (?:please\ )?(?:click|see|refer\ to|read|view|access|purchase|download|buy|subscribe|log\ in|sign\ in|login)\b
        [^.]{0,60}\b(?:article|full\ text|full-text|pdf|title|content|account|access|issue|here)\b
    | (?:first\ page\ preview|preview\ this\ article|this\ is\ a\ preview|graphical\ abstract|abstract\ only)\b
    | (?:you|we)\ (?:do\ not|don't)\ (?:currently\ )?have\ access\b
    | (?:this\ site|this\ website|we)\ uses?\ cookies\b
    | (?:the\ )?full\ text\ of\ this\ (?:article|preview)\b
    """,
    re.VERBOSE | re.IGNORECASE,
)


def is_placeholder(abstract: str) -> bool:
    """Return whether a text is not an abstract: it is very short, or only a notice such as ``No abstract available``.

    Parameters
    ----------
    abstract
        Abstract as the service returned it, cleaned by `text.cleaning.clean_abstract`.
    """
    text = abstract.strip()
    if sum(map(str.isalpha, text)) < _FEWEST_LETTERS or says_none(text) or is_only_notice(text):
        return True
    return len(text) <= _LONGEST and _PLACEHOLDER.match(text) is not None
