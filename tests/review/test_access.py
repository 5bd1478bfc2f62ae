"""Test who can sign in, who may do what, and that pages of other websites cannot act for a person."""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, update
from starlette.testclient import TestClient

from mechtag.review import access
from mechtag.review.acts import ROLES, Refused
from mechtag.review.app import create_app
from mechtag.review.limits import Limit
from mechtag.review.pages import ROUTES
from mechtag.review.passwords import hash_password, is_right, require_strong
from mechtag.review.store import schema
from mechtag.review.store.accounts import add_account, invite
from mechtag.review.workspace import Workspace
from tests.support.review_site import HOST, Browser, add_person, make_review, texts

GOOD = "correct horse battery staple"


def served(review: Workspace) -> TestClient:
    """Return a client of the review page as it is served to a team."""
    app = create_app(review, hosts=frozenset((HOST,)), start_key=None, secure=True, port=8765)
    return TestClient(app, base_url=f"https://{HOST}")


def address(path: str) -> str:
    """Return the path of a route with values for its parameters."""
    return re.sub(r"\{(\w+)(:\w+)?\}", lambda match: "screen" if match[1] in ("stage", "list") else "1", path)


@pytest.mark.slow
@pytest.mark.parametrize("role", ROLES)
def test_each_route_is_open_only_to_the_roles_of_the_matrix(review: Workspace, role: str) -> None:
    account = add_person(review, "Rae", role)
    for route in ROUTES:
        browser = Browser(review, account)
        assert route.methods is not None
        if "POST" in route.methods:
            answer = browser.client.post(address(route.path), data={"csrf": browser.csrf}, follow_redirects=False)
        else:
            answer = browser.client.get(address(route.path), follow_redirects=False)
        denied = answer.status_code == 403 and "does not allow this" in answer.text
        assert denied == (role not in access.MATRIX[route.name]), (role, route.path, answer.status_code)


def test_a_route_without_roles_cannot_be_added() -> None:
    from mechtag.review.visit import route

    with pytest.raises(ValueError, match=r"the route 'nowhere' has no entry in access\.MATRIX"):
        route("/nowhere", "nowhere", lambda visit: visit.go("/"))


def test_every_route_asks_for_a_session(review: Workspace) -> None:
    app = create_app(review, hosts=frozenset((HOST,)), start_key="key", port=8765)
    stranger = TestClient(app, base_url=f"http://{HOST}")
    team = served(review)
    for route in ROUTES:
        method = "POST" if route.methods and "POST" in route.methods else "GET"
        assert stranger.request(method, address(route.path)).status_code == 403
        answer = team.request(method, address(route.path), follow_redirects=False)
        assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in")


def test_every_form_needs_the_token_of_the_session(review: Workspace) -> None:
    browser = Browser(review, add_person(review, "Rae", "owner"))
    for route in ROUTES:
        if route.methods and "POST" in route.methods:
            for token in ("", "wrong"):
                answer = browser.client.post(address(route.path), data={"csrf": token}, follow_redirects=False)
                assert (answer.status_code, "this form belongs to an earlier session" in answer.text.casefold()) == (
                    403,
                    True,
                )


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1:9999", "127.0.0.1", ""])
def test_other_host_names_are_refused(review: Workspace, host: str) -> None:
    browser = Browser(review, add_person(review, "Rae", "owner"))
    assert browser.client.get("/", headers={"host": host}).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": f"https://{HOST}"},
        {"sec-fetch-site": "cross-site"},
    ],
)
def test_forms_of_other_pages_are_refused(review: Workspace, headers: dict[str, str]) -> None:
    browser = Browser(review, add_person(review, "Rae", "owner"))
    data = {"csrf": browser.csrf, "client_id": "one", "record": "1", "answer": "include"}
    assert browser.client.post("/screen/decide", data=data, headers=headers).status_code == 403
    own = {"origin": f"http://{HOST}", "sec-fetch-site": "same-origin"}
    assert browser.client.post("/screen/decide", data=data, headers=own).status_code == 200


def test_every_answer_has_the_headers(review: Workspace) -> None:
    browser = Browser(review, add_person(review, "Rae", "owner"))
    page = browser.client.get("/")
    static = re.findall(r'(?:src|href)="(/static/[^"]+)"', page.text)
    assert len(static) >= 3
    for where in [
        "/",
        "/screen",
        "/missing",
        "/static/0/review.css",
        "/static/0/../app.py",
        "/start?key=wrong",
        *static,
    ]:
        answer = browser.client.get(where)
        for name, value in access.HEADERS.items():
            if name != "Cache-Control":
                assert answer.headers[name] == value, (where, name)
        kept = where in static
        assert answer.headers["cache-control"] == ("public, max-age=31536000, immutable" if kept else "no-store")
        assert "server" not in answer.headers


