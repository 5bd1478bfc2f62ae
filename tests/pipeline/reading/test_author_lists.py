"""Test tags and cells that contain several authors."""

import pytest

from mechtag.pipeline.reading.author_lists import as_list, split_list
from tests.support.exports import Reader, only


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Oak, J.; Elm, K.; and Ash, L.", ["Oak, J.", "Elm, K.", "Ash, L."]),
        ("Oak, J., Elm, K., and Ash, L.", ["Oak, J.", "Elm, K.", "Ash, L."]),
        ("Oak, J., King, M. L., Jr., & Ash, L.", ["Oak, J.", "King, M. L., Jr.", "Ash, L."]),
        ("Oak JA, van der Elm KB, Ash L, et al.", ["Oak JA", "van der Elm KB", "Ash L"]),
        ("Oak JA and Élan ÉB", ["Oak JA", "Élan ÉB"]),
        ("J. Oak, K. Elm & L. Ash", ["J. Oak", "K. Elm", "L. Ash"]),
        ("Oak, Jane and Elm, Kim", ["Oak, Jane", "Elm, Kim"]),
        ("Oak, Jane, Elm, Kim and Ash, Lou", ["Oak, Jane", "Elm, Kim", "Ash, Lou"]),
        ("Jane Oak, Kim Elm and Lou Ash", ["Jane Oak", "Kim Elm", "Lou Ash"]),
        ("Jane Oak, Kim Elm, Lou Ash", ["Jane Oak", "Kim Elm", "Lou Ash"]),
        ("Oak, Elm and Ash", ["Oak", "Elm", "Ash"]),
        ("Jane Oak|Kim Elm", ["Jane Oak", "Kim Elm"]),
        ("Oak JA, Elm KB, and the Care Group", ["Oak JA", "Elm KB", "the Care Group"]),
    ],
)
def test_lists_become_names(text: str, names: list[str]) -> None:
    assert split_list(text) == names


@pytest.mark.parametrize(
    "name",
    [
        "Oak, Jane",
        "Oak, J",
        "King, Martin L., Jr.",
        "van der Elm, Jan Willem",
        "Centers for Disease Control and Prevention",
        "Food and Drug Administration",
        "Department of Health, Education and Welfare",
        "Care Association, Teams Association",
        "Anderson, Sandy",
        "Oak, Jane, PhD",
    ],
)
def test_one_name_stays_whole(name: str) -> None:
    assert split_list(name) == [name]


def test_every_reader_splits_lists(read: Reader) -> None:
    expected = ("Oak, J.", "Elm, K.", "Ash, L.")
    for text in (
        "TY  - JOUR\nTI  - One\nAU  - Oak, J., Elm, K., and Ash, L.\nER  - \n",
        'title,authors\nOne,"Oak, J., Elm, K., and Ash, L."\n',
        "%0 Journal Article\n%T One\n%A Oak, J., Elm, K., and Ash, L.\n",
        '[{"title": "One", "authors": ["Oak, J., Elm, K., and Ash, L."]}]',
    ):
        assert only(read(text)).authors == expected


def test_half_a_character_in_a_list_is_replaced() -> None:
    assert as_list(r"['lea\ud800der', 'caf\u00e9']") == ["lea?der", "café"]
