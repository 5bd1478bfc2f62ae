from pathlib import Path

import pytest
import yaml

from mechtag.core.codebook import Codebook, load_codebook, used_by_models
from mechtag.core.errors import MechtagError
from mechtag.core.settings import Settings, load_settings
from tests.support.paths import ROOT

MINIMAL = {
    "name": "two",
    "relevance": {"definition": "Is it about fruit?"},
    "labels": [
        {"key": "b", "name": "B", "definition": "second letter"},
        {"key": "a", "name": "A", "definition": "first letter"},
    ],
}


def write(folder: Path, data: object) -> Path:
    path = folder / "codebook.yaml"
    path.write_text(yaml.safe_dump(data), encoding="utf-8")
    return path


def test_label_order_is_that_of_the_file(tmp_path: Path) -> None:
    codebook = load_codebook(write(tmp_path, MINIMAL))
    assert codebook.keys == ("b", "a")
    assert codebook.all_keys == ("relevant", "b", "a")


def test_unknown_key_is_named_with_its_place(tmp_path: Path) -> None:
    labels = [{**MINIMAL["labels"][0], "defnition": "x"}]
    path = write(tmp_path, {**MINIMAL, "labels": labels})
    with pytest.raises(MechtagError, match=r"codebook\.yaml: labels\.0\.defnition: unknown key"):
        load_codebook(path)


@pytest.mark.parametrize("key", ["Food yield", "Ernte", "güte", "2nd", ""])
def test_an_invalid_key_is_explained_in_a_single_message(tmp_path: Path, key: str) -> None:
    path = write(tmp_path, {**MINIMAL, "labels": [{**MINIMAL["labels"][0], "key": key}]})
    with pytest.raises(MechtagError) as caught:
        load_codebook(path)
    expected = f"{path}: labels.0.key: {key!r} is not a valid key; use a to z, digits and _, starting with a letter"
    assert str(caught.value) == expected


def test_missing_labels_and_rules_that_are_not_a_list_are_reported(tmp_path: Path) -> None:
    with pytest.raises(MechtagError, match="labels: Tuple should have at least 1 item"):
        load_codebook(write(tmp_path, {**MINIMAL, "labels": []}))
    labels = [{**MINIMAL["labels"][0], "include": "one rule"}]
    with pytest.raises(MechtagError, match=r"labels\.0\.include: expected a list, such as \[one, two\]$"):
        load_codebook(write(tmp_path, {**MINIMAL, "labels": labels}))


def test_repeated_label_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, {**MINIMAL, "labels": [MINIMAL["labels"][0]] * 2})
    with pytest.raises(MechtagError, match="the key 'b' appears more than once"):
        load_codebook(path)


