"""Test exports of services and registries, headers in other languages, dates, and identifiers with additions."""

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest

from mechtag.core.errors import MechtagError
from mechtag.core.records import normalise_doi, normalise_pmid
from mechtag.pipeline.reading.build_record import clean_year
from mechtag.pipeline.reading.columns import COLUMNS, FOREIGN, attributes, from_inverted
from mechtag.pipeline.reading.ingest import ingest
from tests.support.exports import EXPORTS, Reader, notes, only


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("eric.nbib", "PubMed/MEDLINE (nbib)"),
        ("ovid_tagged.txt", "Ovid (tagged)"),
        ("refworks_tagged.txt", "RefWorks (tagged)"),
        ("openalex.json", "OpenAlex JSON"),
        ("lens.json", "Lens JSON"),
        ("dimensions.json", "Dimensions JSON"),
        ("europe_pmc.json", "Europe PMC JSON"),
        ("europe_pmc.xml", "Europe PMC XML"),
    ],
)
def test_formats_are_named_and_authors_have_given_names(name: str, form: str) -> None:
    found = ingest([EXPORTS / name])
    assert [source.format for source in found.sources] == [form]
    assert re.fullmatch(r"Marchetti, Lucia\|O'Neill, Peter J\.?", "|".join(found.records[0].authors))
    assert found.records[0].keywords


def test_openalex_in_lines_and_in_a_table(read: Reader) -> None:
    works = json.loads((EXPORTS / "openalex.json").read_text(encoding="utf-8"))["results"]
    found = read("".join(json.dumps(work) + "\n" for work in works))
    assert [source.format for source in found.sources] == ["OpenAlex JSON"]
    assert found.records[0].abstract.startswith("Three networks of hospitals")
    assert found.records[0].pmid == "31415926"
    table = io.StringIO()
    index = json.dumps({"They": [0], "led.": [1, 10**12]})
    csv.writer(table).writerows([["title", "abstract_inverted_index"], ["One", index], ["Two", "{broken"]])
    assert [record.abstract for record in read(table.getvalue()).records] == ["They led. led.", ""]


@pytest.mark.parametrize("index", [None, [], {}, {"a": 1}, {"a": ["0"]}, {"a": [True]}, "[" * 100_000])
def test_inverted_indexes_that_hold_no_text(index: Any) -> None:
    assert from_inverted(index) is None


PAPER = {
    "paperId": "ab12",
    "externalIds": {"DOI": "10.5555/S2.1", "PubMed": "123"},
    "title": "Leading in teams",
    "abstract": "Teams lead.",
    "venue": "Care",
    "year": 2018,
    "authors": [{"authorId": "1", "name": "Ann B. Lee"}, {"authorId": "2", "name": "Jan van der Berg"}],
    "journal": {"name": "Journal of Care", "volume": "3", "pages": "1-9"},
    "publicationTypes": ["JournalArticle", "Review"],
}


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"total": 1, "offset": 0, "data": [PAPER]}),
        json.dumps([PAPER], indent=1),
        json.dumps(PAPER) + "\n",
        json.dumps({"offset": 0, "data": [{"isInfluential": False, "citingPaper": PAPER}]}),
        json.dumps({"recommendedPapers": [PAPER]}),
    ],
)
def test_semantic_scholar(read: Reader, text: str) -> None:
    found = read(text)
    record = only(found)
    assert [source.format for source in found.sources] == ["Semantic Scholar JSON"]
    assert record.authors == ("Lee, Ann B.", "van der Berg, Jan")
    assert (record.doi, record.pmid, record.year, record.journal) == ("10.5555/s2.1", "123", 2018, "Journal of Care")
    assert (record.title, record.abstract, record.volume, record.pages) == (
        "Leading in teams",
        "Teams lead.",
        "3",
        "1-9",
    )


