"""Define the tables of the database of a review.

Table ``event`` is an append-only log of everything that people did. The tables in `DERIVED` can be computed from this
log at any time. An event and the changes that it causes in these tables are written in the same transaction. If an
event concerns many records, the tables are updated soon afterwards.

Other tables contain, for example, accounts, imported records, the order of reading, and suggestions of the model.
"""

from __future__ import annotations

from sqlalchemy import (
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
)

#: Version of the schema, which is stored in SQLite's ``user_version``. Versions differ in derived tables, which are
#: computed again from the log when a database of an earlier version is opened, and in the states of jobs (since 7).
VERSION = 11

metadata = MetaData()


def _table(name: str, *columns: Column[object] | PrimaryKeyConstraint | UniqueConstraint | Index) -> Table:
    return Table(name, metadata, *columns, sqlite_with_rowid=False)


account = Table(
    "account",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("role", Text, nullable=False),
    # Hash of the password or PIN (argon2id), or NULL for the only person on this computer.
    Column("password", Text),
    # active; left (cannot sign in); or withdrawn (cannot sign in, and the person's codes do not count).
    Column("state", Text, nullable=False, server_default="active"),
    Column("created", Text, nullable=False),
)

session = Table(
    "session",
    metadata,
    Column("token_sha256", Text, primary_key=True),
    Column("account", ForeignKey("account.id"), nullable=False),
    Column("csrf", Text, nullable=False),
    Column("created", Text, nullable=False),
    Column("seen", Text, nullable=False),
    Column("agent", Text, nullable=False, server_default=""),
)

invitation = Table(
    "invitation",
    metadata,
    Column("token_sha256", Text, primary_key=True),
    Column("role", Text, nullable=False),
    # The account whose password the link resets, or NULL for a new account.
    Column("resets", ForeignKey("account.id")),
    Column("made_by", ForeignKey("account.id")),
    Column("until", Text, nullable=False),
    Column("used_by", ForeignKey("account.id")),
)

record = Table(
    "record",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("record_id", Text, nullable=False, unique=True),
    Column("title", Text, nullable=False),
    Column("abstract", Text, nullable=False, server_default=""),
    Column("authors", Text, nullable=False, server_default="[]"),  # JSON list of names
    Column("year", Integer),
    Column("journal", Text),
    Column("doi", Text),
    Column("pmid", Text),
    Column("url", Text),
    Column("keywords", Text, nullable=False, server_default="[]"),  # JSON list
    Column("type", Text),
    Column("language", Text),
    # Number of the import that added the record.
    Column("wave", Integer, nullable=False, server_default="1"),
    # JSON list of [start, end, section] per sentence of the abstract.
    Column("sentences", Text, nullable=False, server_default="[]"),
    # Number of times that the paper was found, including this record.
    Column("copies", Integer, nullable=False, server_default="1"),
    # Name of the export, and number of the record in it.
    Column("source_file", Text, nullable=False, server_default=""),
    Column("source_index", Integer, nullable=False, server_default="0"),
    Index("record_of_wave", "wave"),
)

# Imports: the files that somebody uploaded at once.
batch = Table(
    "batch",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("at", Text, nullable=False),
    Column("coder", ForeignKey("account.id"), nullable=False),
    Column("state", Text, nullable=False),  # reading, read, adding, added, removing or discarded
    Column("found", Text, nullable=False, server_default="{}"),  # JSON object: what was read
    Column("result", Text, nullable=False, server_default="{}"),  # JSON object: what was added; {} if nothing yet
    CheckConstraint("state IN ('reading', 'read', 'adding', 'added', 'removing', 'discarded')"),
)