def test_label_named_as_relevance_is_refused(tmp_path: Path) -> None:
    clash = {"key": "relevant", "name": "R", "definition": "d"}
    with pytest.raises(MechtagError, match="the key 'relevant' appears more than once"):
        load_codebook(write(tmp_path, {**MINIMAL, "labels": [clash]}))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"name: [", "not readable as YAML"),
        (b"- a\n- b\n", "a codebook must be a mapping"),
        (b"\xff\xfe\x00", "not readable as YAML"),
        (b"name: x\n", "relevance: Field required"),
    ],
)
def test_broken_files_are_reported(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "codebook.yaml"
    path.write_bytes(content)
    with pytest.raises(MechtagError, match=message):
        load_codebook(path)


@pytest.mark.parametrize("key", ["key", "paper", "record_id"])
def test_a_label_named_as_a_column_of_papers_is_refused(tmp_path: Path, key: str) -> None:
    path = write(tmp_path, {**MINIMAL, "labels": [{**MINIMAL["labels"][0], "key": key}]})
    with pytest.raises(MechtagError, match=f"a label cannot have the key '{key}', because tables have another column"):
        load_codebook(path)


@pytest.mark.parametrize("text", ["", "   ", "\n"])
def test_a_blank_definition_is_reported(tmp_path: Path, text: str) -> None:
    path = write(tmp_path, {**MINIMAL, "labels": [{**MINIMAL["labels"][0], "definition": text}]})
    with pytest.raises(MechtagError, match=r"labels\.0\.definition: the text is empty; enter a text$"):
        load_codebook(path)


def test_missing_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(MechtagError, match="no such codebook file"):
        load_codebook(tmp_path / "none.yaml")


def test_settings_without_a_line_are_the_defaults(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_bytes(b"\xef\xbb\xbf# nothing yet\n")
    assert load_settings(path) == load_settings(tmp_path / "none.yaml")
    assert load_settings(path).model_dump(mode="json") == Settings().model_dump(mode="json")
    path.write_text("- seed\n")
    with pytest.raises(
        MechtagError,
        match=r"params\.yaml: the file contains a value of type list, but the settings must be a mapping of blocks",
    ):
        load_settings(path)


def test_hash_depends_on_the_content_not_on_the_layout(tmp_path: Path) -> None:
    first = load_codebook(write(tmp_path, MINIMAL))
    path = tmp_path / "codebook.yaml"
    path.write_text("# a remark\n" + path.read_text(encoding="utf-8"), encoding="utf-8")
    assert load_codebook(path).sha256 == first.sha256
    changed = {**MINIMAL, "labels": list(reversed(MINIMAL["labels"]))}
    assert Codebook.model_validate(changed).sha256 != first.sha256


def test_roles_of_evidence_have_a_default_and_do_not_change_the_hash(tmp_path: Path) -> None:
    content = {
        "name": "n",
        "relevance": {"definition": "d"},
        "labels": [{"key": "a", "name": "A", "definition": "d"}],
    }
    plain = Codebook.model_validate(content)
    assert list(plain.role_names) == ["context", "resource", "reasoning", "outcome"]
    role = {"key": "actor", "name": "Actor", "definition": "Who acts.", "include": ["boards"]}
    own = Codebook.model_validate({**content, "roles": [role]})
    assert own.role_names == {"actor": "Actor"}
    assert own.sha256 == plain.sha256
    with pytest.raises(ValueError, match="two roles have the key 'actor'"):
        Codebook.model_validate({**content, "roles": [role, role]})
    for twin in ({"key": "who", "name": "ACTOR "}, {"key": "who", "name": "actor"}):
        with pytest.raises(ValueError, match=r"the roles 'actor' and 'who' are both called '(?i:actor) ?'"):
            Codebook.model_validate({**content, "roles": [role, {**twin, "definition": "Somebody."}]})
    with pytest.raises(ValueError, match="at least 1 item"):
        Codebook.model_validate({**content, "roles": []})


def test_rules_on_absence_do_not_change_the_hash() -> None:
    """Rules on absence are not part of the hash, because models do not use them."""
    labels = [{"key": "a", "name": "A", "definition": "d"}, {"key": "b", "name": "B", "definition": "d"}]
    content = {"name": "n", "relevance": {"definition": "d"}, "labels": labels}
    plain = Codebook.model_validate(content)
    rules = Codebook.model_validate({**content, "labels": [labels[0], {**labels[1], "absence": ["no B at all"]}]})
    assert (plain.labels[1].absence, rules.labels[1].absence) == ((), ("no B at all",))
    assert (rules.sha256, rules.definitions) == (plain.sha256, plain.definitions)
    dumped = used_by_models(rules.model_dump(mode="json"))
    assert set(dumped) == {"name", "title", "source", "relevance", "labels"}
    assert [set(label) for label in dumped["labels"]] == 2 * [{"key", "name", "definition", "include", "exclude"}]


def test_the_shipped_codebook_has_the_hash_with_which_models_were_trained() -> None:
    shipped = load_codebook(ROOT / "data/annotated/codebook.yaml")
    assert shipped.sha256 == "abc362bbc1ed3e61a34e21de928cedce932e62713c3ecb598d2bddf10d15ce35"