def test_clinical_trials(read: Reader) -> None:
    study = {
        "protocolSection": {
            "identificationModule": {"nctId": "NCT00000009", "briefTitle": "Training of teams"},
            "statusModule": {"studyFirstPostDateStruct": {"date": "2018-02-14"}},
            "descriptionModule": {"briefSummary": "Teams are trained."},
            "conditionsModule": {"conditions": ["Burnout"]},
        }
    }
    xml = (
        '<?xml version="1.0"?><search_results><clinical_study><required_header>'
        "<url>https://clinicaltrials.gov/study/NCT00000009</url></required_header><brief_title>Training of teams"
        "</brief_title><brief_summary><textblock>Teams are trained.</textblock></brief_summary>"
        "<study_first_posted>February 14, 2018</study_first_posted><condition>Burnout</condition>"
        "</clinical_study></search_results>"
    )
    for text in (json.dumps({"studies": [study]}), json.dumps([study]), xml):
        record = only(read(text))
        assert (record.title, record.abstract, record.year) == ("Training of teams", "Teams are trained.", 2018)
        assert record.keywords == ("Burnout",)
        assert record.url == "https://clinicaltrials.gov/study/NCT00000009"


def test_ictrp(read: Reader) -> None:
    found = read(
        "<Trials_downloaded_from_ICTRP><Trial><TrialID>ACTRN1</TrialID><Public_title>Training of teams</Public_title>"
        "<Scientific_title>A trial</Scientific_title><web_address>https://example.org/1</web_address>"
        "<Date_registration3>20180214</Date_registration3><Condition>Burnout;Stress</Condition></Trial>\n"
        "<Trial><TrialID>ACTRN2</TrialID><Scientific_title>Another trial</Scientific_title></Trial>"
        "</Trials_downloaded_from_ICTRP>"
    )
    first, second = found.records
    assert (first.title, first.year, first.url) == ("Training of teams", 2018, "https://example.org/1")
    assert first.keywords == ("Burnout", "Stress")
    assert second.title == "Another trial"
    assert notes(found) == ["registrations of ICTRP have no authors and no abstracts"]
    table = read(
        "TrialID,Public title,Scientific title,web address,Date registration\nA1,One,Long,http://x.y,14/02/2018\n"
    )
    assert (only(table).title, only(table).url, only(table).year) == ("One", "http://x.y", 2018)
    assert notes(table) == ["no column with abstracts or authors was found; columns that were not read: TrialID"]


def test_springerlink_separates_the_names_that_it_glues(read: Reader) -> None:
    found = read(
        "Item Title,Publication Title,Book Series Title,Journal Volume,Journal Issue,Item DOI,Authors,"
        "Publication Year\n"
        "One,Care,,61,3,10.5555/s.1,Vivek PalMoh McDonaldÉva DeVries,2012\n"
    )
    record = only(found)
    assert record.authors == ("Pal, Vivek", "McDonald, Moh", "DeVries, Éva")
    assert (record.volume, record.issue, record.doi, record.year) == ("61", "3", "10.5555/s.1", 2012)
    assert notes(found) == ["no column with abstracts was found; columns that were not read: Book Series Title"]


def test_fields_of_json_that_were_not_found_are_named(read: Reader) -> None:
    assert notes(read('[{"title": "One", "issued": {"date-parts": [[2001]]}, "tldr": "x", "author": []}]')) == [
        "no field with abstracts was found; fields that were not read: tldr"
    ]


@pytest.mark.parametrize(
    "row",
    [
        '"Say "yes" to it","b, c","2001"',
        '"The "Tool"","b, c","2001"',
        '""Tool" and more","b, c","2001"',
        '"A "tool", and more","b, c","2001"',
        '"A rod of 5"","b, c","2001"',
        '"Say "yes" to it","b,\nc",2001',
        '"Say "yes" to ""it""","b, c","2001"',
    ],
)
def test_quotes_that_are_not_doubled(read: Reader, row: str) -> None:
    found = read(f'"title","abstract","year"\n{row}\n"Two","b","2002"\n')
    first, second = found.records
    assert '"' in first.title
    assert '""' not in first.title
    assert (first.abstract, first.year, second.title, second.year) == ("b, c", 2001, "Two", 2002)


