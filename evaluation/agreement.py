"""Compute the chance-corrected agreement between coders who answer yes or no.

Every coefficient is (observed - expected) / (1 - expected). Observed and expected agreement are proportions. The
coefficients differ in the agreement that they expect by chance.

All coefficients are computed from counts that are summed over records. For a bootstrap sample, it is therefore
sufficient to multiply the counts of each record by the number of times that the record was drawn.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from mechtag.core.arrays import Array


def ratio(numerator: ArrayLike, denominator: ArrayLike) -> Array:
    """Divide two arrays; return NaN, without a warning, where the denominator is zero or NaN."""
    numerator, denominator = np.broadcast_arrays(np.asarray(numerator, float), np.asarray(denominator, float))
    result = np.full(numerator.shape, np.nan)
    np.divide(numerator, denominator, out=result, where=(denominator != 0) & ~np.isnan(denominator))
    return result


def cohen_kappa(tp: Array, fp: Array, fn: Array, tn: Array) -> Array:
    """Compute Cohen's (1960) kappa of two coders who answer yes or no.

    The four arrays of counts have the same shape.

    Parameters
    ----------
    tp
        Number of items to which both coders answered yes.
    fp
        Number of items to which only the second coder answered yes.
    fn
        Number of items to which only the first coder answered yes.
    tn
        Number of items to which both coders answered no.

    Returns
    -------
    numpy.ndarray
        Kappa, in the same shape. It is NaN where both coders answered yes to every item, or both answered no to every
        item.
    """
    total = tp + fp + fn + tn
    observed = ratio(tp + tn, total)
    expected = ratio((tp + fp) * (tp + fn) + (tn + fp) * (tn + fn), total**2)
    return _beyond(observed, expected)


def alpha_from_coincidences(coincidences: Array) -> Array:
    """Compute Krippendorff's alpha for nominal codes from coincidence matrices.

    Parameters
    ----------
    coincidences
        Shape (..., k, k) for k codes. Entry (i, j) of a matrix is the frequency with which codes i and j occur
        together in an item, as defined by Krippendorff, *Content Analysis* (2004), section 11.3.

    Returns
    -------
    numpy.ndarray
        Alpha of each matrix, shape (...); NaN where only one code was ever used.
    """
    marginals = coincidences.sum(axis=-1)
    total = marginals.sum(axis=-1)
    agreed = np.trace(coincidences, axis1=-2, axis2=-1)
    expected = total**2 - (marginals**2).sum(axis=-1)
    return 1 - ratio((total - 1) * (total - agreed), expected)


def two_coders(both_yes: Array, only_a: Array, only_b: Array, both_no: Array) -> dict[str, Array]:
    """Compute all agreement coefficients of two coders who judged the same items.

    PABAK (Byrt, Bishop and Carlin 1993, doi:10.1016/0895-4356(93)90018-V) takes 1/2 as the agreement that is expected
    by chance. Gwet's AC1 (2008, doi:10.1348/000711006X126600) takes 2p(1 - p), where p is the proportion of yes among
    all answers.

    The four arrays of counts have the same shape.

    Parameters
    ----------
    both_yes
        Number of items to which both coders answered yes.
    only_a
        Number of items to which only the first coder answered yes.
    only_b
        Number of items to which only the second coder answered yes.
    both_no
        Number of items to which both coders answered no.

    Returns
    -------
    dict
        ``agreement``, ``cohen_kappa``, ``pabak``, ``gwet_ac1`` and ``krippendorff_alpha``, each an array of the same
        shape. All are NaN where there are no items. Kappa and alpha are also NaN where both coders answered yes to
        every item, or both answered no to every item.
    """
    total = both_yes + only_a + only_b + both_no
    observed = ratio(both_yes + both_no, total)
    yes = ratio(2 * both_yes + only_a + only_b, 2 * total)
    differing = only_a + only_b
    coincidences = np.stack([np.stack([2 * both_no, differing], -1), np.stack([differing, 2 * both_yes], -1)], -1)
    return {
        "agreement": observed,
        "cohen_kappa": cohen_kappa(both_yes, only_b, only_a, both_no),
        "pabak": 2 * observed - 1,
        "gwet_ac1": _beyond(observed, 2 * yes * (1 - yes)),
        "krippendorff_alpha": alpha_from_coincidences(coincidences),
    }


def tallies(codes: ArrayLike) -> Array:
    """Compute seven terms for each item, whose sums over the items are the input of `many_coders`.

    Parameters
    ----------
    codes
        Shape (coders, ...): 1 for yes, 0 for no, NaN where a coder did not judge an item.

    Returns
    -------
    numpy.ndarray
        Shape (7, ...). The terms of an item are, in this order:

        - ``1`` if any coder judged the item, otherwise ``0``.
        - The proportion of yes among the codes of the item.
        - ``1`` if two or more coders judged the item, otherwise ``0``.
        - The proportion of coder pairs who agree on the item.
        - Three entries of Krippendorff's coincidence matrix: no with no, no with yes, and yes with yes.

        If too few coders judged the item to compute a term, the term is 0.
    """
    codes = np.asarray(codes, float)
    judged = (~np.isnan(codes)).sum(axis=0).astype(float)
    yes = (codes == 1).sum(axis=0).astype(float)
    no = judged - yes
    shared = judged >= 2
    pairs, others = np.where(shared, judged * (judged - 1), 1), np.where(shared, judged - 1, 1)
    no_no, mixed, yes_yes = no * (no - 1), no * yes, yes * (yes - 1)
    return np.stack(
        [
            (judged >= 1).astype(float),
            yes / np.maximum(judged, 1),
            shared.astype(float),
            shared * (no_no + yes_yes) / pairs,
            *(shared * cell / others for cell in (no_no, mixed, yes_yes)),
        ]
    )


def many_coders(sums: Array) -> dict[str, Array]:
    """Compute the agreement coefficients of two or more coders, who need not have judged every item.

    Observed agreement is the proportion of coder pairs who agree, averaged over the items that at least two coders
    judged. The proportion of yes is averaged over the items that at least one coder judged. Alpha omits items that only
    one coder judged.

    Fleiss' kappa (1971, doi:10.1037/h0031619) and AC1 are extended to missing codes as in Gwet, *Handbook of
    Inter-Rater Reliability* (4th edition, 2014), chapters 2 and 3.

    Parameters
    ----------
    sums
        Shape (7, ...): sum over the items of their `tallies`.

    Returns
    -------
    dict
        ``fleiss_kappa``, ``gwet_ac1`` and ``krippendorff_alpha``, each of shape (...). If no item was judged by two
        coders, all are NaN. If all answers are the same, kappa and alpha are NaN, too.
    """
    coded, yes_shares, shared, agreeing, no_no, mixed, yes_yes = sums
    observed, yes = ratio(agreeing, shared), ratio(yes_shares, coded)
    mismatch = 2 * yes * (1 - yes)
    coincidences = np.stack([np.stack([no_no, mixed], -1), np.stack([mixed, yes_yes], -1)], -1)
    return {
        "fleiss_kappa": _beyond(observed, 1 - mismatch),
        "gwet_ac1": _beyond(observed, mismatch),
        "krippendorff_alpha": alpha_from_coincidences(coincidences),
    }


def _beyond(observed: Array, expected: Array) -> Array:
    """Return (observed - expected) / (1 - expected), the agreement corrected for chance."""
    return ratio(observed - expected, 1 - expected)