def test_the_start_address_signs_in_once_a_name_is_known(tmp_path: Path) -> None:
    review = make_review(tmp_path)
    with review.store.write() as connection:
        connection.execute(update(schema.account).values(role="coder"))
    app = create_app(review, hosts=frozenset((HOST,)), start_key="secret", port=8765)
    client = TestClient(app, base_url=f"http://{HOST}")
    assert client.get("/start?key=wrong").status_code == 403
    assert client.get("/start").status_code == 403
    assert "Your name" in client.get("/start?key=secret").text
    answer = client.post("/start", data={"key": "secret", "name": "  Ann \u202e B. "}, follow_redirects=False)
    cookie = answer.headers["set-cookie"].casefold()
    assert all(part in cookie for part in ("httponly", "samesite=strict", "path=/", "mechtag-8765="))
    assert "Ann B." in client.get("/").text


def test_the_start_address_asks_who_it_is_where_several_people_work(review: Workspace) -> None:
    owner = Browser(review, 1)
    owner.post("/team/add", name="Ben", role="coder", pin="1234")
    owner.post("/team/password", password="9876")
    app = create_app(review, hosts=frozenset((HOST,)), start_key="secret", port=8765)
    client = TestClient(app, base_url=f"http://{HOST}")
    page = texts(client.get("/start?key=secret").text)
    assert ("Continue as Ben" in page, "Continue as Owen" in page) == (True, True)
    assert client.get("/").status_code == 403
    refused = client.post("/start", data={"key": "secret", "account": "1", "pin": "1234"})
    assert (refused.status_code, "not the PIN of Owen" in texts(refused.text)) == (403, True)
    assert client.post("/start", data={"key": "wrong", "account": "2", "pin": "1234"}).status_code == 403
    client.post("/start", data={"key": "secret", "account": "2", "pin": "1234"})
    assert "Ben signed in" in texts(client.get("/activity").text)
    assert ">Ben</a>" in client.get("/").text


def test_an_invitation_works_once_and_gives_its_role(review: Workspace) -> None:
    with review.store.write() as connection:
        token = invite(connection, "adjudicator", 1)
    client = served(review)
    assert "an adjudicator" in client.get(f"/join?token={token}").text
    weak = client.post("/join", data={"token": token, "name": "Ivy", "password": "passwordpassword"})
    assert (weak.status_code, 'value="Ivy"' in weak.text, "easily guessed" in weak.text) == (422, True, True)
    short = client.post("/join", data={"token": token, "name": "Ivy", "password": "short"})
    assert "too short (5 characters)" in short.text
    taken = client.post("/join", data={"token": token, "name": "owen", "password": GOOD})
    assert "another person in this review has the name owen" in taken.text.casefold()
    joined = client.post("/join", data={"token": token, "name": "Ivy", "password": GOOD}, follow_redirects=False)
    cookie = joined.headers["set-cookie"]
    assert (joined.status_code, cookie.startswith("__Host-mechtag-8765="), "Secure" in cookie) == (303, True, True)
    assert client.get("/reconcile").status_code == 200
    again = served(review).post("/join", data={"token": token, "name": "Eve", "password": GOOD})
    assert (again.status_code, "was withdrawn, has expired or is incomplete" in again.text) == (403, True)


def test_an_old_or_withdrawn_invitation_is_refused(review: Workspace) -> None:
    with review.store.write() as connection:
        old, gone = invite(connection, "coder", 1), invite(connection, "coder", 1)
        then = (datetime.now(UTC) - timedelta(seconds=5)).isoformat(timespec="seconds")
        table = schema.invitation
        connection.execute(update(table).where(table.c.token_sha256 == access.hashed(old)).values(until=then))
        assert old not in str(connection.execute(select(table)).all())
    Browser(review, 1).post("/team/revoke", invitation=access.hashed(gone))
    client = served(review)
    assert client.get(f"/join?token={old}").status_code == 403
    # The revoked invitation is refused too.
    assert client.get(f"/join?token={gone}").status_code == 403


def test_signing_in_is_slow_for_those_who_guess(review: Workspace) -> None:
    with review.store.write() as connection:
        add_account(connection, "Ivy", "coder", hash_password(GOOD))
    client = served(review)
    for _ in range(4):
        answer = client.post("/sign-in", data={"name": "ivy", "password": "wrong"})
        assert (answer.status_code, "is wrong" in answer.text) == (403, True)
    right = client.post("/sign-in", data={"name": "IVY ", "password": GOOD}, follow_redirects=False)
    assert "Ivy signed in" in texts(client.get("/activity").text)
    assert (right.status_code, right.headers["location"]) == (303, "/")
    assert client.get("/").status_code == 200
    other = TestClient(client.app, base_url=f"https://{HOST}")
    for _ in range(5):
        other.post("/sign-in", data={"name": "nobody", "password": "wrong"})
    refused = other.post("/sign-in", data={"name": "nobody", "password": "wrong"})
    assert (refused.status_code, "Too many attempts; wait 15 minutes" in texts(refused.text)) == (429, True)