@pytest.mark.slow
def test_many_open_quotes_take_linear_time(read: Reader) -> None:
    found = read('"title","abstract","year"\n' + '"a "b" c, "d\n' * 20_000)
    assert len(found.rejected) == 20_000


LANGUAGES = {
    "German": "Titel;Kurzfassung;Verfasser;Jahr;Zeitschrift;Jahrgang;Ausgabe;Seiten;Schlüsselwörter",
    "French": "Titre;Résumé;Auteur(s);Année de publication;Titre de la revue;Tome;Numéro;Page(s);Mots-clés",
    "Spanish": "Título;Resumen;Autor(es);Año;Revista;Volumen;Número;Páginas;Palabras clave",
    "Italian": "Titolo;Riassunto;Autori;Anno di pubblicazione;Rivista;Volume;Fascicolo;Pagine;Parole chiave",
    "Portuguese": "Título;Resumo;Autores;Ano de publicação;Periódico;Volume;Número;Páginas;Palavras-chave",
    "Dutch": "Titel;Samenvatting;Auteur(s);Jaar van publicatie;Tijdschrift;Jaargang;Aflevering;Pagina's;Trefwoorden",
    "capitals": "TITRE;RÉSUMÉ;AUTEURS;ANNÉE;REVUE;VOLUME;NUMÉRO;PAGES;MOTS CLÉS",
    "tags": "TI: Title;AB: Abstract;AU: Author;YR: Year;JN: Journal;VO: Volume;IP: Issue;PG: Page;KW: Keyword",
    "tags behind": "Title (TI);Text (AB);Author (AU);Year [PY];Source - SO;Vol - VL;Issue (IP);Page (PG);Words (KW)",
    "unknown names": "TI - Tytuł;AB - Opis;AU - Kto;PY - Rok;SO - Gdzie;VL - Tom;IS - Zeszyt;PG - Str;DE - Hasła",
}


@pytest.mark.parametrize("header", LANGUAGES.values(), ids=LANGUAGES)
def test_headers_in_other_languages_and_with_tags(read: Reader, header: str) -> None:
    record = only(read(f"{header}\nOne;They led.;Lee, Ann;2001;Care;3;4;5-6;leading\n"))
    assert (record.title, record.abstract, record.authors) == ("One", "They led.", ("Lee, Ann",))
    assert (record.year, record.journal, record.volume, record.issue, record.pages) == (2001, "Care", "3", "4", "5-6")
    assert record.keywords == ("leading",)


def test_a_name_in_another_language_means_one_thing() -> None:
    assert FOREIGN.keys() <= COLUMNS.keys()
    names = [name for listed in FOREIGN.values() for name in listed.split(", ")]
    assert sorted(names) == sorted(set(names))
    assert all(attributes([name]) for name in names)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "1. J Care. 2017 Sep;12(3):45.\n\nLeading.\n\nLee A(1).\n\nPMID: 123 [Indexed]\n",
            "PubMed's format 'Summary'",
        ),
        ("Record #1 of 2\nID: CN-1\nTI: Leading\n", "plain text from the Cochrane Library; export RIS"),
        (f"{'_' * 60}\n\nTitle: Leading\n", "plain text from ProQuest"),
        ("31415926\n31415927\n", "a list of numbers such as PubMed ids"),
        ("10.5555/a.1\nhttps://doi.org/10.5555/a.2\n", "a list of DOIs"),
        ("<rdf:RDF xmlns:rdf='x'></rdf:RDF>", "an RDF file; in Zotero, choose Export, RIS"),
        ("<?xml version='1.0'?><article xmlns:xlink='x'><front/></article>", "full text of an article"),
        ("<?xml version='1.0'?><feed xmlns='x'><entry/></feed>", "a news feed"),
        (
            "<?xml version='1.0'?><refworks><reference/></refworks>",
            "an XML file from RefWorks; in RefWorks, choose Export, RIS",
        ),
        ("<?xml version='1.0'?><other/>", "an XML file of an unknown kind"),
    ],
)
def test_a_refusal_names_the_file_and_what_to_export(read: Reader, text: str, message: str) -> None:
    with pytest.raises(MechtagError, match=message):
        read(text)