upload = _table(
    "upload",
    Column("batch", ForeignKey("batch.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("size", Integer, nullable=False),
    Column("sha256", Text, nullable=False),
    PrimaryKeyConstraint("batch", "name"),
    Index("upload_by_content", "sha256"),
)

# Entries that were found to be duplicates of a record during an import. Such an entry becomes a separate record only if
# somebody decides that it is a different paper.
copy = Table(
    "copy",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("head", ForeignKey("record.id"), nullable=False),
    Column("record", ForeignKey("record.id")),
    Column("source_file", Text, nullable=False),
    Column("source_index", Integer, nullable=False),
    Column("confidence", Float, nullable=False),
    Column("reason", Text, nullable=False),
    Column("row", Text, nullable=False),  # JSON object: the columns of table record
    Column("gave", Text, nullable=False),  # JSON object: fields of the head that were missing and filled from this copy
    Column("wave", Integer, nullable=False),
    Index("copy_of_head", "head"),
    Index("copy_as_record", "record"),
)

# Pairs of records that may be duplicates but were not joined automatically.
pair = Table(
    "pair",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("left", ForeignKey("record.id"), nullable=False),
    Column("right", ForeignKey("record.id"), nullable=False),
    Column("confidence", Float, nullable=False),
    Column("reason", Text, nullable=False),
    Column("fields", Text, nullable=False),  # JSON list of two objects: both records as they were read
    Column("wave", Integer, nullable=False),
    UniqueConstraint("left", "right"),
    Index("pair_by_confidence", "confidence"),
)

# Files of full texts that people uploaded, with the text that the worker read from each file.
full_text = Table(
    "full_text",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("sha256", Text, nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("at", Text, nullable=False),
    Column("coder", ForeignKey("account.id"), nullable=False),
    Column("state", Text, nullable=False),  # reading, read or rejected
    Column("reason", Text, nullable=False, server_default=""),  # why the file was rejected, or not attached
    Column("format", Text, nullable=False, server_default=""),
    Column("text", Text, nullable=False, server_default=""),
    # JSON object: the other fields of `mechtag.core.full_text.FullText`.
    Column("document", Text, nullable=False, server_default="{}"),
    # JSON list of [start, end, title of the section, label of the page] per sentence, without the references.
    Column("sentences", Text, nullable=False, server_default="[]"),
    # Record to which the file probably belongs, how this record was identified, and the similarity of the titles. Not a
    # foreign key, because the file stays if its record is removed with an import.
    Column("record", Integer),
    Column("found_by", Text, nullable=False, server_default=""),
    Column("likeness", Float),
    CheckConstraint("state IN ('reading', 'read', 'rejected')"),
    Index("full_text_by_state", "state"),
    Index("full_text_of_record", "record"),
)

sight = Table(
    "sight",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("record", ForeignKey("record.id"), nullable=False),
    Column("coder", ForeignKey("account.id"), nullable=False),
    Column("at", Text, nullable=False),
    Column("stage", Text, nullable=False),
    Column("mode", Text, nullable=False),  # off, blind, after, assisted or reconcile
    Column("model_id", Text),
    Column("strategy", Text, nullable=False, server_default=""),
    Column("suggestions_shown", Integer, nullable=False),
    Column("others_shown", Integer, nullable=False),
    Column("highlights", Integer, nullable=False, server_default="0"),
    Column("text_sha256", Text, nullable=False, server_default=""),
    # JSON: label -> [decision, probability, [numbers of sentences]], exactly as it was shown.
    Column("suggested", Text),
    Index("sight_of_record", "record", "coder"),
)

event = Table(
    "event",
    metadata,
    Column("seq", Integer, primary_key=True),
    # Id that the browser created for an action. An action that is sent again is not written again.
    Column("client_id", Text, nullable=False),
    # Number of the event within its action, counted from 0.
    Column("part", Integer, nullable=False),
    # ``seq`` of the first event of the action; undo reverses the action as a whole.
    Column("act", Integer, nullable=False),
    Column("at", Text, nullable=False),
    Column("coder", ForeignKey("account.id"), nullable=False),
    Column("kind", Text, nullable=False),
    Column("record", ForeignKey("record.id")),
    Column("stage", Text),
    Column("label", Text),
    Column("value", Text, nullable=False, server_default="{}"),  # JSON object
    Column("undoes", Integer),
    Column("sight", ForeignKey("sight.id")),
    Column("assisted", Integer),
    Column("seconds", Float),
    Column("codebook", Text, nullable=False, server_default=""),
    Column("app", Text, nullable=False, server_default=""),
    UniqueConstraint("client_id", "part"),
    Index("event_of_record", "record", "seq"),
    Index("event_of_kind", "kind", "seq"),
    Index("event_of_coder", "coder", "seq"),
    Index("event_that_undoes", "undoes", "seq"),
    sqlite_autoincrement=True,
)

# Derived from events. ------------------------------------------------------------------------------------------------

current = _table(
    "current",
    Column("record", ForeignKey("record.id"), nullable=False),
    Column("stage", Text, nullable=False),
    Column("coder", ForeignKey("account.id"), nullable=False),
    Column("label", Text, nullable=False),
    Column("value", Integer),  # 1, 0, or NULL: not judged, or needs review
    Column("refer", Integer, nullable=False),
    Column("reason", Text),
    Column("sentences", Text, nullable=False),  # JSON list of numbers
    Column("signs", Text, nullable=False),  # JSON object: number of a sentence -> sign
    # JSON object: number of a sentence -> role -> [numbers of configurations]
    Column("roles", Text, nullable=False),
    Column("text", Text, nullable=False),  # SHA-256 of the full text that these sentences are of, or ""
    Column("complete", Integer, nullable=False),
    # Whether a suggestion was visible: 1, 0, or NULL if that is unknown.
    Column("assisted", Integer),
    Column("others_shown", Integer, nullable=False),
    Column("committed", Integer, nullable=False),
    # The code as the coder first committed it, and whether a suggestion was visible then.
    Column("first_value", Integer),
    Column("first_refer", Integer),
    Column("first_assisted", Integer),
    Column("model_id", Text),
    Column("codebook", Text, nullable=False),
    Column("at", Text, nullable=False),
    Column("event", Integer, nullable=False),
    PrimaryKeyConstraint("record", "stage", "coder", "label"),
    Index("current_of_coder", "coder", "stage", "committed"),
)

final = _table(
    "final",
    Column("record", ForeignKey("record.id"), nullable=False),
    Column("stage", Text, nullable=False),
    Column("label", Text, nullable=False),
    Column("value", Integer),
    Column("reason", Text),
    Column("sentences", Text, nullable=False),
    Column("signs", Text, nullable=False),  # JSON object: number of a sentence -> sign
    Column("complete", Integer, nullable=False),
    Column("how", Text, nullable=False),  # single, agreed, adjudicated or imported
    Column("event", Integer, nullable=False),
    PrimaryKeyConstraint("record", "stage", "label"),
    Index("final_by_value", "stage", "label", "value"),
)

need = _table(
    "need",
    Column("record", ForeignKey("record.id"), nullable=False),
    Column("stage", Text, nullable=False),
    Column("have", Integer, nullable=False),
    Column("state", Text, nullable=False),  # open, waiting, conflict, referred or settled
    Column("labels", Text, nullable=False),  # labels that an adjudicator has to settle (JSON)
    # ``seq`` of the event that led to this state; 0 if there is none.
    Column("event", Integer, nullable=False),
    PrimaryKeyConstraint("record", "stage"),
    Index("need_by_state", "stage", "state"),
)

# New labels for which people must still code records that they finished before the labels were added.
owed = _table(
    "owed",
    Column("coder", ForeignKey("account.id"), nullable=False),
    Column("record", ForeignKey("record.id"), nullable=False),
    Column("stage", Text, nullable=False),
    Column("label", Text, nullable=False),
    PrimaryKeyConstraint("coder", "record", "stage", "label"),
    Index("owed_of_record", "record"),
)

# Records for which the derived tables must still be updated after a change of the plan, of a person or of the codebook.
stale = _table("stale", Column("record", ForeignKey("record.id"), nullable=False), PrimaryKeyConstraint("record"))

# Number of records by stage and state, so that pages need not count all records. Triggers on ``need`` update it.
tally = _table(
    "tally",
    Column("stage", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("number", Integer, nullable=False),
    PrimaryKeyConstraint("stage", "state"),
)

joined = _table(
    "joined",
    Column("record", ForeignKey("record.id"), nullable=False),
    # The record that represents both.
    Column("into", ForeignKey("record.id"), nullable=False),
    Column("event", Integer, nullable=False),
    PrimaryKeyConstraint("record"),
    Index("joined_into", "into"),
)

apart = _table(
    "apart",
    Column("record", ForeignKey("record.id"), nullable=False),
    # A record that somebody found to be a different paper; the smaller number is in ``record``.
    Column("other", ForeignKey("record.id"), nullable=False),
    Column("event", Integer, nullable=False),
    PrimaryKeyConstraint("record", "other"),
)

# The file of the full text of each record. Of the files of joined records, one is the text of the paper.
attachment = _table(
    "attachment",
    Column("record", ForeignKey("record.id"), nullable=False),
    Column("sha256", Text, nullable=False),
    # How the record was identified, such as DOI; ``person`` if a person chose it.
    Column("found_by", Text, nullable=False),
    Column("event", Integer, nullable=False),
    Column("is_read", Integer, nullable=False),  # whether it is the text of the paper
    PrimaryKeyConstraint("record"),
    Index("attachment_of_file", "sha256"),
)

note = _table(
    "note",
    Column("record", ForeignKey("record.id"), nullable=False),
    Column("coder", ForeignKey("account.id"), nullable=False),
    Column("audience", Text, nullable=False),  # me, team or adjudicator
    Column("text", Text, nullable=False),
    Column("event", Integer, nullable=False),
    PrimaryKeyConstraint("record", "coder", "audience"),
)

tag = _table(
    "tag",
    Column("record", ForeignKey("record.id"), nullable=False),
    Column("tag", Text, nullable=False),
    Column("event", Integer, nullable=False),
    PrimaryKeyConstraint("record", "tag"),
)

skip = _table(
    "skip",
    Column("record", ForeignKey("record.id"), nullable=False),
    Column("stage", Text, nullable=False),
    Column("coder", ForeignKey("account.id"), nullable=False),
    Column("event", Integer, nullable=False),
    PrimaryKeyConstraint("record", "stage", "coder"),
)

setting = _table(
    "setting",
    Column("key", Text, nullable=False),
    Column("value", Text, nullable=False),  # JSON
    Column("event", Integer, nullable=False),
    PrimaryKeyConstraint("key"),
)

# Order of reading, and suggestions of models. ------------------------------------------------------------------------

ranking = Table(
    "ranking",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("stage", Text, nullable=False),
    Column("at", Text, nullable=False),
    Column("strategy", Text, nullable=False),
    Column("learned_from", Integer, nullable=False),
    Column("active", Integer, nullable=False),
)

queue = _table(
    "queue",
    Column("ranking", ForeignKey("ranking.id"), nullable=False),
    Column("position", Integer, nullable=False),
    Column("record", ForeignKey("record.id"), nullable=False),
    PrimaryKeyConstraint("ranking", "position"),
)

place = _table(
    "place",
    Column("coder", ForeignKey("account.id"), nullable=False),
    Column("stage", Text, nullable=False),
    Column("ranking", Integer, nullable=False),
    Column("position", Integer, nullable=False),
    PrimaryKeyConstraint("coder", "stage"),
)

lease = _table(
    "lease",
    Column("record", ForeignKey("record.id"), nullable=False),
    Column("stage", Text, nullable=False),
    Column("coder", ForeignKey("account.id"), nullable=False),
    Column("until", Float, nullable=False),  # seconds since 1970
    PrimaryKeyConstraint("record", "stage", "coder"),
)

suggestion = _table(
    "suggestion",
    Column("model_id", Text, nullable=False),
    Column("record", ForeignKey("record.id"), nullable=False),
    # ``code`` for suggestions for the abstract, or ``full-text``.
    Column("stage", Text, nullable=False, server_default="code"),
    Column("label", Text, nullable=False),
    Column("probability", Float),
    Column("decision", Text, nullable=False),
    Column("sentences", Text, nullable=False),  # JSON list of numbers
    PrimaryKeyConstraint("model_id", "record", "stage", "label"),
)

# Suggestions that differ between the previous model and the model that the last training made, in order.
change = _table(
    "change",
    Column("job", Integer, nullable=False),
    Column("number", Integer, nullable=False),
    Column("record", ForeignKey("record.id"), nullable=False),
    Column("label", Text, nullable=False),
    Column("before", Text, nullable=False),
    Column("probability_before", Float, nullable=False),
    Column("after", Text, nullable=False),
    Column("probability_after", Float, nullable=False),
    Column("why", Text, nullable=False),
    PrimaryKeyConstraint("job", "number"),
    Index("change_of_record", "record"),
)

job = Table(
    "job",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("arguments", Text, nullable=False, server_default="{}"),  # JSON object
    Column("asked_by", ForeignKey("account.id")),
    Column("asked", Text, nullable=False),
    Column("started", Text),
    Column("ended", Text),
    Column("state", Text, nullable=False),  # waiting, running, stopping, done, failed or cancelled
    Column("done", Integer, nullable=False, server_default="0"),
    Column("total", Integer, nullable=False, server_default="0"),
    Column("message", Text, nullable=False, server_default=""),
    Column("result", Text, nullable=False, server_default="{}"),  # JSON object
    CheckConstraint("state IN ('waiting', 'running', 'stopping', 'done', 'failed', 'cancelled')"),
    Index("job_by_state", "state", "id"),
)

# Single values, such as the name of the review and the id of the model in use.
fact = _table(
    "fact", Column("key", Text, nullable=False), Column("value", Text, nullable=False), PrimaryKeyConstraint("key")
)

#: Tables that are derived from events, in the order in which they can be emptied.
DERIVED = (current, final, need, owed, joined, apart, attachment, note, tag, skip, setting)
#: Tables that the worker can compute again.
COMPUTED = (suggestion,)

_COUNT_NEW = """
    INSERT INTO tally VALUES (new.stage, new.state, 1) ON CONFLICT (stage, state) DO UPDATE SET number = number + 1;
"""
_COUNT_OLD = "UPDATE tally SET number = number - 1 WHERE stage = old.stage AND state = old.state;"

#: SQL statements that SQLAlchemy cannot express: triggers that keep the log append-only and count states, and the index
#: for searching records.
STATEMENTS = (
    """
    CREATE TRIGGER IF NOT EXISTS event_is_not_changed BEFORE UPDATE ON event
    BEGIN SELECT RAISE(ABORT, 'the log of events is append-only'); END
    """,
    """
    CREATE TRIGGER IF NOT EXISTS event_is_not_deleted BEFORE DELETE ON event
    BEGIN SELECT RAISE(ABORT, 'the log of events is append-only'); END
    """,
    # SQLite replaces a row without the trigger for deleted rows.
    """
    CREATE TRIGGER IF NOT EXISTS event_is_not_replaced BEFORE INSERT ON event
    WHEN EXISTS (SELECT 1 FROM event WHERE seq = new.seq OR (client_id = new.client_id AND part = new.part))
    BEGIN SELECT RAISE(ABORT, 'the log of events is append-only'); END
    """,
    f"CREATE TRIGGER IF NOT EXISTS need_is_added AFTER INSERT ON need BEGIN {_COUNT_NEW} END",
    f"CREATE TRIGGER IF NOT EXISTS need_is_removed AFTER DELETE ON need BEGIN {_COUNT_OLD} END",
    f"CREATE TRIGGER IF NOT EXISTS need_is_changed AFTER UPDATE ON need BEGIN {_COUNT_OLD} {_COUNT_NEW} END",
    """
    CREATE VIRTUAL TABLE IF NOT EXISTS record_fts USING fts5(
        title, abstract, authors, keywords,
        content='record', content_rowid='id', tokenize="unicode61 remove_diacritics 2"
    )
    """,
    """
    CREATE TRIGGER IF NOT EXISTS record_is_added AFTER INSERT ON record BEGIN
        INSERT INTO record_fts(rowid, title, abstract, authors, keywords)
        VALUES (new.id, new.title, new.abstract, new.authors, new.keywords);
    END
    """,
    """
    CREATE TRIGGER IF NOT EXISTS record_is_removed AFTER DELETE ON record BEGIN
        INSERT INTO record_fts(record_fts, rowid, title, abstract, authors, keywords)
        VALUES ('delete', old.id, old.title, old.abstract, old.authors, old.keywords);
    END
    """,
    """
    CREATE TRIGGER IF NOT EXISTS record_is_changed AFTER UPDATE OF title, abstract, authors, keywords ON record BEGIN
        INSERT INTO record_fts(record_fts, rowid, title, abstract, authors, keywords)
        VALUES ('delete', old.id, old.title, old.abstract, old.authors, old.keywords);
        INSERT INTO record_fts(rowid, title, abstract, authors, keywords)
        VALUES (new.id, new.title, new.abstract, new.authors, new.keywords);
    END
    """,
)
