"""Show the *Codebook* page: the codebook, the form for changing it, and the codes to check after a change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from starlette.responses import Response

from mechtag.core.codebook import Codebook
from mechtag.review.acts import Refused, Stamp
from mechtag.review.codebooks import StaleCode, check_retired, compare, find_stale, parse, save
from mechtag.review.examples import Example, visible_examples
from mechtag.review.jobs.ranking import ask_after_decisions
from mechtag.review.numbers import whole_number
from mechtag.review.pages.records import sees_results
from mechtag.review.store.new_labels import count_owed_by_label
from mechtag.review.visit import Visit, route

# Largest number of records that are sent back at a time.
_AT_ONCE = 50


def codebook(visit: Visit) -> Response:
    """Show the codebook in use. For each label, also show those examples that the person may see.

    Owners also see the codes that were given before the meaning of their label changed.
    """
    book = visit.workspace.codebook
    with visit.workspace.store.read() as connection:
        stale = find_stale(connection, book) if visit.person.may("change_codebook") else []
        owed = count_owed_by_label(connection) if visit.person.may("change_codebook") else {}
        examples: dict[str, list[Example]] = {key: [] for key in book.all_keys}
        for one in visible_examples(connection, visit.person.id, blinded=not sees_results(visit, connection)):
            if one.label in examples:
                examples[one.label].append(one)
    counts: dict[tuple[str, str, int], list[StaleCode]] = {}
    for row in stale:
        counts.setdefault((row.label, row.name, row.coder), []).append(row)
    return visit.page(
        "codebook.html",
        book=book,
        stale=counts,
        owed=owed,
        names=book.names,
        examples=examples,
        at_once=_AT_ONCE,
    )


def edit(visit: Visit, faults: str = "", status: int = 200) -> Response:
    """Show the form for changing the codebook.

    If the form could not be saved, the page shows the faults and the values that the person entered.
    """
    book = visit.workspace.codebook
    entries = _typed_entries(visit) if visit.form else [entry.model_dump() for entry in book.entries]
    return _form(visit, entries, faults=faults.splitlines(), status=status)


def change(visit: Visit) -> Response:
    """Handle the form for changing the codebook; the button that was pressed determines the action.

    The actions are: move a label, add a label, check the changes, and save the changes. Some entries may have been
    reworded. The person must state for each reworded entry whether its meaning has changed. Until then, the changes
    are not saved.

    If the codebook was changed after the form was loaded, the form is shown again with the labels that were added in
    the meantime. Otherwise, saving the form would retire these labels.
    """
    action = visit.text("action")
    entries = _typed_entries(visit)
    book = visit.workspace.codebook
    if visit.text("based_on_codebook", book.sha256) != book.sha256:
        known = {visit.text(name) for name in visit.form if name.startswith("key-")}
        entries += [entry.model_dump() for entry in book.labels if entry.key not in known]
        return _form(visit, entries, outdated=True, status=409)
    if action == "add":
        entries.append({"key": "", "name": "", "definition": "", "include": (), "exclude": (), "absence": ()})
        return _form(visit, entries)
    if action.startswith(("up-", "down-")):
        word, _, place = action.partition("-")
        _move(entries, whole_number(place) or 0, -1 if word == "up" else 1)
        return _form(visit, entries)
    try:
        new = parse(book, _content(entries))
        again = check_retired(visit.workspace, new)
    except Refused as error:
        return edit(visit, str(error), error.status)
    difference = compare(book, new)
    if action == "save":
        meaning = [key for key in difference.reworded if visit.text(f"meaning-{key}") == "yes"]
        open_keys = [key for key in difference.reworded if visit.text(f"meaning-{key}") not in ("yes", "no")]
        if not open_keys:
            stamp = visit.stamp()
            save(visit.workspace, Stamp(stamp.coder, stamp.client_id), new, meaning)
            return visit.go("/codebook")
    return visit.page(
        "codebook_check.html",
        book=book,
        difference=difference,
        again=again,
        entries=entries,
        names={**book.names, **new.names},
    )


def _form(
    visit: Visit,
    entries: list[dict[str, Any]],
    *,
    faults: Sequence[str] = (),
    outdated: bool = False,
    status: int = 200,
) -> Response:
    book = visit.workspace.codebook
    return visit.page("codebook_edit.html", status=status, book=book, entries=entries, faults=faults, outdated=outdated)


def _typed_entries(visit: Visit) -> list[dict[str, Any]]:
    """Return the entries of the codebook form, relevance first; labels that the person wants to retire are left out."""
    found = []
    for place in range(200):
        if f"key-{place}" not in visit.form:
            break
        if visit.text(f"retire-{place}") and place:
            continue
        found.append(
            {
                "key": visit.text(f"key-{place}").strip(),
                "name": " ".join(visit.text(f"name-{place}").split()),
                "definition": visit.text(f"definition-{place}").strip(),
                "include": _lines(visit.text(f"include-{place}")),
                "exclude": _lines(visit.text(f"exclude-{place}")),
                **({"absence": _lines(visit.text(f"absence-{place}"))} if place else {}),
            }
        )
    return found


def _lines(text: str) -> tuple[str, ...]:
    return tuple(" ".join(line.split()) for line in text.splitlines() if line.strip())


def _content(entries: list[dict[str, Any]]) -> dict[str, Any]:
    if not entries:
        raise Refused("the form contains no entries, so nothing was saved; reload the page")
    return {"relevance": entries[0], "labels": entries[1:]}


def _move(entries: list[dict[str, Any]], place: int, by: int) -> None:
    other = place + by
    if 1 <= place < len(entries) and 1 <= other < len(entries):
        entries[place], entries[other] = entries[other], entries[place]


def look_again(visit: Visit) -> Response:
    """Send records back to a person who coded them before the meaning of a label changed.

    At most 50 records are sent back at a time.
    """
    label, coder = visit.text("label"), visit.number("coder")
    book: Codebook = visit.workspace.codebook
    with visit.workspace.store.read() as connection:
        rows = [row for row in find_stale(connection, book) if row.label == label and row.coder == coder]
    if not rows:
        raise Refused("this person gave no code for this label before its meaning changed; reload the page", 404)
    stamp = visit.stamp()
    message = f"The meaning of {book.names[label]} has changed since you coded this record. Look at it again."
    for row in rows[:_AT_ONCE]:
        each = Stamp(stamp.coder, f"{stamp.client_id}/{row.record}")
        visit.workspace.acts.reopen(each, row.record, row.stage, row.coder, message)
    again = [row.record for row in rows[:_AT_ONCE] if row.stage == "screen"]
    if again:
        with visit.workspace.store.write() as connection:
            ask_after_decisions(connection, visit.person.id, again)
    return visit.go("/codebook")


ROUTES = [
    route("/codebook", "codebook", codebook),
    route("/codebook/edit", "edit_codebook", edit),
    route("/codebook/edit", "change_codebook", change, ("POST",)),
    route("/codebook/again", "look_again", look_again, ("POST",)),
]
