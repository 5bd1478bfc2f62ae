"""Test BibTeX as reference managers write it, with all kinds of macros and with damage."""

import pytest

from mechtag.pipeline.reading.formats import bibtex
from mechtag.pipeline.reading.formats.bibtex import plain
from mechtag.pipeline.reading.text.cleaning import clean_text
from tests.support.exports import Reader, notes, only, rejected


@pytest.mark.parametrize(
    ("latex", "text"),
    [
        # Braces keep the signs of a ligature apart, with and without a macro in the text.
        ("a -{}- `{}`b'{}' -- ``c''", "a -- ``b'' – “c”"),
        (r"a -{}- `{}`b'{}' \& c", "a -- ``b'' & c"),
        (r"{\textgreater}65, {\textless}two, a {\textbar} b, P{\textless}0.001", ">65, <two, a | b, P<0.001"),
        (r"CI $<$0.5, P$>$0.1, $\sim$5, $\pm$3, $\mu$g", "CI <0.5, P>0.1, ∼5, ±3, μg"),
        (r"{\textasciitilde}5\% \~{}x 10\^{}6 {\~} {\textasciicircum}", "~5% ~x 10^6 ~ ^"),
        (r"\{a\} {\textbraceleft}b{\textbraceright} {\textbackslash}", r"{a} {b} " + "\\"),
        (r"{\textquotedbl}so{\textquotedbl} {\textunderscore} {\textperiodcentered}", '"so" _ ·'),
        (r"{\textregistered} {\texttrademark} {\textdegree} {\texteuro} {\textonehalf}", "® ™ ° € ½"),
        (r"{\textemdash} {\textendash} {\ldots} {\guillemotleft} {\texttwosuperior}", "— – … « ²"),
        (
            r"\enquote{so} \mkbibemph{it} \nicefrac{1}{2} \SI{5}{mg} \url{https://x.example}",
            "“so” it 1/2 5 mg https://x.example",
        ),
        (r"{\$}50 and $50 to $60", "$50 and $50 to $60"),
        (r"{\cyrchar\CYRA} {\cyrchar\cyrb}", "А б"),
        (r"\copyright\ 2010, \pounds 5, {\euro}5, \S\,3, \LaTeX{} 37{\celsius}", "© 2010, £5, €5, § 3, LaTeX 37°C"),
        (
            r"\mbox{one} \textsf{two} \textup{three} \foreignlanguage{german}{vier} $\mathbf{p}$-value",
            "one two three vier p-value",
        ),
        (r"\glqq gut\grqq{} \flqq bon\frqq{} {\lbrack}a{\rbrack} a\quad b", "„gut“ «bon» [a] a b"),
        (r"fran\c\ cais \v~x a\c{ }b a\'\ b", "fran cais x a b a´ b"),
    ],
)
def test_macros_keep_their_character(latex: str, text: str) -> None:
    assert clean_text(plain(latex)) == clean_text(text)


@pytest.mark.parametrize(
    "latex",
    [
        r"CO$_2$, H$_{\textrm{2}}$O, 10$^{6}$, 10$^{-3}$, 37$^\circ$C, x$^2$",
        r"CO\textsubscript{2}, H$_{2}$O, 10\textsuperscript{6}, 10$^{-3}$, 37$^{\circ}$C, $x^2$",
        r"$\mathrm{CO_2}$, \ensuremath{H_2}O, $10^6$, \ensuremath{10^{-3}}, 37{\textdegree}C, x{\texttwosuperior}",
    ],
)
def test_superscripts_and_subscripts_are_plain_characters(read: Reader, latex: str) -> None:
    expected = "CO2, H2O, 10⁶, 10⁻³, 37°C, x²"
    assert only(read(f"@article{{a, title = {{{latex}}}}}")).title == expected


def test_other_formats_write_superscripts_and_subscripts_alike(read: Reader) -> None:
    tagged = "10<sup>6</sup> of CO<sub>2</sub>, x<sup>-2</sup>"
    styled = (
        '10<style face="superscript">6</style><style face="normal"> of CO</style><style face="subscript">2</style>, '
        'x<style face="superscript">-2</style>'
    )
    for text in (
        f"TY  - JOUR\nTI  - {tagged}\nER  - \n",
        f"<xml><records><record><rec-number>1</rec-number><titles><title>{styled}</title></titles></record></records></xml>",
        "<PubmedArticleSet><PubmedArticle><MedlineCitation><PMID>7</PMID><Article>"
        f"<ArticleTitle>{tagged}</ArticleTitle></Article></MedlineCitation></PubmedArticle></PubmedArticleSet>",
    ):
        assert only(read(text)).title == "10⁶ of CO2, x⁻²"


@pytest.mark.parametrize(
    "latex",
    [
        r"\href{x}",
        r"\href",
        r"\frac{1}",
        r"\'",
        r"\begin{foo}",
        r"\qux",
        r"\verb|",
        r"\[",
        r"$\frac$",
        r"\textsuperscript",
    ],
)
def test_a_broken_macro_costs_no_other_text(read: Reader, latex: str) -> None:
    one, two = read(f"@article{{a, title={{Before {latex}}}, year=2001}}\n@article{{b, title={{Two}}}}").records
    assert one.title.startswith("Before")
    assert (one.year, two.title) == (2001, "Two")


def test_links_keep_their_text() -> None:
    assert plain(r"see \href{https://x.example/a}{the {web} site}") == "see the web site"


