"""A local server that imitates the web services that mechtag asks, including their faults."""

from __future__ import annotations

import gzip
import json
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

from mechtag.core.records import Record, make_record_id, normalise_title
from mechtag.pipeline.fetch.transport import Clock

EMAIL, KEY = "reviewer@example.org", "sEcReT-key-0123456789"
LICENCE = "cc by"
_SUBJECTS = (
    *("primary care", "district nursing", "stroke rehabilitation", "mental health", "palliative care", "maternity"),
    *("school meals", "housing support", "hospital discharge", "youth justice", "dementia care", "home visiting"),
)


@dataclass(frozen=True)
class Paper:
    """An invented paper; ``holders`` are the services that have its abstract."""

    number: int
    title: str
    abstract: str
    doi: str
    pmid: str
    pmcid: str
    year: int
    holders: tuple[str, ...]
    cites: tuple[int, ...] = ()

    @property
    def family(self) -> str:
        return f"Family{chr(65 + self.number)}"

    def abstract_at(self, service: str) -> str:
        return self.abstract if service in self.holders else ""

    def record(self, *, bare: bool = True, doi: bool = True, pmid: bool = True) -> Record:
        """Return the paper's record as in a search export, without its abstract if ``bare``."""
        names = (f"{self.family}, Ann",)
        own_doi, own_pmid = self.doi if doi else None, self.pmid if pmid and self.pmid else None
        name = make_record_id(doi=own_doi, pmid=own_pmid, title=self.title, year=self.year, authors=names)
        return Record(
            record_id=name,
            title=self.title,
            abstract="" if bare else self.abstract,
            authors=names,
            year=self.year,
            doi=own_doi,
            pmid=own_pmid,
            source_file="export.ris",
            source_index=self.number + 1,
        )


def _paper(number: int) -> Paper:
    subject = _SUBJECTS[number]
    holders = (("pubmed", "europepmc"), ("europepmc",), ("openalex",), ("crossref",))[number % 4]
    return Paper(
        number,
        f"How leaders build trust across the teams of {subject}",
        f"We asked {number + 20} leaders of {subject} how trust grows. They kept promises and met every month.",
        f"10.5555/lead.{number}",
        str(3_000_000 + number) if number % 4 < 2 else "",
        f"PMC{7_000_000 + number}" if number % 4 == 1 else "",
        2000 + number,
        holders,
        tuple(range(max(0, number - 3), number)),
    )


PAPERS = tuple(map(_paper, range(len(_SUBJECTS))))


