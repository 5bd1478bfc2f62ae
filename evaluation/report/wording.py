"""What figures rest on, in plain words: the kinds of text that the tool was given."""

from __future__ import annotations

from collections.abc import Mapping

#: What reports call each kind of text, one and many.
KINDS = {
    "synopses": ("synopsis of an abstract in other words", "synopses of abstracts in other words"),
    "invented": ("invented abstract", "invented abstracts"),
    "published": ("published abstract", "published abstracts"),
    "unknown": ("text of unknown kind", "texts of unknown kind"),
}


def describe_texts(texts: Mapping[str, int]) -> str:
    """Say that figures rest on synopses or invented texts; empty where they do not, or nobody said.

    Parameters
    ----------
    texts
        How many records there are of each of ``KINDS``.
    """
    if not texts.get("synopses") and not texts.get("invented"):
        return ""
    parts = [f"{texts[kind]} {KINDS[kind][texts[kind] != 1]}" for kind in KINDS if texts.get(kind)]
    listed = " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
    if texts.get("published") or texts.get("unknown"):
        return f"The texts are {listed}. On published abstracts alone the figures may differ."
    return f"The texts are {listed}. None is a published abstract, and on those the figures may be lower."


def describe_coverage(coverage: Mapping[str, int]) -> str:
    """Say how many papers of a gold standard were read as synopses; empty for none.

    Parameters
    ----------
    coverage
        How many papers were read by ``abstract``, ``synopsis`` or ``title_only``, or not at all (``none``).
    """
    if not coverage["synopsis"]:
        return ""
    papers = coverage["abstract"] + coverage["synopsis"] + coverage["title_only"]
    return (
        f"For {coverage['synopsis']} of the {papers} papers that were read, the text is a synopsis in other words, "
        "not the published abstract; on the abstracts themselves the figures may differ."
    )
