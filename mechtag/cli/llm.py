"""Commands that ask language models to code papers.

Texts are sent to another machine only if the user names that machine.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from mechtag.cli.options import ProjectFolder, Terminal, open_project, say, show
from mechtag.cli.tagging import Basis


def _asking(yes: bool) -> Callable[[str], bool]:
    """Return a function that asks the user a yes/no question and returns whether the answer is yes.

    If ``yes`` is true, the function does not ask, and the answer is yes.
    """

    def ask(question: str) -> bool:
        if yes:
            say(f"note: {question} Yes (--yes)")
            return True
        # Without a terminal, the answer is no.
        return sys.stdin.isatty() and typer.confirm(question, err=True)

    return ask


def llm(
    records: Annotated[
        Path,
        typer.Argument(metavar="RECORDS", help="Records without duplicates, as a parquet table or a search export."),
    ],
    endpoint: Annotated[
        str,
        typer.Option("--endpoint", help="Address of an OpenAI-compatible endpoint, such as http://127.0.0.1:8080/v1."),
    ],
    model: Annotated[str, typer.Option("--model", help="Name of the language model at the endpoint.")],
    output: Annotated[
        Path,
        typer.Option(
            "-o", "--output", help="CSV file to write the codings to. Other files are written to the same folder."
        ),
    ],
    full_texts: Annotated[
        Path | None,
        typer.Option(
            "--full-texts",
            help="Table of full texts that 'mechtag attach' wrote. The language model reads these texts instead of the "
            "abstracts.",
            show_default=False,
        ),
    ] = None,
    basis: Annotated[
        Basis | None,
        typer.Option(
            "--basis",
            help="What the language model reads: abstracts or full texts. Default: full texts if --full-texts is set, "
            "otherwise abstracts.",
            show_default=False,
        ),
    ] = None,
    labels: Annotated[
        str,
        typer.Option(
            "--labels",
            help="Keys of the labels to ask about, separated by commas. Default: relevance and all labels.",
            show_default=False,
        ),
    ] = "",
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Maximum number of papers to code.", show_default=False)
    ] = None,
    max_cost: Annotated[
        float | None,
        typer.Option(
            "--max-cost",
            min=0,
            help="Stop before a request that could raise the total cost above this limit (US dollars). Needs "
            "llm.prices in params.yaml.",
            show_default=False,
        ),
    ] = None,
    max_tokens: Annotated[
        int,
        typer.Option(
            "--max-tokens",
            min=20,
            help="Maximum number of tokens in an answer of the language model. If an answer is cut off, the question "
            "is asked again, with up to four times this number.",
        ),
    ] = 400,
    timeout: Annotated[
        float, typer.Option("--timeout", min=1, help="Maximum number of seconds to wait for an answer.")
    ] = 300,
    think_first: Annotated[
        bool,
        typer.Option(
            "--think-first", help="Ask the language model to state its evidence and reasons before its answer."
        ),
    ] = False,
    shots: Annotated[
        int,
        typer.Option("--shots", min=0, help="Number of invented examples of each label to show to the language model."),
    ] = 0,
    repeat: Annotated[
        int,
        typer.Option(
            "--repeat",
            min=1,
            max=9,
            help="Number of times to ask each question, to measure how often the answers agree. Each time, the seed "
            "and the order of the coding rules are different.",
        ),
    ] = 1,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Send nothing: show the number of requests, the cost and the first message."),
    ] = False,
    send_text_to: Annotated[
        str,
        typer.Option(
            "--send-text-to",
            metavar="HOST",
            help="Host to which texts may be sent, if the endpoint is not on this machine.",
            show_default=False,
        ),
    ] = "",
    yes: Annotated[
        bool, typer.Option("--yes", help="Send texts to the host in --send-text-to without asking on the terminal.")
    ] = False,
    licence_ok: Annotated[
        bool,
        typer.Option(
            "--licence-ok",
            help="Confirm that the licences of the full texts allow sending them to the host in --send-text-to.",
        ),
    ] = False,
    project: ProjectFolder = None,
) -> None:
    """Ask a language model to code papers, as one more coder.

    Each question is about one paper and one label. If a quote in an answer is not in the text, the quote is dropped. A
    yes without a quote counts as unclear. Pass the table of codings to `agreement` or `evaluate` to see how far the
    language model agrees with people. `train` and `retrain` refuse codings of a language model unless a person
    confirmed them.

    An endpoint on this machine needs no further option. The key of an endpoint is read from MECHTAG_LLM_KEY. After an
    interruption, run the same command again: answers are stored in llm.sqlite, and only unanswered questions are asked.

    Example: `mechtag llm unique.parquet --endpoint http://127.0.0.1:8080/v1 --model qwen3 -o codings_llm.csv`
    """
    from mechtag.workflows.llm import LlmAccess, Wanted, code_with_llm

    if basis is Basis.full_text and full_texts is None:
        raise typer.BadParameter("--basis full-text needs the table of full texts; add --full-texts")
    if basis is Basis.abstract and full_texts is not None:
        raise typer.BadParameter("--basis abstract and --full-texts exclude each other; omit one of the two")
    wanted = Wanted(
        tuple(word.strip() for word in labels.split(",") if word.strip()),
        full_texts,
        limit,
        max_tokens,
        think_first,
        shots,
        repeat,
        max_cost,
    )
    access = LlmAccess(endpoint, model, send_text_to, licence_ok, _asking(yes), timeout)
    for line in code_with_llm(
        open_project(project), records, output, wanted, access, dry_run=dry_run, reporter=Terminal()
    ):
        show(line)


def llm_vote(
    tables: Annotated[
        list[Path],
        typer.Argument(metavar="CODINGS...", help="Tables that 'mechtag llm' wrote, one per language model."),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="CSV file to write the codings to.")],
    coder: Annotated[
        str, typer.Option("--coder", help="Name of the coder under which the vote is stored; must begin with llm:.")
    ] = "llm:vote",
    project: ProjectFolder = None,
) -> None:
    """Let several language models vote on each code, and write the majority as one more coder.

    A code is yes if more than half of the language models answered yes, and no if more than half answered no.
    Otherwise, it is unclear. Use the table of votes like the table of a single language model.

    Example: `mechtag llm-vote codings_qwen.csv codings_llama.csv codings_gemma.csv -o codings_vote.csv`
    """
    from mechtag.workflows.llm import vote_of_tables

    for line in vote_of_tables(open_project(project), tables, output, coder):
        show(line)
