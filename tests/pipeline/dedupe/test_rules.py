"""Test pairs of records that describe the same paper, and pairs that do not."""

import pytest

from mechtag.core.records import Record
from mechtag.pipeline.dedupe.dedupe import dedupe
from tests.support.papers import LONG, SETTINGS, TEXT, bare, partition, record

SAME: dict[str, tuple[Record, Record]] = {
    "two authors of one name, given once by one database": (
        bare(authors=("Li, J.", "Ito, K.", "Li, J.")),
        record(authors=("Ito, K.", "Li, J.")),
    ),
    "same DOI, title in capitals": (
        record(doi="10.5555/a.1", title=LONG.upper()),
        record(doi="10.5555/a.1", authors=("Marchetti, L.",), year=2016, volume=None, pages=None),
    ),
    "same PubMed id": (bare(pmid="123456"), record(pmid="123456", doi="10.5555/a.1")),
    "DOI in one only, initials, abbreviated journal": (
        record(doi="10.5555/a.1", journal="J Invent Care", pages="45-8"),
        record(authors=("Marchetti, L", "O'Neill, PJ")),
    ),
    "hyphens, accents, Greek letters, markup, British spelling of nothing": (
        record(title="Effects of α-blockers on <i>naïve</i> self-care in older people"),
        record(title="Effects of alpha blockers on naive selfcare in older people"),
    ),
    "subtitle left out, same page": (record(title="Sharing the lead in stroke care networks"), record()),
    "leading article": (record(title=f"The {LONG}", pages=None), record()),
    "notes of Ovid behind the title": (record(title=f"{LONG}. [Review] [33 refs]"), record()),
    "note of an erratum elsewhere": (record(title=f"{LONG}. [Erratum appears in J Invent Care. 2018;13:1]"), record()),
    "online first": (record(pages="1-14", volume=None, issue=None, year=2016), record()),
    "article number online": (record(pages="e1001"), record()),
    "supplement page as Ovid writes it": (record(pages="S17-S29"), record(pages="Suppl-29")),
    "year and month apart": (record(year=2018), record()),
    "no place known": (bare(year=2017), bare(year=2017, doi="10.5555/a.1")),
    "one place known": (bare(year=2017), record()),
    "authors missing": (record(authors=()), record(pages=None)),
    "authors in another order, of whom the third and fourth tell": (
        record(authors=("Doe, Ann", "Roe, Bob", "Ito, K.", "Marchetti, L."), pages=None),
        record(authors=("Ito, K.", "Marchetti, L.", "Poe, Eve"), pages=None),
    ),
    "issue wrong": (record(pages="45"), record(issue="12", pages="45")),
    "issue and DOI wrong": (record(doi="10.5555/a.1"), record(doi="10.5555/a.2", issue="12")),
    "a word misspelt, abstract cut": (
        record(title=f"{LONG} of the heath and of care", pages=None, abstract=TEXT * 3),
        record(title=f"{LONG} of health and of care", pages=None, abstract=f"{TEXT * 3} Many were asked."),
    ),
    "short form of a given name": (
        bare(year=2017, authors=("Marchetti, Bob", "O'Neill, Peter")),
        bare(year=2017, authors=("Marchetti, Robert", "O'Neill, P.")),
    ),
    "given name behind nobody": (bare(year=2017, authors=("Anonymous", "Marchetti, L.")), bare(year=2017)),
    "family and given name changed places": (
        record(authors=("Lucia, Marchetti", "Peter, O'Neill"), pages=None),
        record(volume=None),
    ),
    "first author missing": (record(authors=("O'Neill, Peter J.",), pages=None), record()),
    "spelling": (
        record(title="Organisation of labour in care teams", volume=None),
        record(title="Organization of labor in care teams"),
    ),
    "a digit lost": (record(title="Use of p16 tests in care"), record(title="Use of p6 tests in care")),
    "footnote mark": (record(title=f"{LONG}1"), record()),
    "translated title": (record(title="Gemeinsam führen in Netzen der Versorgung nach Schlaganfall"), record()),
    "translated title, same DOI": (
        record(title="Gemeinsam führen in Netzen der Versorgung", doi="10.5555/a.1", pages="45"),
        record(doi="10.5555/a.1"),
    ),
    "one DOI wrong": (record(doi="10.5555/a.1"), record(doi="10.5555/wrong.7")),
    "editorial on the same page": (record(title="Editorial"), record(title="EDITORIAL", doi="10.5555/a.1")),
    "meeting abstract, journal with the name of the meeting": (
        record(journal="Circulation. Conference: Invented Sessions", issue="22 SUPPL. 1", pages=None),
        record(journal="Circulation", issue="22 Suppl. 1", pages=None),
    ),
    "proceedings": (
        bare(year=2017, type="CONF", journal="Proceedings of the 50th Annual Conference on Invented Systems"),
        bare(year=2017, type="CPAPER", journal="Conference on Invented Systems", pages="10-19"),
    ),
    "meeting abstract, which one database calls an article": (
        record(journal="Invented Care. Conference: 7th Invented Sessions", volume=None, issue=None, pages=None),
        record(journal="Invented Care", volume=None, issue=None, pages=None),
    ),
    "meeting abstract, by two names of its kind": (
        record(type="CONF", issue="Suppl 1", pages=None),
        record(type="JOUR", issue="Suppl 1", pages=None, volume=None),
    ),
    "a letter lost": (
        record(title="Tolerance of strain in stroke teams", pages=None),
        record(title="Tolrance of strain in stroke teams", volume=None),
    ),
    "ampersand": (
        record(title="Trust & power among nurses of three stroke units", pages=None),
        record(title="Trust and power among nurses of three stroke units", volume=None, year=2018),
    ),
    "authors missing, a word misspelt, same pages": (
        record(title=LONG.replace("study", "sutdy"), authors=()),
        record(),
    ),
    "same DOI, subtitle that says what it is": (
        record(title=f"{LONG}: study protocol", doi="10.5555/a.1"),
        record(doi="10.5555/a.1"),
    ),
    "a word left out, journal unknown, same pages": (
        bare(year=2017, pages="45-58", title="Moral hazards and effects of digital monitoring in labour markets"),
        bare(
            year=2017, pages="45-58", title="Moral hazards and effects of enhanced digital watching in labour markets"
        ),
    ),
    "pages cut short": (record(pages="123-9", volume=None), record(pages="123-129", issue=None)),
    "translated title in brackets, pages cut short": (
        record(title="[Leading together in networks of care].", pages="123-9"),
        record(title="Gemeinsam führen in Netzen der Versorgung nach Schlaganfall", pages="123-129"),
    ),
    "title in two languages": (record(title=f"Gemeinsam führen [{LONG}]", pages=None), record(title=f"[{LONG}].")),
    "title cut in the middle of a word": (
        record(title=f"{LONG} of rehab", pages=None, volume=None),
        record(title=f"{LONG} of rehabilitation wards in three countries"),
    ),
    "entities": (
        record(title="Teams &amp; trust in stroke&nbsp;care at home"),
        record(title="Teams & trust in stroke care at home."),
    ),
    "subtitle left out, journal unknown, same pages": (
        bare(year=2017, pages="45-58", title="Sharing the lead in stroke care networks"),
        bare(year=2017, pages="45-58"),
    ),
    "printed again in the next volume": (
        record(doi="10.5555/a.1", abstract=TEXT),
        record(doi="10.5555/a.2", abstract=TEXT, volume="13", issue="1", pages="2-15", year=2018),
    ),
    "journal with an elided article, number in front of the title": (
        record(title=LONG, journal="Revue d'Épidémiologie et de Santé Publique"),
        record(title=f"OP12-4 {LONG}", journal="Rev Epidemiol Sante Publique"),
    ),
    "journal with a Dutch preposition, number in front of the title": (
        record(title=LONG, journal="Tijdschrift voor Gezondheidswetenschappen"),
        record(title=f"OP12-4 {LONG}", journal="Tijdschr Gezondheidswet"),
    ),
    "Cochrane review in one year, issue unknown": (
        record(journal="Cochrane Database of Systematic Reviews", pages="CD001234", issue=None),
        record(journal="Cochrane Database Syst Rev", pages="CD001234", issue="4"),
    ),
    "Cochrane review in one issue, year unknown": (
        record(journal="Cochrane Database of Systematic Reviews", pages="CD001234", issue="4"),
        record(journal="Cochrane Database Syst Rev", pages="CD001234", issue="4", year=None),
    ),
    "one DOI, journal and number of a Cochrane review": (
        record(doi="10.1002/14651858.cd001234.pub2", pages="CD001234", issue="1"),
        record(doi="10.1002/14651858.cd001234.pub2", pages="CD001234", issue=None, year=2016),
    ),
    "one registration, twice": (
        bare(title=LONG, journal="ClinicalTrials.gov", authors=("NCT01234567",), year=2017),
        bare(title=LONG, journal="https://clinicaltrials.gov/show/NCT01234567", authors=("NCT01234567",), year=2017),
    ),
    "one registration, twice, as its registry exports it": (
        bare(url="https://clinicaltrials.gov/study/NCT01234567", authors=(), year=2017),
        bare(url="https://clinicaltrials.gov/ct2/show/NCT01234567", authors=(), year=2018),
    ),
    "journal abbreviated to initials": (record(journal="BMJ", pages=None), record(journal="British Medical Journal")),
    "issue is a running number, one author, a short title": (
        record(title="Leading a stroke unit", authors=("Marchetti, Lucia",), issue="147"),
        record(title="Leading a stroke unit", authors=("Marchetti, L.",)),
    ),
    "issue is a running number, a very short title": (
        record(title="Stroke units", issue="147", abstract=TEXT),
        record(title="Stroke units", authors=("Marchetti, L.", "O'Neill, P. J.")),
    ),
    "issue is a running number, a slip in the title": (
        record(title=LONG.replace("networks", "netwrks"), issue="147"),
        record(),
    ),
    "journal wrong": (record(journal="Annals of Nothing"), record()),
    "volume wrong, issue unknown": (record(volume="21", issue=None), record(issue=None)),
    "pages wrong, issue unknown": (record(pages="99-112"), record(issue=None)),
    "year unknown, pages in part": (record(year=None, pages="45"), record(issue=None)),
    "research sections behind the title": (
        record(title=f"{LONG} 06 Biological Sciences 0605 Microbiology 11 Medical and Health Sciences", pages=None),
        record(),
    ),
    "number of an abstract in front of the title": (
        record(title=f"P-123 {LONG}", issue="Suppl 1", pages="S45"),
        record(issue="Suppl 1", pages="S45"),
    ),
    "foreign title, its translation in brackets": (
        record(title=f"Gemeinsam führen in Netzen der Versorgung [{LONG}]", issue=None),
        record(pages=None),
    ),
    "small words left out": (
        record(title="The sharing of the lead in care of strokes at home", pages=None),
        record(title="Sharing of lead in care of strokes at home", issue=None),
    ),
    "two letters exchanged": (record(title=LONG.replace("study", "sutdy"), pages=None), record(volume=None)),
    "language behind the title": (record(title=f"{LONG} (in German)", doi="10.5555/a.1"), record(issue="47")),
    "journal with its subtitle": (
        record(title="Care of lesions", authors=("Doe, Ann",), journal="Best Care and Rounds: Invented Units"),
        record(title="Care of lesions", authors=("Doe, A.",), journal="Best Care & Rounds in Invented Units"),
    ),
    "journal with its initials in front": (
        record(journal="JIC - Journal of Invented Care", pages=None, issue=None),
        record(journal="JIC", issue=None),
    ),
    "journal with another name behind": (
        record(journal="Caretologica-The Care Journal", pages=None, issue=None),
        record(journal="Caretologica", issue=None),
    ),
    "language in brackets, very short title": (
        record(title="Stroke units [Article in Portuguese]", authors=("Doe, Ann",), pages="45", issue=None),
        record(title="Stroke units.", authors=("Doe, A.",), issue=None),
    ),
    "title cut early": (record(title="Sharing the lead in stroke care networks: a qu"), record(pages=None)),
}
DIFFERENT: dict[str, tuple[Record, Record]] = {
    "same page of the next volume": (record(pages="45-50"), record(pages="45-58", volume="13", year=2018)),
    "meeting abstract and article, titles alike": (
        record(issue="Suppl 1", pages="S7", abstract=TEXT),
        record(title="Sharing the lead in stroke care networks", volume=None, issue=None, pages=None, abstract=TEXT),
    ),
    "part I and part II, pages unknown": (
        record(title=f"{LONG} of wards: part I", pages=None, volume=None),
        record(title=f"{LONG} of wards: part II", pages=None, volume=None),
    ),
    "typical and atypical": (
        record(title="Care of typical strokes in old age", pages=None),
        record(title="Care of atypical strokes in old age", pages=None),
    ),
    "yearly report of two people, volumes unknown": (
        record(volume=None, issue=None, abstract=TEXT),
        record(volume=None, issue=None, year=2018, pages="101-120", abstract=TEXT),
    ),
    "issue that means nothing": (
        record(title="Annual report of the network", issue="unknown", pages=None),
        record(title="Annual report of the network", issue="unknown", pages=None, doi="10.5555/a.1"),
    ),
    "update of a Cochrane review": (
        record(doi="10.1002/14651858.cd001234.pub2", pages="CD001234", issue="1"),
        record(doi="10.1002/14651858.cd001234.pub3", pages="CD001234", issue="1"),
    ),
    "update of a Cochrane review, DOIs unknown": (
        record(pages="CD001234", issue=None, volume=None),
        record(pages="CD001234", issue=None, volume=None, year=2018),
    ),
    "versions of a preprint": (
        bare(doi="10.21203/rs.3.rs-123456/v1", year=2021, journal="Research Square"),
        bare(doi="10.21203/rs.3.rs-123456/v2", year=2021, journal="Research Square"),
    ),
    "registration and publication": (bare(journal="ClinicalTrials.gov", authors=(), year=2017), bare(year=2017)),
    "two registrations": (
        bare(journal="https://clinicaltrials.gov/show/NCT01234567", authors=("NCT01234567",), year=2017),
        bare(journal="https://clinicaltrials.gov/show/NCT01234568", authors=("NCT01234568",), year=2017),
    ),
    "two errata": (
        record(title=f"Erratum to: {LONG}", pages="99"),
        record(title=f"Erratum to: {LONG}", pages="150"),
    ),
    "correction of a paper that was corrected before": (
        record(title=f"{LONG}. [Erratum appears in J Invent Care. 2018;13:1]"),
        record(title=f"{LONG}. [Erratum appears in J Invent Care. 2018;13:1] (Erratum)"),
    ),
    "correction named at the end": (record(), record(title=f"{LONG} (Correction)")),
    "reply named at the end": (record(), record(title=f"{LONG}: authors' reply")),
    "preprint and a paper of which no type is known": (
        bare(year=2017, journal="Invented Care", type=None),
        bare(year=2017, doi="10.1101/2017.01.02.345678"),
    ),
    "preprint and nothing": (bare(year=2017, doi="10.1101/2017.01.02.345678"), bare(year=2017)),
    "meeting abstract and article in one journal, pages unknown": (
        record(journal="Blood. Conference: Invented Meeting", volume=None, issue=None, pages=None, year=2016),
        record(journal="Blood", pages=None),
    ),
    "supplement and article in one journal": (
        record(issue="Suppl 1", volume=None, pages=None, year=2016),
        record(issue=None, pages=None),
    ),
    "abstract shown two years running": (
        record(issue="Suppl 1", pages="S12-S14", abstract=TEXT),
        record(issue="Suppl 1", pages="S40-S42", abstract=TEXT, volume="13", year=2018),
    ),
    "reply with the abstract of what it answers": (
        record(doi="10.5555/a.1", abstract=TEXT),
        record(doi="10.5555/a.2", abstract=TEXT, pages="59-72"),
    ),
    "one abstract in two volumes, other number of pages": (
        record(doi="10.5555/a.1", abstract=TEXT),
        record(doi="10.5555/a.2", abstract=TEXT, volume="13", issue="1", pages="2-5", year=2018),
    ),
    "column of one author": (
        record(title="Case of the month", pages="45-6", issue=None),
        record(title="Case of the month", pages="90-1", issue=None),
    ),
    "report of a body, year after year": (
        bare(title="Standards of care at home", authors=("Invented Association",), journal="Care", year=2017),
        bare(title="Standards of care at home", authors=("Invented Association",), journal="Care", year=2018),
    ),
    "authors with one particle": (
        record(authors=("van der Berg, J.",), pages=None),
        record(authors=("van Dijk, K.",), pages=None),
    ),
    "values that mean nothing": (
        record(journal="UNKNOWN", volume="NA", issue="unknown", pages=None, title="Leading a team"),
        record(journal="UNKNOWN", volume="NA", issue="unknown", pages=None, title="Leading a team", authors=()),
    ),
    "different DOIs": (record(doi="10.5555/a.1"), record(doi="10.5555/a.2", pages="101-120", year=2018, volume="13")),
    "different DOIs, nothing else known": (bare(doi="10.5555/a.1"), bare(doi="10.5555/a.2")),
    "different PubMed ids": (bare(pmid="123456"), bare(pmid="654321")),
    "erratum": (record(), record(title=f"Erratum to: {LONG}", pages="99")),
    "author correction, same page": (record(), record(title=f"Author Correction: {LONG}")),
    "erratum by type": (record(), record(type="Published Erratum", pages="99")),
    "correction as Web of Science names it": (record(), record(title=f"{LONG} (vol 12, pg 45, 2017)", pages=None)),
    "retraction": (record(), record(title=f"Retraction: {LONG}", pages=None)),
    "reply": (record(), record(title=f"Reply to: {LONG}", pages="60")),
    "letter about it": (record(), record(title=f"Re: {LONG}", pages="60", authors=("Doe, Ann",))),
    "comment, same DOI by mistake": (record(doi="10.5555/a.1"), record(doi="10.5555/a.1", title=f"Comment on {LONG}")),
    "protocol": (record(title=f"{LONG}: study protocol"), record()),
    "preprint": (
        bare(year=2016, journal="medRxiv", doi="10.1101/2016.01.02.345678"),
        record(),
    ),
    "preprint known by its DOI only": (bare(year=2017, doi="10.1101/2016.01.02.345678"), record()),
    "conference abstract": (
        record(type="CONF", journal="Proceedings of the Invented Congress", volume=None, issue=None, pages="7"),
        record(),
    ),
    "abstract in a supplement of the same volume": (record(issue="Suppl 1", pages="S112"), record()),
    "thesis": (bare(year=2017, type="THES"), record()),
    "part I and part II": (record(title=f"{LONG}. Part I"), record(title=f"{LONG}. Part II", pages="59-70")),
    "part 1 and part 2, pages unknown": (
        record(title=f"{LONG}. Part 1", pages=None),
        record(title=f"{LONG}. Part 2", pages=None),
    ),
    "whole and part": (
        record(pages=None, abstract=TEXT),
        record(title=f"{LONG}: part 2", pages=None, abstract=TEXT),
    ),
    "yearly report": (
        record(title="Annual report of the network"),
        record(title="Annual report of the network", year=2018, volume="13", pages="40-51"),
    ),
    "yearly report, place unknown": (
        record(title="Annual report of the network", volume=None, pages=None, issue=None),
        record(title="Annual report of the network", volume=None, pages=None, issue=None, year=2018),
    ),
    "figures of two years": (
        record(title="Leadership in figures 2016", pages="5"),
        record(title="Leadership in figures 2017", pages="5"),
    ),
    "editorials of two issues": (
        record(title="Editorial", pages=None),
        record(title="Editorial", pages=None, issue="4"),
    ),
    "editorials, nothing else known": (bare(title="Editorial"), bare(title="Editorial", year=2017)),
    "letters on one page": (record(title="Letters", pages=None), record(title="Letters", authors=("Doe, Ann",))),
    "men and women": (
        record(title="Leading styles of men in nursing homes", pages=None),
        record(title="Leading styles of women in nursing homes", pages=None),
    ),
    "abstracts of one meeting on one page, same DOI": (
        record(title="Trust in teams of nurses in stroke care", doi="10.5555/all", issue="Suppl 1", pages="S99"),
        record(title="Rounds led by pharmacists in stroke care", doi="10.5555/all", issue="Suppl 1", pages="S99"),
    ),
    "abstracts of one meeting with one DOI, titles alike": (
        record(title="Trust and leading in hospital teams of men", doi="10.5555/all", pages="S9"),
        record(title="Trust and leading in hospital teams of women", doi="10.5555/all", pages="S30"),
    ),
    "parts of one volume with one DOI": (
        record(title=f"{LONG}. Part 1", doi="10.5555/all", pages=None),
        record(title=f"{LONG}. Part 2", doi="10.5555/all", pages=None),
    ),
    "words that look alike": (
        record(title="Care of hypertension in older people at home", pages=None),
        record(title="Care of hypotension in older people at home", pages=None),
    ),
    "abstracts of one meeting, titles alike": (
        record(title="Trust and leading in hospital teams of men", issue="Suppl 1", pages="S99"),
        record(title="Trust and leading in hospital teams of women", issue="Suppl 1", pages="S99"),
    ),
    "column of one author in two issues": (
        record(title="Message from the president", authors=("Doe, Ann",), pages="3-4", issue="1"),
        record(title="Message from the president", authors=("Doe, Ann",), pages="3-4", issue="2"),
    ),
    "column of one author in two issues, each with its DOI": (
        record(title="Message from the president", authors=("Doe, Ann",), pages="3", issue="1", doi="10.5555/a.1"),
        record(title="Message from the president", authors=("Doe, Ann",), pages="3", issue="2", doi="10.5555/a.2"),
    ),
    "column with a long title, issues unknown": (
        record(title="What is new in the literature on leading", authors=("Doe, Ann",), pages="3", issue=None),
        record(title="What is new in the literature on leading", authors=("Doe, Ann",), pages="103", issue=None),
    ),
    "column with a long title, in two volumes of a year": (
        record(title="What is new in the literature on leading", authors=("Doe, Ann",), pages="3", issue=None),
        record(title="What is new in the literature on leading", authors=("Doe, Ann",), pages="3", volume="13"),
    ),
    "column, authors missing in one": (
        record(title="Message from the president", authors=(), pages=None, issue=None),
        record(title="Message from the president", authors=("Doe, Ann",)),
    ),
    "other authors, journal unknown, first page of the first volume": (
        record(journal=None, volume="1", pages="1-9", issue=None),
        record(authors=("Doe, Ann",), volume="1", pages="1-12", issue=None),
    ),
    "preprint known by its address only": (bare(year=2017, url="https://arxiv.org/abs/1701.00001"), record()),
    "preprint as reference managers name it": (bare(year=2017, type="UNPB"), record()),
    "preprint as Crossref names it": (bare(year=2017, type="posted-content"), record()),
    "thesis as BibTeX names it": (bare(year=2017, type="phdthesis"), record()),
    "data set and article": (bare(year=2017, type="dataset"), record()),
    "papers on men and on women, abstracts that begin alike": (
        record(title=f"{LONG} of the health of men", pages=None, abstract=f"{TEXT * 3} Men were asked."),
        record(title=f"{LONG} of the health of women", pages=None, abstract=f"{TEXT * 3} Women were asked."),
    ),
    "Cochrane review in two years, numbers unknown": (
        bare(journal="Cochrane Database of Systematic Reviews", year=2016),
        bare(journal="Cochrane Database Syst Rev", year=2017),
    ),
    "abstracts of one meeting on one page, by type": (
        record(title="Trust and leading in hospital teams of men", type="Conference Abstract"),
        record(title="Trust and leading in hospital teams of women", type="Conference Abstract"),
    ),
    "chapters with the DOI of their book": (
        bare(title="Care in teams, 3: who leads the rounds", doi="10.5555/all"),
        bare(title="Care in teams, 4: who keeps the records", doi="10.5555/all"),
    ),
    "two papers of a group in a journal that begins each on page 1": (
        record(title="Rounds at night and trust in teams", pages="1-10", issue=None),
        record(title="Care of the dying at home", pages="1-10", issue=None),
    ),
    "papers on men and on women in a journal that begins each on page 1": (
        record(title=f"{LONG} of the health of men", pages="1-10", issue=None),
        record(title=f"{LONG} of the health of women", pages="1-9", issue=None),
    ),
    "other authors in a journal that begins each paper on page 1": (
        record(pages="1-10", issue=None),
        record(pages="1-8", issue=None, authors=("Doe, Ann",)),
    ),
    "other title, pages by chance the same, two DOIs": (
        record(title="Rounds at night and trust in teams", pages="3-10", issue=None, doi="10.5555/a.1"),
        record(title="Care of the dying at home", pages="3-10", issue=None, doi="10.5555/a.2"),
    ),
    "papers on men and on women on the same page of two issues": (
        record(title=f"{LONG} of the health of men"),
        record(title=f"{LONG} of the health of women", issue="4"),
    ),
    "abstract shown two years running, volumes unknown": (
        record(issue="Suppl 1", pages=None, volume=None),
        record(issue="Suppl 1", pages=None, volume=None, year=2016),
    ),
    "versions that reviewers saw": (
        record(doi="10.5555/open.12345.1"),
        record(doi="10.5555/open.12345.2"),
    ),
    "correction in German": (record(), record(title=f"Berichtigung zu: {LONG}", pages=None)),
    "correction in Spanish": (record(), record(title=f"Fe de errores de: {LONG}", pages=None)),
    "the authors reply": (record(), record(title=f"The authors reply: {LONG}", pages=None)),
    "journal club": (record(), record(title=f"Journal club: {LONG}", pages=None)),
    "parts in brackets": (record(title=f"{LONG} [Pt. 1]"), record(title=f"{LONG} [Pt. 2]", pages="59-70")),
    "parts in brackets, in words": (
        record(title=f"{LONG} [first part]"),
        record(title=f"{LONG} [second part]", pages="59-70"),
    ),
    "correction behind a dash": (record(), record(title=f"{LONG} \u2013 Correction")),
    "reply behind a dash": (record(), record(title=f"{LONG} - Authors' reply")),
    "note of the publisher": (record(), record(title=f"Publisher\u2019s Note: {LONG}", pages=None)),
    "rebuttal": (record(), record(title=f"Rebuttal: {LONG}", pages=None)),
    "rejoinder": (record(), record(title=f"Rejoinder: {LONG}", pages=None)),
    "correspondence": (record(), record(title=f"Correspondence: {LONG}", pages=None)),
    "summary for patients": (record(), record(title=f"Summaries for patients: {LONG}", pages=None)),
    "other people of one family name": (
        bare(year=2017, authors=("Wang, Li", "Doe, Ann")),
        bare(year=2017, authors=("Wang, Hong", "Roe, Bob")),
    ),
    "other people of one given name": (
        bare(year=2017, authors=("Lucia Marchetti",)),
        bare(year=2017, authors=("Lucia Ito",)),
    ),
    "two groups": (
        bare(year=2017, authors=("The Alpha Study Group",)),
        bare(year=2017, authors=("The Beta Study Group",)),
    ),
    "other authors": (record(authors=("Doe, Ann",), pages=None), record()),
    "edition of ten years later": (record(year=2007, volume=None, pages=None), record()),
    "published twice in other journals": (record(), record(journal="Annals of Nothing", volume="3", pages="9-20")),
    "published in two journals, volumes by chance the same": (
        record(pages=None, issue=None),
        record(journal="Annals of Nothing", pages=None, issue=None),
    ),
    "retracted article, same page": (record(), record(title=f"RETRACTED: {LONG}")),
    "retracted article behind a number": (record(), record(title=f"663. RETRACTED: {LONG}")),
    "reply behind a number": (record(), record(title=f"P12: Reply to: {LONG}")),
    "retracted article in another language": (
        record(title=f"Gemeinsam führen in Netzen [{LONG}]"),
        record(title=f"Gemeinsam führen in Netzen [RETRACTED: {LONG}]"),
    ),
    "title cut, another page of the volume": (
        record(title=f"{LONG} of wards in three countries", pages="99-112"),
        record(title=f"{LONG} of wards in thr"),
    ),
    "review and its update five years later, same abstract": (
        record(volume=None, pages=None, abstract=TEXT * 3),
        record(journal=None, volume=None, pages=None, year=2022, abstract=TEXT * 3),
    ),
    "retraction as PubMed writes it": (record(), record(title=f"{LONG} [Retraction of Invented Care 2017;12:45]")),
    "correction as Ovid writes it": (record(), record(title=f"{LONG} [Erratum for Invented Care 2017;12:45]")),
    "preprint with the abstract of the article": (
        bare(year=2017, journal="medRxiv", doi="10.1101/2017.01.02.345678", abstract=TEXT * 3),
        record(abstract=TEXT * 3),
    ),
    "preprint in a journal of that name by mistake": (
        record(type="UNPB", pages=None, abstract=TEXT * 3),
        record(abstract=TEXT * 3),
    ),
    "two registrations of one title and year": (
        bare(year=2017, url="https://clinicaltrials.gov/study/NCT01234567", authors=(), abstract=TEXT * 3),
        bare(year=2017, url="https://clinicaltrials.gov/study/NCT01234568", authors=(), abstract=TEXT * 3),
    ),
    "registration at another registry, and the paper": (
        bare(year=2017, url="https://anzctr.org.au/Trial/Registration/TrialReview.aspx?id=1", abstract=TEXT * 3),
        record(abstract=TEXT * 3),
    ),
    "report in the next volume, year unknown": (record(pages=None, year=None), record(pages=None, volume="13")),
    "report in the next volume, same abstract": (
        record(pages=None, abstract=TEXT * 3),
        record(pages=None, volume="13", year=2018, abstract=TEXT * 3),
    ),
    "reports of a body in two years, same abstract": (
        record(authors=("Invented Association",), volume=None, pages=None, issue=None, abstract=TEXT * 3),
        record(authors=("Invented Association",), volume=None, pages=None, issue=None, year=2018, abstract=TEXT * 3),
    ),
    "a second study, pages unknown": (
        record(title=f"{LONG} in three wards", pages=None, abstract=TEXT * 3),
        record(title=f"{LONG} in three wards: a second study", pages=None, abstract=TEXT * 3),
    ),
    "another subtitle, pages unknown": (
        record(title="Sharing the lead in stroke care networks", pages=None),
        record(title="Sharing the lead in stroke care networks: views of the relatives", issue=None),
    ),
    "meeting abstract and article with the same abstract": (
        record(issue="Suppl 2", pages="S99", abstract=TEXT * 3),
        record(volume=None, pages=None, issue=None, abstract=TEXT * 3),
    ),
    "Cochrane review and its update in one year": (
        record(journal="Cochrane Database of Systematic Reviews", pages="CD001234", volume=None, issue="1"),
        record(journal="Cochrane Database Syst Rev", pages="CD001234", volume=None, issue="7"),
    ),
    "Cochrane review and perhaps its update, year unknown": (
        record(journal="Cochrane Database of Systematic Reviews", pages="CD001234", issue=None),
        record(journal="Cochrane Database Syst Rev", pages="CD001234", issue=None, year=None),
    ),
    "Cochrane review and its update, one known by its DOI only": (
        record(journal=None, pages=None, issue="6", year=None, doi="10.1002/14651858.cd001234.pub2"),
        record(journal=None, pages="CD001234", issue="4"),
    ),
    "two errata of one paper in one issue": (
        record(title=f"Erratum to: {LONG}", pages="90"),
        record(title=f"Erratum to: {LONG}", pages="93"),
    ),
    "reply with the abstract of what it answers, volume unknown": (
        record(pages="45-58", volume=None, issue=None),
        record(pages="99-99", volume=None, issue=None),
    ),
    "column of one author, pages in one issue only": (
        record(title="Health watch", authors=("Doe, Ann",), pages=None, issue=None),
        record(title="Health watch", authors=("Doe, Ann",), issue=None),
    ),
    "two papers of one title, volume and pages unknown, other abstracts": (
        record(volume=None, pages=None, issue=None, abstract=TEXT * 3),
        record(pages=None, abstract="Forty nurses answered questions about rounds, rosters and their superiors. " * 5),
    ),
    "letters of one name by other people": (
        record(title="Leading a stroke unit", authors=("Doe, Ann",), pages=None),
        record(title="Leading a stroke unit", pages=None),
    ),
}  # fmt: skip


@pytest.mark.parametrize("pair", SAME.values(), ids=SAME)
def test_duplicates(pair: tuple[Record, Record]) -> None:
    left, right = pair[0], pair[1].model_copy(update={"source_index": 2})
    assert partition(dedupe([left, right], SETTINGS)) == {frozenset({("a.ris", 1), ("a.ris", 2)})}


@pytest.mark.parametrize("pair", DIFFERENT.values(), ids=DIFFERENT)
def test_different_papers_stay_apart(pair: tuple[Record, Record]) -> None:
    left, right = pair[0], pair[1].model_copy(update={"source_index": 2})
    found = dedupe([left, right], SETTINGS)
    assert found.groups == ()
    assert len({record.record_id for record in found.unique}) == 2
