"""Test the import of roles of evidence from columns, code trees and sets, and what a role means for its label."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest

from mechtag.core.errors import MechtagError
from mechtag.core.settings import DedupeSettings
from mechtag.pipeline.annotations.coding_table import read_codings, read_role_codings, without_roles
from mechtag.pipeline.annotations.imports.codebook_file import read_codebook_file
from mechtag.pipeline.annotations.imports.importer import Imported, read_codings_from, write_imported
from mechtag.pipeline.annotations.imports.label_names import LabelMap, Meaning
from mechtag.pipeline.export.coded_papers import CodedPapers, from_codings
from mechtag.pipeline.export.evidence_roles.configurations import RolePassage, passages_from
from mechtag.pipeline.export.refi_qda import write_codebook, write_project
from tests.support.coded_papers import BOOK, CODINGS, RECORDS, check_counts, import_from

FIRST = RECORDS[0]


def brief(imported: Imported) -> list[str]:
    check_counts(imported)
    return [
        f"{row.key} {row.label}{f':{row.role}' if row.role else ''}={'?' if row.value is None else row.value}"
        for row in imported.codings
    ]


def write(folder: Path, content: str, name: str = "codes.csv") -> Path:
    path = folder / name
    path.write_text(content, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "meaning"),
    [
        ("trust:context", Meaning("trust", 1, "context")),
        ("Building trust: Contexts", Meaning("trust", 1, "context")),
        ("Building trust (Outcome)", Meaning("trust", 1, "outcome")),
        ("Building trust: Mechanism: resource", Meaning("trust", 1, "resource")),
        ("Building trust", Meaning("trust")),
        ("relevant: context", None),
        ("excluded: context", None),
        ("trust: cause", None),
        ("hope: context", None),
        ("confiance", Meaning("trust", 1, "reasoning")),
    ],
)
def test_names_of_labels_with_roles(name: str, meaning: Meaning | None) -> None:
    assert LabelMap(BOOK, {"confiance": "trust:reasoning"}).find(name) == meaning


@pytest.mark.parametrize("key", ["trust:cause", "hope:context", "not trust:context", "relevant:context"])
def test_a_map_to_an_unknown_role_is_refused(key: str) -> None:
    with pytest.raises(MechtagError, match=r"which is not a key of the codebook .* one of the roles context, resource"):
        LabelMap(BOOK, {"x": key})


def test_columns_of_a_matrix_can_be_roles(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "key,trust,trust:context,Building trust: outcome,money:resource\n"
        "marchetti-2017,x,x,Staff came to trust each other.,\n"
        "brandt-2019,0,,,\n"
        "okafor-2015,,,0,1\n",
    )
    imported = import_from(path, coder="ann", unticked="no")
    assert brief(imported) == [
        "marchetti-2017 trust=1",
        "marchetti-2017 trust:context=1",
        "marchetti-2017 trust:outcome=1",
        "brandt-2019 trust=0",
        "okafor-2015 trust=0",
        "okafor-2015 money:resource=1",
    ]
    assert [row.evidence for row in imported.codings if row.role == "outcome"] == ["Staff came to trust each other."]


def test_a_no_for_the_label_contradicts_a_role(tmp_path: Path) -> None:
    path = write(tmp_path, "key,trust,trust:context\nmarchetti-2017,0,x\n")
    imported = import_from(path, coder="ann", unticked="no")
    assert (brief(imported), [conflict.kind for conflict in imported.conflicts]) == ([], ["contradicting"])


def test_coders_differ_if_one_gives_a_role_and_the_other_says_no(tmp_path: Path) -> None:
    path = write(tmp_path, "key,coder,label,value,role\nbrandt-2019,ann,trust,1,context\nbrandt-2019,bob,trust,0,\n")
    (difference,) = import_from(path).disagreements
    assert (difference.yes, difference.no) == (("ann",), ("bob",))


def eppi(folder: Path, *paths: str) -> Path:
    """Write a report of EPPI-Reviewer whose first reference has one code for each of ``paths`` in the tree of codes."""
    tree: dict[str, Any] = {}
    numbers = {}
    for number, path in enumerate(paths, start=1):
        branch = tree
        for name in path.split("/"):
            branch = branch.setdefault(name, {})
        numbers[path] = number

    def nodes(branch: dict[str, Any], above: str) -> list[dict[str, Any]]:
        return [
            {
                "AttributeId": numbers.get(f"{above}{name}", 1000 + len(above)),
                "AttributeName": name,
                "AttributeType": "Selectable (show checkbox)",
                "Attributes": {"AttributesList": nodes(below, f"{above}{name}/")},
            }
            for name, below in branch.items()
        ]

    codes = [{"AttributeId": number, "AdditionalText": f"Text {number}."} for number in numbers.values()]
    content = {
        "CodeSets": [{"SetName": "Coding", "Attributes": {"AttributesList": nodes(tree, "")}}],
        "References": [{"Title": FIRST.title, "DOI": FIRST.doi, "Codes": codes}],
    }
    return write(folder, json.dumps(content), "report.json")


def test_trees_of_codes_with_roles_above_or_below_the_labels(tmp_path: Path) -> None:
    path = eppi(
        tmp_path,
        "Context/Building trust",
        "Mechanism/Resource/Building trust",
        "Mechanism/Money, shared",
        "Sharing power/Outcomes",
        "Sharing power",
    )
    assert brief(import_from(path, coder="ann")) == [
        "marchetti-2017 trust:context=1",
        "marchetti-2017 trust:resource=1",
        "marchetti-2017 money=1",
        "marchetti-2017 sharing_power=1",
        "marchetti-2017 sharing_power:outcome=1",
    ]


def test_files_without_roles_are_read_as_before() -> None:
    for name in ("eppi.json", "matrix.csv", "contract.csv"):
        imported = import_from(CODINGS / name, coder="ann", unticked="no")
        assert imported.codings
        assert not any(row.role for row in imported.codings)


def test_passages_come_back_from_a_project_of_another_program(tmp_path: Path) -> None:
    sentence = "Staff came to trust each other."
    given = {"record_id": FIRST.record_id, "coder": "ann", "label": "trust"}
    passages = (
        RolePassage(**given, role="reasoning", text=sentence, config_id="a", order=2),
        RolePassage(**given, role="reasoning", text=sentence, config_id="b", order=1),
        RolePassage(**given, role="outcome", text=sentence),
        RolePassage(**given, role="context", text="Nowhere in the text", config_id="a", order=1),
        RolePassage(**{**given, "coder": "bob"}, role="context", text="no single office held it"),
    )
    path = write(
        tmp_path, f'record_id,coder,label,value,basis,evidence\n{FIRST.record_id},ann,trust,1,abstract,"{sentence}"\n'
    )
    coded = from_codings(read_codings(path, BOOK.all_keys), RECORDS, BOOK)
    project = tmp_path / "roles.qdpx"
    write_project(project, CodedPapers(BOOK, coded.papers, passages))
    imported = read_codings_from([project], RECORDS, BOOK, DedupeSettings(), basis="abstract")
    check_counts(imported)
    assert sorted((row.coder, row.role or "", row.evidence or "") for row in imported.codings) == [
        ("ann", "", sentence),
        ("ann", "context", "Nowhere in the text"),
        ("ann", "outcome", sentence),
        ("ann", "reasoning", sentence),
        ("bob", "context", "no single office held it"),
    ]
    names = {entry.name for entry in read_codebook_file(project).labels}
    assert names == {entry.name for entry in BOOK.labels}, "roles below labels are not labels"
    write_codebook(tmp_path / "book.qdc", BOOK)
    assert read_codebook_file(tmp_path / "book.qdc").keys == BOOK.keys


def test_a_set_named_after_a_role_gives_its_codes_this_role(tmp_path: Path) -> None:
    project = tmp_path / "roles.qdpx"
    path = write(tmp_path, f"record_id,coder,label,value,basis\n{FIRST.record_id},ann,trust,1,abstract\n")
    write_project(project, from_codings(read_codings(path, BOOK.all_keys), RECORDS, BOOK))
    with zipfile.ZipFile(project) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    code = re.search(rb'<Code guid="([^"]+)" name="Building trust"', members["project.qde"])
    assert code is not None
    sets = b'<Sets><Set guid="%s" name="Mechanism: reasoning"><MemberCode targetGUID="%s"/></Set></Sets></Project>'
    other = b"00000000-0000-5000-8000-000000000001"
    members["project.qde"] = members["project.qde"].replace(b"</Project>", sets % (other, code[1]))
    with zipfile.ZipFile(project, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    imported = read_codings_from([project], RECORDS, BOOK, DedupeSettings(), basis="abstract")
    assert [(row.label, row.role) for row in imported.codings] == [("trust", "reasoning")]


def test_a_table_with_roles_is_read_as_codes_of_labels_and_as_passages(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "key,coder,label,value,basis,role,evidence,sentences,signs\n"
        "lind-2020,ann,trust,1,abstract,context,Trust grew slowly.,1,absent\n"
        "lind-2020,ann,trust,1,abstract,,Care homes met.,0,\n"
        "lind-2020,ann,trust,1,abstract,outcome,Trust grew slowly.,1,\n"
        "lind-2020,ann,money,0,abstract,,,,\n",
    )
    trust, money = read_codings(path, BOOK.all_keys)
    assert (trust.value, trust.role, trust.sentences, trust.signs) == (1, None, (0, 1), (None, "absent"))
    assert trust.evidence == "Trust grew slowly. […] Care homes met."
    assert (money.value, money.sentences) == (0, None)
    rows = read_role_codings(path, BOOK)
    assert [(row.role, row.evidence, row.signs) for row in rows] == [
        ("context", "Trust grew slowly.", ("absent",)),
        ("outcome", "Trust grew slowly.", ()),
    ]
    assert without_roles(rows)[0].sentences == (1,)
    assert len(list(passages_from(rows))) == 2
    imported = import_from(path)
    write_imported(tmp_path / "codings.csv", imported)
    assert [row.role for row in read_role_codings(tmp_path / "codings.csv", BOOK)] == ["context", "outcome"]
    assert [(row.label, row.value) for row in read_codings(tmp_path / "codings.csv", BOOK.all_keys)] == [
        ("trust", 1),
        ("money", 0),
    ]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            "ann,trust,0,abstract,context",
            "'role' is set, but 'value' is not 1; enter 1 in 'value', or leave 'role' empty",
        ),
        ("ann,trust,1,abstract,cause", "line 2: the codebook has no role 'cause'; use one of its roles: context, res"),
    ],
)
def test_a_row_with_an_impossible_role_is_refused(tmp_path: Path, row: str, message: str) -> None:
    path = write(tmp_path, f"key,coder,label,value,basis,role\nlind-2020,{row}\n")
    with pytest.raises(MechtagError, match=message):
        read_role_codings(path, BOOK)
