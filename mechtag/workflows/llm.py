"""Ask language models to code papers, and combine their codes by vote."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from mechtag.core.errors import MechtagError
from mechtag.core.files import write_csv, write_jsonl
from mechtag.core.outputs import check_outputs, require_csv
from mechtag.core.parquet import FullTextTable
from mechtag.core.records import Basis, Coding, Record
from mechtag.core.tables import CONFIRMED
from mechtag.core.words import counted
from mechtag.pipeline.annotations.coded_records import read_exemplars
from mechtag.pipeline.annotations.coding_table import read_codings, write_codings
from mechtag.pipeline.fetch.cache import Cache
from mechtag.pipeline.fetch.transport import Clock, Transport
from mechtag.pipeline.llm.client import (
    KEY_VARIABLE,
    NAME,
    Asking,
    Budget,
    Endpoint,
    Mode,
    find_mode,
    known_mode,
    most_tokens,
    parse_endpoint,
)
from mechtag.pipeline.llm.coder import Coded, Coder, Quote
from mechtag.pipeline.llm.prompt import Passage, Prompt, passages_of, passages_of_full_text
from mechtag.pipeline.llm.run import LlmRun, LlmRuns, path_of_runs, read_runs, write_runs
from mechtag.pipeline.llm.vote import VOTE, vote
from mechtag.pipeline.reading.ingest import read_unique
from mechtag.pipeline.reading.text.cleaning import clean_record
from mechtag.pipeline.reading.text.sentences import split_each
from mechtag.project import Project
from mechtag.workflows.reporter import SILENT, Reporter
from mechtag.workflows.web_access import refuse_unfinished

#: Files that all runs in a folder share: answers, and one line for each call.
CACHE, LOG = "llm.sqlite", "llm_log.jsonl"
Papers = list[tuple[Record, tuple[Passage, ...]]]


@dataclass(frozen=True)
class Wanted:
    """What a language model is asked, and how.

    Attributes
    ----------
    labels
        Keys of the labels to ask about. If empty, the language model is asked about relevance and all labels.
    full_texts
        Table of full texts to read instead of the abstracts. Records without a full text are rejected.
    limit
        Maximum number of papers.
    max_tokens
        Maximum number of tokens in an answer of the language model. If an answer is cut off, the question is asked
        again, with up to four times as many tokens.
    think_first
        Whether the language model states its evidence and its reason before its answer.
    shots
        Number of invented example sentences to show to the language model for each label.
    repeat
        Number of times that each question is asked. The seed and the order of the coding rules differ each time.
    max_cost
        Maximum cost in US dollars.
    """

    labels: Sequence[str] = ()
    full_texts: Path | None = None
    limit: int | None = None
    max_tokens: int = 400
    think_first: bool = False
    shots: int = 0
    repeat: int = 1
    max_cost: float | None = None

    @property
    def basis(self) -> Basis:
        """Return which text the language model reads: ``abstract`` or ``full-text``."""
        return "full-text" if self.full_texts else "abstract"


@dataclass(frozen=True)
class LlmAccess:
    """How the endpoint of a language model is reached.

    Attributes
    ----------
    url, model
        Address of the endpoint, and name of the language model at this address.
    send_text_to
        Host to which the user allows texts to be sent.
    is_licensed
        Whether the user states that the licences of full texts allow them to be sent to another machine.
    ask
        Function that asks the user a question, and returns whether the answer is yes.
    timeout
        Maximum number of seconds to wait for an answer of the language model.
    clock
        Clock that measures waiting times; tests use a simulated clock.
    """

    url: str
    model: str
    send_text_to: str = ""
    is_licensed: bool = False
    ask: Callable[[str], bool] = lambda _: False
    timeout: float = 300
    clock: Clock = field(default_factory=Clock)

    def connect(self, cache: Cache, endpoint: Endpoint, reporter: Reporter, *, dry: bool) -> Transport:
        """Return an object that sends requests to the endpoint and caches the answers.

        Parameters
        ----------
        dry
            Whether to answer requests from the cache only, and to send nothing.

        Raises
        ------
        MechtagError
            If the API key in the environment contains characters that cannot be sent.
        """
        key = os.environ.get(KEY_VARIABLE, "").strip()
        if not (key.isascii() and key.isprintable()):
            raise MechtagError(
                f"{KEY_VARIABLE}: the key contains characters that cannot be sent, such as letters with accents or a "
                "line break; copy it again"
            )
        return Transport(
            cache,
            None,
            keys={NAME: key} if key else {},
            offline=dry,
            note=reporter.note,
            clock=self.clock,
            patience=self.timeout,
            # Texts for this machine go to no other, whatever the environment says.
            proxies=not endpoint.is_local,
        )


def code_with_llm(
    project: Project,
    source: Path,
    output: Path,
    wanted: Wanted,
    access: LlmAccess,
    *,
    dry_run: bool = False,
    reporter: Reporter = SILENT,
) -> Iterator[str]:
    """Have a language model code papers, and yield messages that describe the results.

    The codings are written to ``output``. If ``output`` is ``NAME.csv``, five other files are written to the same
    folder: ``NAME_evidence.csv`` (quotes with offsets), ``NAME_rejected.jsonl`` (questions without a usable answer),
    ``NAME_run.json`` (description of the coder), ``llm.sqlite`` (cache of answers), and ``llm_log.jsonl`` (log of the
    requests to the endpoint).

    Parameters
    ----------
    source
        Records without duplicates, as a parquet table or a search export.
    dry_run
        Whether to describe what would be sent, without sending or writing anything.

    Raises
    ------
    MechtagError
        If the records cannot be read; if an option or the API key is invalid; if the name of the output does not end in
        ``.csv``; if the endpoint is on another machine that ``access.send_text_to`` does not name; if the user does not
        confirm that texts may be sent to another machine; if full texts would be sent there, but ``access.is_licensed``
        is false; if the cost is limited, but the price of the language model is unknown; if the answers of the endpoint
        cannot be used; or if the endpoint asks for a pause of more than ten minutes. The error about a pause is raised
        after all results are written.
    """
    require_csv(output)
    endpoint = parse_endpoint(access.url, access.send_text_to)
    price = project.settings.llm.prices.get(access.model)
    _refuse(endpoint, access, wanted, price is not None)
    labels = _labels(project, wanted)
    evidence, rejected = (output.with_name(f"{output.stem}{end}") for end in ("_evidence.csv", "_rejected.jsonl"))
    paths = (output, evidence, rejected, path_of_runs(output))
    check_outputs(paths, [source, wanted.full_texts])
    prompt = Prompt(project.codebook, think_first=wanted.think_first, examples=_examples(project, wanted))
    papers = _papers(project, source, wanted, reporter)
    asking = Asking(endpoint, access.model, prompt, wanted.max_tokens)
    budget = Budget(wanted.max_cost, price)
    if not dry_run:
        output.parent.mkdir(parents=True, exist_ok=True)
    confirm = _confirmation(endpoint, access, papers)
    with ExitStack() as stack:
        cache = stack.enter_context(Cache(output.with_name(CACHE), read_only=dry_run))
        transport = stack.enter_context(access.connect(cache, endpoint, reporter, dry=dry_run))

        def coder(mode: Mode, seed: int) -> Coder:
            return Coder(
                asking,
                mode,
                transport,
                wanted.basis,
                project.codebook,
                budget,
                confirm=confirm,
                log=_log_to(output.with_name(LOG)),
                seed=seed,
                clock=access.clock,
            )

        seeds = range(1, wanted.repeat + 1)
        if dry_run:
            mode = known_mode(asking, project.codebook.all_keys[0], transport) or "json_schema"
            yield from _plan([coder(mode, seed) for seed in seeds], papers, labels, budget, asking, transport)
            return
        mode = find_mode(asking, project.codebook.all_keys[0], transport, budget, confirm, reporter.note)
        found: list[Coded] = []
        runs = []
        with reporter.progress("asking the model", len(papers) * len(labels) * wanted.repeat) as advance:
            for seed in seeds:
                each = coder(mode, seed)
                found.append(each.code(papers, labels, advance))
                runs.append(each.describe(found[-1], labels, len(papers)))
        write_codings(output, [row for each in found for row in each.codings], (CONFIRMED,))
        write_csv(evidence, Quote._fields, [quote for each in found for quote in each.quotes], bom=True)
        write_jsonl(rejected, [row for each in found for row in each.rejected])
        described = LlmRuns(runs=tuple(runs))
        write_runs(output, described)
        yield from _describe(output, rejected, found, described, transport, budget)
        refuse_unfinished(transport)


def _refuse(endpoint: Endpoint, access: LlmAccess, wanted: Wanted, has_price: bool) -> None:
    if wanted.full_texts and not endpoint.is_local and not access.is_licensed:
        raise MechtagError(
            f"the full texts would be sent to {endpoint.host}, but publishers' licences often forbid this. If your "
            "licences permit it, confirm the permission; otherwise, use a model on this machine",
            options="to confirm, add --licence-ok",
        )
    if not access.model.strip() or not access.model.isprintable():
        raise MechtagError("the name of the model must be a single line of text that is not empty", options="--model")
    if not 0 < access.timeout < math.inf:
        raise MechtagError("the time limit must be a number of seconds greater than 0", options="--timeout")
    if wanted.max_cost is not None and not 0 <= wanted.max_cost < math.inf:
        raise MechtagError("the cost limit must be a number of US dollars, 0 or more", options="--max-cost")
    if wanted.max_cost is not None and not has_price:
        raise MechtagError(
            f"the price of {access.model} is unknown, so the cost cannot be limited. Enter the price in params.yaml, "
            f"in US dollars per million tokens, such as\nllm:\n  prices:\n    {access.model}: "
            "{input: 0.5, output: 1.5}\nYou can also use the model without a cost limit",
            options="omit --max-cost",
        )


def _labels(project: Project, wanted: Wanted) -> tuple[str, ...]:
    keys = project.codebook.all_keys
    if unknown := [label for label in wanted.labels if label not in keys]:
        raise MechtagError(
            f"the codebook has no label {unknown[0]!r}; use its keys: {', '.join(keys)}", options="--labels"
        )
    return tuple(key for key in keys if not wanted.labels or key in wanted.labels)


def _examples(project: Project, wanted: Wanted) -> dict[str, list[str]]:
    """Return the invented example sentences to show to the language model, keyed by label."""
    if not wanted.shots:
        return {}
    path = project.settings.train.exemplars
    if not path:
        raise MechtagError(
            "example sentences cannot be shown to the model, because params.yaml does not name a file of exemplars; "
            "enter the path of this file under train.exemplars",
            options="or omit --shots",
        )
    # The language model may be asked about papers from which the other exemplars were taken.
    exemplars = [one for one in read_exemplars(path, project.codebook.keys) if one.record_id is None]
    return {
        label: [one.text for one in exemplars if label in one.labels][: wanted.shots] for label in project.codebook.keys
    }


def _papers(project: Project, source: Path, wanted: Wanted, reporter: Reporter) -> Papers:
    """Return the papers to code, each with the passages that the language model reads."""
    settings = project.settings
    records = [clean_record(record) for record in read_unique(source, reporter.note)[: wanted.limit]]
    if wanted.full_texts:
        texts: dict[str, tuple[Passage, ...]] = {}
        by_id = {record.record_id: record for record in records}
        with FullTextTable(wanted.full_texts, wanted.full_texts) as table:
            for batch in table.read(by_id):
                texts |= {
                    name: passages_of_full_text(by_id[name], text, settings.sentences) for name, text in batch.items()
                }
        return [(record, texts.get(record.record_id, ())) for record in records]
    sentences = split_each(records, settings.sentences)
    return [(record, passages_of(record, sentences[record.record_id])) for record in records]


def _characters(papers: Papers) -> int:
    return sum(len(passage.text) for _, passages in papers for passage in passages)


def _confirmation(endpoint: Endpoint, access: LlmAccess, papers: Papers) -> Callable[[], None]:
    """Return a function that asks the user whether texts may be sent to another machine.

    If the user answers no, the function raises `MechtagError`. If the endpoint is on this machine, the function does
    nothing.
    """
    if endpoint.is_local:
        return lambda: None

    @lru_cache
    def confirm() -> None:
        with_text = sum(bool(passages) for _, passages in papers)
        question = (
            f"The texts of {counted(with_text, 'paper')} ({_characters(papers):,} characters) will be sent to "
            f"{endpoint.host}, which is not this machine. Send them?"
        )
        if not access.ask(question):
            raise MechtagError(
                f"nothing was sent to {endpoint.host}, because sending was not confirmed; confirm it on the terminal",
                options="or add --yes",
            )

    return confirm


def _log_to(path: Path) -> Callable[[Mapping[str, Any]], None]:
    def log(entry: Mapping[str, Any]) -> None:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry, ensure_ascii=False) + "\n")

    return log


def _plan(
    coders: Sequence[Coder],
    papers: Papers,
    labels: Sequence[str],
    budget: Budget,
    asking: Asking,
    transport: Transport,
) -> Iterator[str]:
    """Yield lines of text that describe the requests that would be sent, and their cost."""
    requests, affected, answered = [], [], 0
    for paper in papers:
        if not paper[1]:
            continue
        own = [request for coder in coders for request in coder.requests(paper[1], labels)]
        new = [request for request in own if transport.known(request) is None]
        requests += new
        answered += len(own) - len(new)
        affected += [paper] if new else []
    tokens = [most_tokens(request) for request in requests]
    read, written = sum(pair[0] for pair in tokens), sum(pair[1] for pair in tokens)
    where = "on this machine" if asking.endpoint.is_local else "which is not this machine"
    without = sum(not passages for _, passages in papers)
    yield (
        f"{counted(len(requests), 'request')} about {counted(len(affected), 'paper')} "
        f"({_characters(affected):,} characters) would be sent to {asking.endpoint.host}, {where}"
    )
    if answered:
        yield f"{answered} more have been answered before and would not be sent again"
    if without:
        yield f"{counted(without, 'paper')} without text would be rejected"
    cost = (
        "unknown; set llm.prices in params.yaml"
        if budget.price is None
        else f"{budget.price.of(read, written):.4f} USD"
    )
    yield f"at most about {read:,} tokens to read and {written:,} to write; cost: {cost}"
    yield f"prompt {asking.prompt.sha256}; the first message:"
    for _, passages in papers:
        if passages:
            for message in asking.prompt.messages(passages, labels[0]):
                yield f"--- {message['role']}\n{message['content']}"
            return


def _describe(
    output: Path, rejected: Path, found: Sequence[Coded], runs: LlmRuns, transport: Transport, budget: Budget
) -> Iterator[str]:
    yield from runs.describe()
    yield f"{output}: {counted(sum(len(each.codings) for each in found), 'coding')} written"
    if count := sum(len(each.rejected) for each in found):
        yield f"{rejected}: {counted(count, 'question')} without a usable answer, with the reasons"
    if left := sum(each.not_asked for each in found):
        if budget.exhausted:
            why = f"the next request could have exceeded the cost limit ({budget.spent:.4f} USD spent)"
            how = "To continue, set a higher limit with 'mechtag llm ... --max-cost USD'"
        else:
            why = next((pause.reason for pause in transport.paused.values()), "the endpoint did not answer any more")
            how = "To continue, run the same command again"
        yield f"{counted(left, 'question')} not asked: {why}. {how}; what was answered is not asked again"


def vote_of_tables(project: Project, tables: Sequence[Path], output: Path, coder: str = VOTE) -> Iterator[str]:
    """Combine the codings of language models by majority vote, and write the results as codings of a further coder.

    The function yields sentences that summarise the vote.

    Raises
    ------
    MechtagError
        If a table cannot be read, is itself a vote, or lacks the description of its coders; if a coder is a person, or
        is in two tables; if there are fewer than two language models; or if ``coder`` does not begin with ``llm:``, or
        is the name of one of the language models.
    """
    require_csv(output)
    check_outputs((output, path_of_runs(output)), (*tables, *map(path_of_runs, tables)))
    codings: list[Coding] = []
    runs: list[LlmRun] = []
    for table in tables:
        rows = read_codings(table, project.codebook.all_keys)
        if doubled := {row.coder for row in rows} & {row.coder for row in codings}:
            raise MechtagError(
                f"{table}: coder {sorted(doubled)[0]} is also in another table; pass only one table per language model"
            )
        codings += rows
        found = read_runs(table)
        if found is None:
            raise MechtagError(
                f"{path_of_runs(table)}: the description of the coders of {table} is missing. Pass tables that "
                "'mechtag llm' wrote, and keep the files that belong to a table next to it"
            )
        if found.vote:
            raise MechtagError(f"{table}: this table is itself a vote; pass the tables of the models that voted")
        runs += found.runs
    voted = vote(codings, coder)
    write_codings(output, voted, (CONFIRMED,))
    write_runs(output, LlmRuns(vote=coder, runs=tuple(runs)))
    voters = counted(len({row.coder for row in codings}), "language model")
    unclear = sum(row.value is None for row in voted)
    yield (
        f"{output}: {counted(len(voted), 'coding')} by the vote of {voters} written, {unclear} of them "
        "without a majority"
    )