def test_letters_with_accents_match_however_a_computer_sends_them(review: Workspace) -> None:
    name, password = "Zo\u00eb", "zw\u00f6lf \u00c4pfel im Korb"
    decomposed = [unicodedata.normalize("NFD", text) for text in (name, password)]
    with review.store.write() as connection:
        account = add_account(connection, decomposed[0], "coder", hash_password(decomposed[1]))
        with pytest.raises(Refused, match="another person in this review has the name"):
            add_account(connection, name, "coder")
    client = served(review)
    for given in ((name, password), decomposed):
        answer = client.post("/sign-in", data={"name": given[0], "password": given[1]}, follow_redirects=False)
        assert answer.status_code == 303
    with review.store.read() as connection:
        signed_in = connection.execute(select(schema.session.c.account)).scalars().all()
    assert signed_in == [account, account]


def test_people_on_one_computer_switch_by_pin(review: Workspace) -> None:
    owner = Browser(review, 1)
    assert owner.post("/team/add", name="Ben", role="coder", pin="123").status_code == 422
    owner.post("/team/add", name="Ben", role="coder", pin="1234")
    ben = 2
    assert owner.post("/team/switch", account=ben, pin="9999").status_code == 403
    assert "Owen" in owner.get("/")
    answer = owner.post("/team/switch", account=ben, pin="1234")
    assert "Ben signed in" in texts(owner.get("/activity"))
    assert ">Ben</a>" in answer.text
    assert owner.client.get("/reconcile").status_code == 403


def test_the_team_page_names_people_without_a_pin_once_others_use_the_computer(review: Workspace) -> None:
    owner = Browser(review, 1)
    warning = "has no PIN, so everybody who uses this computer can continue as"
    assert warning not in texts(owner.get("/team"))
    owner.post("/team/add", name="Ben", role="coder", pin="1234")
    assert f"Owen {warning} Owen" in texts(owner.get("/team"))
    assert f"Owen {warning} Owen" in texts(Browser(review, 2).get("/team"))
    assert f"Ben {warning}" not in texts(owner.get("/team"))
    owner.post("/team/password", old="", password="5678")
    assert warning not in texts(owner.get("/team"))


def test_a_person_who_left_is_signed_out_and_withdrawn_codes_do_not_count(review: Workspace) -> None:
    ann = add_person(review, "Ann", "coder")
    browser, owner = Browser(review, ann), Browser(review, 1)
    browser.post("/screen/decide", record=1, answer="include")
    owner.post("/team/change", account=ann, state="withdrawn")
    assert browser.client.get("/").status_code == 403
    with review.store.read() as connection:
        state = connection.execute(
            select(schema.need.c.state, schema.need.c.have).where(schema.need.c.record == 1)
        ).one()
    assert tuple(state) == ("open", 0)
    refused = owner.post("/team/change", account=1, role="coder")
    assert (refused.status_code, "would have no owner" in refused.text) == (409, True)


def test_sessions_end(review: Workspace) -> None:
    browser = Browser(review, 1)
    for column, age in (("seen", timedelta(hours=13)), ("created", timedelta(days=31))):
        with review.store.write() as connection:
            token = access.open_session(connection, 1)
            then = (datetime.now(UTC) - age).isoformat()
            found = schema.session.c.token_sha256 == access.hashed(token)
            connection.execute(update(schema.session).where(found).values({column: then}))
        assert access.person_of(review.store, token) is None
    other = Browser(review, 1)
    browser.post("/sign-out", everywhere="1")
    assert (browser.client.get("/").status_code, other.client.get("/").status_code) == (403, 403)


def test_tokens_and_passwords_are_stored_as_hashes_only(review: Workspace) -> None:
    with review.store.write() as connection:
        token = access.open_session(connection, 1)
        add_account(connection, "Ivy", "coder", hash_password(GOOD))
    stored = b"".join(path.read_bytes() for path in review.folder.iterdir())
    assert token.encode() not in stored
    assert GOOD.encode() not in stored
    assert b"$argon2id$v=19$m=19456,t=2,p=1$" in stored


def test_an_account_without_password_cannot_be_entered_by_a_password() -> None:
    assert not is_right("of an account that does not exist", None)
    assert is_right(GOOD, hash_password(GOOD))


@pytest.mark.parametrize("password", ["Owen Owen Owen", "aaaaaaaaaaaaaaaa", "qwertyuiopasdf", "123456789012"])
def test_easily_guessed_passwords_are_refused(password: str) -> None:
    with pytest.raises(Refused, match="easily guessed"):
        require_strong(password, "Owen")
    require_strong(GOOD, "Owen")


def test_limits_count_in_a_moving_time() -> None:
    now = [0.0]
    limit = Limit(2, 10, lambda: now[0])
    limit.count("a")
    now[0] = 6
    limit.count("a")
    limit.count("b")
    with pytest.raises(Refused, match="wait 4 seconds"):
        limit.count("a")
    now[0] = 10.5
    limit.count("a")
    limit.forget("a")
    limit.count("a")