@pytest.mark.parametrize(
    ("date", "year"),
    [
        ("Start date: 20170812", 2017),
        ("Spring 2009", 2009),
        ("Published2017Aug", 2017),
        ("201708", 2017),
        ("20170812T101500", 2017),
        ("20170812101500", 2017),
        ("12082017", 2017),
        ("98/05/01/", 1998),
        ("09/05/01/", 2009),
        ("12-May-09", 2009),
        ("May '98", 1998),
        ("Dec-98", 1998),
        ("05/01/98", 1998),
        ("05/01/09", None),
        ("JUN 15", None),
        ("May 12", None),
        ("20171399", None),
        ("123456789", None),
    ],
)
def test_dates(date: str, year: int | None) -> None:
    assert clean_year(date) == year


@pytest.mark.parametrize(
    "text",
    [
        "PT J\nTI One\nEA NOV 2021\nPD JUN 15\nER\n\nEF\n",
        "PT\tTI\tPD\tEA\nJ\tOne\tJUN 15\tNOV 2021\n",
        "Article Title\tPublication Date\tEarly Access Date\tPublication Year\nOne\tJUN 15\tNOV 2021\t\n",
        "@article{ a,\nTitle = {{One}},\nEarly Access Date = {{NOV 2021}},\n}\n",
        "@article{ a,\nTitle = {{One}},\nEarlyAccessDate = {{NOV 2021}},\n}\n",
        "TY  - JOUR\nTI  - One\nEA  - NOV 2021\nDA  - JUN 15\nER  - \n",
    ],
)
def test_early_access_in_each_format_of_web_of_science(read: Reader, text: str) -> None:
    assert only(read(text)).year == 2021


@pytest.mark.parametrize(
    "value",
    [
        "10.5555/ab.1\u200b",
        "\u200e10.5555/AB.1",
        "10.5555/\u2060ab.1\ufeff",
        "10.5555/ab\u00ad.1",
        "https://doi.org/10.5555%E2%80%8B/ab.1",
        "https://doi.org/10.5555/ab.1/",
        "10.5555/ab.1//",
        "10.5555/ab.1?src=recsys",
        "https://example.org/doi/full/10.5555/ab.1?journalCode=x&utm_source=y",
        "https://example.org/doi/10.5555/ab.1/full#sec-1",
        "https://example.org/record?doi=10.5555%2fab.1&partnerID=40&md5=ab",
        "10.5555/ab.1?",
        "https://example.org/doi/pdf/10.5555/ab.1.pdf",
    ],
)
def test_additions_to_dois(value: str) -> None:
    assert normalise_doi(value) == "10.5555/ab.1"


@pytest.mark.parametrize(
    "doi", ["10.1002/1521-3951(200010)221:2<r1::aid-x1>3.0.co;2-#", "10.5555/a?b", "10.5555/a&b", "10.5555/full"]
)
def test_characters_that_belong_to_a_doi_stay(doi: str) -> None:
    assert normalise_doi(doi) == doi


def test_invisible_characters_in_pubmed_ids() -> None:
    assert normalise_pmid("\u200e123\u200b") == "123"


def test_names_of_files_do_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "export.csv"
    path.write_bytes((EXPORTS / "refworks_tagged.txt").read_bytes())
    assert [source.format for source in ingest([path]).sources] == ["RefWorks (tagged)"]


def test_registrations_of_one_title_and_year_have_their_own_ids(tmp_path: Path) -> None:
    """A registration number is part of the id of a trial registration, but not of a paper that mentions the number."""
    path = tmp_path / "registrations.csv"
    rows = [
        "Training of teams,2018,https://clinicaltrials.gov/study/NCT00000001",
        "Training of teams,2018,https://clinicaltrials.gov/study/NCT00000002",
        "Training of teams,2018,https://example.org/NCT00000001",
        "Training of teams,2018,",
    ]
    path.write_text("title,year,url\n" + "\n".join(rows) + "\n", encoding="utf-8")
    one, other, paper, bare = (record.record_id for record in ingest([path]).records)
    assert len({one, other, paper}) == 3
    assert paper == bare
