"""Remove reference numbers that are attached to words.

In the paper, these numbers are superscripts. They become plain text when the file is read.
"""

from __future__ import annotations

import re

# One or more numbers after a word of at least three letters, with or without punctuation between: 'care12,13',
# 'agreed.4 The'. Words such as 'H1N1', 'CO2' and 'cm2' have fewer small letters before the number, and years have four
# digits.
_GLUED = re.compile(r"([a-z]{3}[.,;:)\]’”\"]?)\d{1,3}(?:[,–‒-]\d{1,3}){0,20}(?![\w%°‰-]|[.,]\d)")


def without_reference_numbers(text: str) -> str:
    """Return a sentence without the reference numbers attached to its words: 'care12,13 and' becomes 'care and'.

    The result is used only for scoring. Quotations keep the numbers.
    """
    return _GLUED.sub(r"\1", text)