class FakeClock(Clock):
    """A clock whose time passes only when `sleep` is called; ``waits`` has the seconds of each call."""

    def __init__(self, start: float = 1_764_000_000.0) -> None:
        self.time, self.waits = start, list[float]()

    def now(self) -> float:
        return self.time

    def elapsed(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.waits.append(seconds)
        self.time += seconds


class FrozenClock(FakeClock):
    """A `FakeClock` whose time of day stands still, so that two runs give the same results."""

    def now(self) -> float:
        return 1_764_000_000.0


@dataclass(frozen=True)
class Reply:
    """A response. ``cut`` closes the connection in the middle of the body; ``late`` is a delay in seconds."""

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: bool = False
    late: float = 0.0


@dataclass(frozen=True)
class Asked:
    """A request that the server received."""

    service: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    time: float

    @property
    def line(self) -> str:
        """The request in one line, without the e-mail address and key of the person who asks."""
        private = ("email", "mailto", "api_key")
        query = sorted(one for one in self.query.items() if one[0] not in private)
        return f"{self.service}{self.path} {query} {self.body!r}"


class FakeServices:
    """A local server that imitates the web services, records their requests, and sends faults that a test sets.

    Attributes
    ----------
    asked
        All requests in the order of their arrival.
    answered
        Requests that were answered completely and with status 200.
    faults
        By service, replies that are sent instead of the next answers.
    before
        Function that is called with each request before it is answered.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self.papers: dict[int, Paper] = dict(enumerate(PAPERS))
        self.asked: list[Asked] = []
        self.answered: list[Asked] = []
        self.faults: dict[str, deque[Reply]] = defaultdict(deque)
        self.before: Callable[[Asked], None] = lambda asked: None
        self.files: dict[str, Reply] = {}
        self._clock = clock or Clock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.port = self._server.server_port

    @property
    def addresses(self) -> dict[str, str]:
        names = ("pubmed", "europepmc", "openalex", "crossref", "semantic_scholar", "unpaywall")
        return {name: self.address(name) for name in names}

    def address(self, name: str) -> str:
        return f"http://127.0.0.1:{self.port}/{name}"

    def count(self, service: str) -> int:
        return sum(asked.service == service for asked in self.asked)

    @contextmanager
    def serving(self) -> Iterator[Self]:
        thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()

    def reply(self, asked: Asked) -> Reply:
        """Return the next fault that a test set for the requested service or, without a fault, the service's answer."""
        if self.faults[asked.service]:
            return self.faults[asked.service].popleft()
        if asked.service == "files":
            return self.files.get(asked.path, Reply(status=404))
        content = getattr(self, f"_{asked.service}")(asked)
        if content is None:
            return Reply(status=404)
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        if "gzip" in asked.headers.get("accept-encoding", ""):
            return Reply(gzip.compress(body, mtime=0), headers={"Content-Encoding": "gzip"})
        return Reply(body)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        services = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # Otherwise the body would wait until the client acknowledges the headers.
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                _, service, path = unquote(parts.path).split("/", 2)
                query = {name: values[0] for name, values in parse_qs(parts.query).items()}
                size = int(self.headers.get("Content-Length", 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                asked = Asked(service, f"/{path}", query, headers, self.rfile.read(size), services._clock.elapsed())
                services.asked.append(asked)
                services.before(asked)
                reply = services.reply(asked)
                time.sleep(reply.late)
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(reply.body)))
                self.end_headers()
                self.wfile.write(reply.body[: len(reply.body) // 2] if reply.cut else reply.body)
                if reply.cut:
                    self.close_connection = True
                elif reply.status == 200:
                    services.answered.append(asked)

            do_POST = do_GET

            def log_message(self, *_: Any) -> None:
                pass

        return Handler

    # The answers of each service, in the format of its documentation.

    def _by_identifiers(self, *identifiers: str) -> list[Paper]:
        wanted = set(identifiers)
        return [paper for paper in self.papers.values() if wanted.intersection((paper.doi, paper.pmid)) - {""}]

    def _by_title(self, title: str) -> list[Paper]:
        words = set(normalise_title(title).split())
        return [paper for paper in self.papers.values() if set(normalise_title(paper.title).split()) <= words]

    def _pubmed(self, asked: Asked) -> bytes:
        assert asked.path == "/efetch.fcgi"
        articles = "".join(map(_pubmed_article, self._by_identifiers(*asked.query["id"].split(","))))
        return f'<?xml version="1.0" ?>\n<PubmedArticleSet>{articles}</PubmedArticleSet>'.encode()

    def _europepmc(self, asked: Asked) -> Any:
        if asked.path.endswith("/fullTextXML"):
            pmcid = asked.path.split("/")[1]
            return next((_jats(paper) for paper in self.papers.values() if paper.pmcid == pmcid), None)
        if asked.path != "/search":
            return self._europepmc_list(asked)
        query = asked.query["query"]
        found = self._by_title(query) if query.startswith("TITLE") else []
        found += self._by_identifiers(*query.replace('"', " ").replace(":", " ").replace("(", " ").split())
        results = [_europepmc_result(paper) for paper in found if paper.pmid]
        return {"version": "6.9", "hitCount": len(results), "resultList": {"result": results}}

    def _europepmc_list(self, asked: Asked) -> Any:
        _, source, pmid, direction = asked.path.split("/")
        assert source == "MED"
        (seed,) = self._by_identifiers(pmid)
        papers = self.papers.values()
        others = [
            one
            for one in papers
            if (one.number in seed.cites if direction == "references" else seed.number in one.cites)
        ]
        size, page = int(asked.query["pageSize"]), int(asked.query["page"])
        items = [
            {
                **{
                    "id": one.pmid or f"AGR{one.number}",
                    "source": "MED" if one.pmid else "AGR",
                    "title": f"{one.title}.",
                },
                **{"authorString": f"{one.family} A", "pubYear": one.year, "journalAbbreviation": "J Trust"},
            }
            for one in others[(page - 1) * size : page * size]
        ]
        name = direction.removesuffix("s")
        return {"hitCount": len(others), f"{name}List": {name: items}}

    def _openalex(self, asked: Asked) -> Any:
        if name := asked.path.removeprefix("/works").removeprefix("/"):
            kind, _, value = name.rpartition(":")
            papers = self._by_identifiers(value) if kind else [self.papers[int(value.removeprefix("W"))]]
            return _openalex_work(papers[0]) if papers else None
        kind, _, value = asked.query["filter"].partition(":")
        if kind == "cites":
            number = int(value.removeprefix("W"))
            papers = [one for one in self.papers.values() if number in one.cites]
        elif kind == "openalex":
            papers = [self.papers[int(one.removeprefix("W"))] for one in value.split("|")]
        else:
            papers = self._by_title(value) if kind == "title.search" else self._by_identifiers(*value.split("|"))
        return {"meta": {"count": len(papers), "next_cursor": None}, "results": list(map(_openalex_work, papers))}

    def _crossref(self, asked: Asked) -> Any:
        if doi := asked.path.removeprefix("/works").removeprefix("/"):
            papers = self._by_identifiers(doi)
            return {"status": "ok", "message": _crossref_item(papers[0])} if papers else None
        if listed := asked.query.get("filter"):
            papers = self._by_identifiers(*(one.removeprefix("doi:") for one in listed.split(",")))
        else:
            papers = self._by_title(asked.query["query.bibliographic"])
        return {"status": "ok", "message": {"total-results": len(papers), "items": list(map(_crossref_item, papers))}}

    def _semantic_scholar(self, asked: Asked) -> Any:
        assert asked.path == "/paper/batch"
        found = []
        for name in json.loads(asked.body)["ids"]:
            papers = self._by_identifiers(name.split(":", 1)[1])
            found.append(_semantic_scholar_paper(papers[0]) if papers else None)
        return found

    def _unpaywall(self, asked: Asked) -> Any:
        papers = self._by_identifiers(asked.path.removeprefix("/"))
        if not papers:
            return None
        url = f"http://127.0.0.1:{self.port}/files/{papers[0].number}.pdf"
        licence = "cc-by" if papers[0].number % 2 else None
        best = {"url_for_pdf": url, "license": licence, "host_type": "repository"}
        return {"doi": papers[0].doi, "is_oa": True, "best_oa_location": best, "oa_locations": [best]}


def _pubmed_article(paper: Paper) -> str:
    abstract = ""
    if text := paper.abstract_at("pubmed"):
        first, last = text.split(". ", 1)
        abstract = (
            f'<Abstract><AbstractText Label="AIM">{first}.</AbstractText>'
            f'<AbstractText Label="RESULTS">{last}</AbstractText></Abstract>'
        )
    return (
        f'<PubmedArticle><MedlineCitation Status="MEDLINE"><PMID Version="1">{paper.pmid}</PMID><Article>'
        f"<Journal><JournalIssue><PubDate><Year>{paper.year}</Year></PubDate></JournalIssue>"
        "<Title>J Trust</Title></Journal>"
        f"<ArticleTitle>{escape(paper.title)}.</ArticleTitle>{abstract}"
        f"<AuthorList><Author><LastName>{paper.family}</LastName><ForeName>Ann</ForeName></Author></AuthorList>"
        f'<ELocationID EIdType="doi">{paper.doi}</ELocationID></Article></MedlineCitation><PubmedData><ArticleIdList>'
        f'<ArticleId IdType="pubmed">{paper.pmid}</ArticleId></ArticleIdList></PubmedData></PubmedArticle>'
    )


def _europepmc_result(paper: Paper) -> dict[str, Any]:
    found = {
        **{"id": paper.pmid, "source": "MED", "pmid": paper.pmid, "doi": paper.doi, "title": f"{paper.title}."},
        **{"authorList": {"author": [{"lastName": paper.family, "firstName": "Ann"}]}, "pubYear": str(paper.year)},
        **{"pubTypeList": {"pubType": ["research-article"]}, "isOpenAccess": "Y" if paper.pmcid else "N"},
    }
    if paper.pmcid:
        found |= {"pmcid": paper.pmcid, "license": LICENCE}
    if text := paper.abstract_at("europepmc"):
        first, last = text.split(". ", 1)
        found["abstractText"] = f"<h4>Aim</h4>{first}.<h4>Results</h4>{last}"
    return found


def inverted(text: str) -> dict[str, list[int]]:
    """Return the positions of each word of a text, the form in which OpenAlex stores abstracts."""
    index: dict[str, list[int]] = {}
    for place, word in enumerate(text.split()):
        index.setdefault(word, []).append(place)
    return index


def _openalex_work(paper: Paper) -> dict[str, Any]:
    text = paper.abstract_at("openalex")
    return {
        **{"id": f"https://openalex.org/W{paper.number}", "doi": f"https://doi.org/{paper.doi}", "title": paper.title},
        "ids": {"pmid": f"https://pubmed.ncbi.nlm.nih.gov/{paper.pmid}"} if paper.pmid else {},
        "authorships": [{"author": {"display_name": f"Ann {paper.family}"}}],
        **{"publication_year": paper.year, "abstract_inverted_index": inverted(text) if text else None},
        **{"is_retracted": paper.number == 2, "best_oa_location": None, "primary_location": {"license": None}},
        "referenced_works": [f"https://openalex.org/W{number}" for number in paper.cites],
    }


def _crossref_item(paper: Paper) -> dict[str, Any]:
    item = {
        **{"DOI": paper.doi.upper(), "title": [paper.title], "author": [{"family": paper.family, "given": "Ann"}]},
        **{"issued": {"date-parts": [[paper.year, 3]]}, "container-title": ["J Trust"], "type": "journal-article"},
    }
    if text := paper.abstract_at("crossref"):
        item["abstract"] = f"<jats:title>Abstract</jats:title><jats:p>{escape(text)}</jats:p>"
    return item


def _semantic_scholar_paper(paper: Paper) -> dict[str, Any]:
    return {
        **{"paperId": f"s{paper.number}", "externalIds": {"DOI": paper.doi, "PubMed": paper.pmid or None}},
        **{"title": paper.title, "abstract": paper.abstract_at("semantic_scholar") or None, "year": paper.year},
        **{
            "authors": [{"name": f"Ann {paper.family}"}],
            "url": f"https://www.semanticscholar.org/paper/s{paper.number}",
        },
    }


def _jats(paper: Paper) -> bytes:
    return (
        '<?xml version="1.0"?><article article-type="research-article"><front><article-meta>'
        f'<article-id pub-id-type="doi">{paper.doi}</article-id>'
        f'<article-id pub-id-type="pmid">{paper.pmid}</article-id>'
        f"<title-group><article-title>{escape(paper.title)}</article-title></title-group></article-meta></front>"
        f"<body><sec><title>Results</title><p>{escape(paper.abstract)}</p></sec></body></article>"
    ).encode()