def test_an_error_of_the_converter_costs_macros_only(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise KeyError("2")

    monkeypatch.setattr(bibtex, "_converter", fail)
    assert plain(r"A \emph{new} {\alpha} way") == "A new  way"


@pytest.mark.parametrize(
    "entry",
    [
        "@article{a,\n title = {One} of them},\n year = {2001},\n doi = {10.5555/a},\n author = {Oak, Ann}\n}",
        "@article{a, title = {One of them}}, year = {2001}, doi = {10.5555/a}, author = {Oak, Ann}}",
        "@article{a, title = {One {of} them} author = {Oak, Ann} year = 2001 doi = {10.5555/a}}",
        "@article{a,\n title = {One of them}\n author = {Oak, Ann}\n year = 2001\n month = mar\n doi = {10.5555/a}\n}",
        '@article{a, title = "One of them" author = "Oak, Ann", year = 2001, doi = "10.5555/a"}',
        "@article{a,\n title = {One {of them},\n author = {Oak, Ann},\n year = {2001},\n doi = {10.5555/a}}\n}",
        "@article{a,\n title = {One of them};\n author = {Oak, Ann};\n x = {b}\n year = {2001};\n doi = {10.5555/a}\n}",
        "@article{a, title = {One of them}, year = 2001 month = mar, author = {Oak, Ann}, doi = {10.5555/a}}",
    ],
)
def test_a_stray_brace_or_forgotten_comma_loses_no_field(read: Reader, entry: str) -> None:
    found = read(f"{entry}\n@article{{b, title = {{Two}}, year = 2002}}\n")
    one, two = found.records
    assert (one.title, one.authors, one.year, one.doi) == ("One of them", ("Oak, Ann",), 2001, "10.5555/a")
    assert (two.title, two.year) == ("Two", 2002)
    assert notes(found) == ["a brace or comma is missing or superfluous, so the fields were separated at their names"]


def test_text_that_looks_like_a_field_stays_text(read: Reader) -> None:
    found = read(
        "@article{a, title = {One, year = unknown, number = 5}, abstract = {With\n n = 20,\n type = good},\n"
        " year = 2001}\n% title = {A comment}\n% year = {1999}\n@article{b, title = {Two}}"
    )
    one, two = found.records
    assert (one.title, one.abstract, one.year) == ("One, year = unknown, number = 5", "With n = 20, type = good", 2001)
    assert (two.title, notes(found)) == ("Two", [])


@pytest.mark.parametrize(
    "entry",
    ["@article{a title = {One}}", "@article{a,\n title {One}\n}", "@article{a,\n title = {One {two},\n year = 2001}"],
)
def test_what_cannot_be_repaired_is_rejected_whole(read: Reader, entry: str) -> None:
    found = read(f"{entry}\n@article{{b, title = {{Two}}}}")
    assert only(found).title == "Two"
    [rejection] = found.rejected
    assert "One" in str(rejection.raw)
    assert len(rejected(found)) == 1


_ENTRIES = [
    f"@article{{k{year},\n  author={{Lee, A}},\n  title = {{{title}}},\n  year={{{year}}}\n}}\n"
    for title, year in (("One", 2001), ("Two", 2002), ("Three", 2003))
]


@pytest.mark.parametrize("above", ["", "% Encoding: UTF-8\n\n", "@string{x = {y}}\n"])
@pytest.mark.parametrize("between", ["", "\n", "A remark on title and year.\n"])
@pytest.mark.parametrize("without", [(0,), (1,), (2,), (0, 1), (1, 2)])
def test_an_entry_whose_first_line_is_missing_is_separated(
    read: Reader, above: str, between: str, without: tuple[int, ...]
) -> None:
    parts = [text.split("\n", 1)[1] if index in without else text for index, text in enumerate(_ENTRIES)]
    found = read(above + between.join(parts))
    assert [(record.title, record.year) for record in found.records] == [("One", 2001), ("Two", 2002), ("Three", 2003)]
    note, *others = found.notes
    assert note.text.startswith("the line that starts the entry (@type{key,) is missing")
    assert (note.record, note.count) == (without[0] + 1, len(without))
    assert ["outside of records" in other.text for other in others] == [True] * ("remark" in between)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_text_outside_of_entries_is_counted(read: Reader, place: int) -> None:
    parts = [f"@article{{{key}, title = {{{key}}}}}\n" for key in ("One", "Two")]
    parts.insert(place, '"Oak, A.","A paper in a row of a table","2001"\n% a comment\nTrust that teams created.\n')
    found = read("Scopus\nEXPORT DATE: 1 May 2020\nThis file was created with JabRef 2.9.\n" + "".join(parts))
    assert [record.title for record in found.records] == ["One", "Two"]
    assert (
        f"2 lines outside of records were not read; the first is line {4 + place}: "
        '\'"Oak, A.","A paper in a row of a table","2001"\''
    ) in notes(found)


def test_an_entry_that_is_a_comment_is_not_read(read: Reader) -> None:
    found = read(_ENTRIES[0] + "%  title = {Two},\n%  year = {2002}\n" + _ENTRIES[2])
    assert [record.title for record in found.records] == ["One", "Three"]
    assert not found.notes


def test_the_year_is_in_the_first_date_that_has_one(read: Reader) -> None:
    assert only(read("@article{a, title = {One}, year = {in press}, date = {2001-05}}")).year == 2001
