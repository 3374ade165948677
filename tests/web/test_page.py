"""The page over HTTP: who is let in, what is answered, and what a run tells to who watches it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from fanfold.web.app import create_app
from fanfold.web.cloud import CloudSite
from fanfold.web.laptop import LaptopSite
from fanfold.web.security import Guard
from fanfold.web.site import Site
from places import Laptop, OnStack, Place
from starlette.testclient import TestClient

ROOT = "http://127.0.0.1:8080"
TOKEN = "a-token-of-this-test"
GUARD = Guard(TOKEN, frozenset({"127.0.0.1", "localhost"}), 8080)
DAG = """
params:
  - NAME: "wörld $(echo 1)"
  - "two words"
steps:
  - {name: say, command: 'printf "%s|%s" "$NAME" "$2"', output: SAID}
  - {name: fan, run: child, parallel: {items: [a, b, c]}, output: R}
---
name: child
steps:
  - {name: work, command: "echo did $1; test $1 != b || test -e FOLDER/mended"}
"""


def site_of(place: Place) -> Site:
    return CloudSite(place.stack) if isinstance(place, OnStack) else LaptopSite(place.folder / "home", place.folder)


def client_of(place: Place, *, let_in: bool = True) -> TestClient:
    client = TestClient(create_app(site_of(place), GUARD), base_url=ROOT, follow_redirects=False)
    if let_in:
        assert client.get(f"/?token={TOKEN}").status_code == 303
    return client


def put(place: Place, name: str, text: str) -> None:
    if isinstance(place, OnStack):
        place.put(name, text)
    else:
        place.write(name, text)


def form(client: TestClient, path: str, **fields: str) -> Any:
    """Send the form of a page that posts to `path`, as a browser does."""
    csrf = re.search('name="csrf" value="([0-9a-f]+)"', client.get(fields.pop("of")).text)
    assert csrf is not None
    return client.post(path, data={"csrf": csrf[1], **fields}, headers={"origin": ROOT})


def test_a_dag_is_started_with_its_form_and_its_values_are_data(place: Place) -> None:
    put(place, "hello", DAG)
    client = client_of(place)
    page = client.get("/dags/hello").text
    assert "wörld $(echo 1)" in page
    values = {"param-0": 'a "$(touch x)"\r\nb=c', "param-1": "two words"}
    answer = form(client, "/dags/hello/start", of="/dags/hello", **values)
    assert answer.status_code == 303
    run = answer.headers["location"].removeprefix("/runs/")
    place.wait(run)
    result = place.store.data(run).result()
    assert result is not None
    assert result["steps"]["say"]["output"] == {"SAID": 'a "$(touch x)"\nb=c|two words'}
    assert result["steps"]["fan"]["document"]["summary"]["failed"] == 1
    shown = client.get(f"/runs/{run}").text
    assert "What failed" in shown
    assert client.get(f"/runs/{run}/steps/fan/items/0/log.txt").text == "work stdout: did a\n"
    (place.folder / "mended").touch()
    assert form(client, f"/runs/{run}/retry", of=f"/runs/{run}").status_code == 303
    place.wait(run)
    assert place.store.summary(run).status == "success"
    assert "Retry" not in client.get(f"/runs/{run}").text


def test_defaults_are_those_of_the_run(place: Place) -> None:
    put(place, "hello", DAG)
    client = client_of(place)
    values = {"param-0": "wörld $(echo 1)", "param-1": "two words"}
    run = form(client, "/dags/hello/start", of="/dags/hello", **values).headers["location"].removeprefix("/runs/")
    place.wait(run)
    result = place.store.data(run).result()
    assert result is not None
    assert result["steps"]["say"]["output"] == {"SAID": "wörld 1|two words"}


def test_a_default_that_a_run_must_find_is_never_given_as_a_text(tmp_path: Path) -> None:
    place = Laptop(tmp_path)
    place.write("two", "params: $(date) b\nsteps:\n  - {name: s, command: 'echo $1-$2', output: O}\n")
    client = client_of(place)
    answer = form(client, "/dags/two/start", of="/dags/two", **{"param-0": "$(date)", "param-1": "c"})
    assert (answer.status_code, "give $1 a value too" in answer.text) == (409, True)
    answer = form(client, "/dags/two/start", of="/dags/two", **{"param-0": "a $(b)", "param-1": "b"})
    run = answer.headers["location"].removeprefix("/runs/")
    place.wait(run)
    result = place.store.data(run).result()
    assert result is not None
    assert result["steps"]["s"]["output"] == {"O": "a $(b)-b"}


ODD_NAMES = [".", "..", "result.json", "begun.json", "a/b ?#%x", "~1~3"]


def test_no_name_of_a_step_is_taken_for_a_file_or_a_folder(place: Place) -> None:
    steps = "".join(f"  - {{name: {json.dumps(name)}, run: c, parallel: [a, b], output: O{number}}}\n"
                    for number, name in enumerate(ODD_NAMES))  # fmt: skip
    run = place.run("odd", f"steps:\n{steps}---\nname: c\nsteps:\n  - {{name: s, command: echo $1, output: O}}\n")
    assert place.store.summary(run).status == "success"
    client = client_of(place)
    page = client.get(f"/runs/{run}")
    links = sorted(set(re.findall(f'href="(/runs/{run}/steps/[^"/]+/items/1)"', page.text)))
    assert len(links) == len(ODD_NAMES)
    for link in links:
        assert "<dd><pre>b</pre></dd>" in client.get(link).text, link
    if isinstance(place, Laptop):
        assert {path.name for path in (place.folder / "home/runs").iterdir()} == {run}


def test_a_parameter_that_no_command_takes_is_refused(tmp_path: Path) -> None:
    place = Laptop(tmp_path)
    place.write("hello", DAG)
    answer = form(client_of(place), "/dags/hello/start", of="/dags/hello", **{"param-0": "x" * 300_000})
    assert (answer.status_code, "128 KB" in answer.text) == (409, True)


def test_faults_of_what_is_asked_for_are_told(place: Place) -> None:
    put(place, "good", "steps:\n  - {name: s, command: 'true'}\n")
    run = place.run("good", "steps:\n  - {name: s, command: 'true'}\n")
    put(place, "bad", "steps:\n  - {name: s, comand: 'true'}\n")
    client = client_of(place)
    for path in ("/runs/none", "/dags/none", f"/runs/{run}/steps/none", f"/runs/{run}/steps/s/items/0",
                 f"/runs/{run}/none", f"/runs/{run}/steps/s/document.json", "/none"):  # fmt: skip
        answer = client.get(path)
        assert (answer.status_code, "There is no such page" in answer.text) == (404, True), path
    assert "did you mean &#39;command&#39;?" in client.get("/dags/bad").text
    assert "2 errors" in client.get("/").text or "deployment refused" in client.get("/").text
    refused = form(client, "/dags/bad/start", of="/dags/good")
    assert (refused.status_code, "has errors; nothing was started" in refused.text) == (409, True)
    ended = form(client, f"/runs/{run}/stop", of="/dags/good")
    assert (ended.status_code, "has ended" in ended.text) == (409, True)
    assert form(client, "/runs/none/stop", of="/dags/good").status_code == 404


def events(client: TestClient, path: str) -> list[tuple[str, Any]]:
    """The events of a run that has ended."""
    text = client.get(path).text
    return [(name, json.loads(data)) for name, data in re.findall("event: (.*)\ndata: (.*)\n\n", text)]


def test_a_run_tells_its_whole_state_first(place: Place) -> None:
    run = place.run("hello", DAG)
    (name, state), (last, _) = events(client_of(place), f"/runs/{run}/events")
    assert (name, last) == ("state", "end")
    assert state["run"]["status"] == "failed"
    assert state["codes"] == {"fan": "sfs"}
    assert state["steps"]["fan"]["counts"] == {"failed": 1, "success": 2}
    lines = events(client_of(place), f"/runs/{run}/steps/fan/items/1/log")
    assert lines == [("lines", [{"step": "work", "stream": "stdout", "text": "did b"}]), ("end", {})]


def test_an_answer_that_cannot_be_a_stream_is_asked_for_again(tmp_path: Path) -> None:
    place = Laptop(tmp_path)
    text = "steps:\n  - {name: slow, command: 'echo one; echo two; touch FOLDER/up; sleep 20'}\n"
    run = place.start("slow", text)
    client = TestClient(create_app(site_of(place), Guard(), streams=False), base_url=ROOT)
    while not (tmp_path / "up").exists():
        pass
    told = client.get(f"/runs/{run}/events").text
    assert told.startswith("retry: 2000\n\n")
    assert '"slow":{"status":"running"' in told
    first = client.get(f"/runs/{run}/steps/slow/log").text
    assert "id: 2\nevent: lines" in first
    assert "event" not in client.get(f"/runs/{run}/steps/slow/log", headers={"last-event-id": "2"}).text
    assert client.post(f"/runs/{run}/stop", headers={"origin": ROOT}).status_code == 403
    form(client, f"/runs/{run}/stop", of=f"/runs/{run}")
    place.wait(run)


def test_thousands_of_items_are_pages_of_cells_and_a_letter_each(tmp_path: Path) -> None:
    place = Laptop(tmp_path)
    text = """
steps:
  - {name: list, command: "seq 2500", output: L}
  - {name: fan, run: leaf, parallel: {items: "${L}"}, x-fanfold: {maxItems: 10000}, output: R}
---
name: leaf
steps:
  - {name: work, command: "test $1 != 2499", output: O}
"""
    run = place.start("large", text)
    place.wait(run, 240)
    client = client_of(place)
    page = client.get(f"/runs/{run}")
    assert page.text.count("data-i=") == 1000
    assert page.text.index('data-i="2498"') < page.text.index('data-i="0"')
    assert len(page.content) < 250_000
    stream = client.get(f"/runs/{run}/events")
    assert 2_500 < len(stream.content) < 5_000
    assert "page 3 of 3, 2,500 items" in client.get(f"/runs/{run}/steps/fan/grid?page=3").text
    assert client.get(f"/runs/{run}/steps/fan/items/2498").text.count("exit code 1") >= 1
    assert "page 25 of 25" in client.get(f"/runs/{run}/steps/fan/document?page=25").text
    assert json.loads(client.get(f"/runs/{run}/steps/fan/document.json").text)["summary"]["failed"] == 1


class TestWhoIsLetIn:
    @pytest.fixture
    def client(self, tmp_path: Path) -> TestClient:
        place = Laptop(tmp_path)
        place.write("secret", "steps:\n  - {name: s, command: echo}\n")
        return client_of(place, let_in=False)

    @pytest.mark.parametrize(
        "path", ["/", "/runs", "/dags/secret", "/runs/x/events", "/static/page.js", "/?token=guess"]
    )
    def test_nobody_without_the_token(self, client: TestClient, path: str) -> None:
        client.cookies.set("fanfold-8080", "guess")
        answer = client.get(path)
        assert answer.status_code == 403
        assert "secret" not in answer.text
        assert "set-cookie" not in answer.headers

    def test_the_token_becomes_a_cookie_and_leaves_the_address(self, client: TestClient) -> None:
        answer = client.get(f"/runs?status=failed&token={TOKEN}")
        assert (answer.status_code, answer.headers["location"]) == (303, "/runs?status=failed")
        assert re.fullmatch(
            r"fanfold-8080=[0-9a-f]{64}; Path=/; HttpOnly; SameSite=Strict", answer.headers["set-cookie"]
        )
        assert TOKEN not in answer.headers["set-cookie"]
        assert client.get("/").status_code == 200
        assert client.get(f"{ROOT}//evil.example/?token={TOKEN}").headers["location"].startswith("/evil.example")

    def test_another_name_for_this_machine_is_refused(self, client: TestClient) -> None:
        client.get(f"/?token={TOKEN}")
        assert client.get("/", headers={"host": "rebound.example:8080"}).status_code == 421

    @pytest.mark.parametrize(
        "headers",
        [{}, {"origin": "https://evil.example"}, {"origin": "null"}, {"sec-fetch-site": "cross-site"},
         {"origin": "http://127.0.0.1:8081"}],
    )  # fmt: skip
    def test_what_another_site_posts_is_refused(self, client: TestClient, headers: dict[str, str]) -> None:
        client.get(f"/?token={TOKEN}")
        page = client.get("/dags/secret").text
        csrf = re.search('name="csrf" value="([0-9a-f]+)"', page)
        assert csrf is not None
        answer = client.post("/dags/secret/start", data={"csrf": csrf[1]}, headers=headers)
        assert answer.status_code == 403

    @pytest.mark.parametrize("data", [{}, {"csrf": ""}, {"csrf": "0" * 64}, {"csrf": "ü"}])
    def test_a_form_without_its_token_is_refused(self, client: TestClient, data: dict[str, str]) -> None:
        client.get(f"/?token={TOKEN}")
        for path in ("/dags/secret/start", "/runs/x/stop", "/runs/x/retry"):
            assert client.post(path, data=data, headers={"origin": ROOT}).status_code == 403
        for path in ("/dags/secret/start", "/runs/x/stop", "/runs/x/retry"):
            assert client.get(path).status_code in (404, 405)

    def test_every_answer_forbids_scripts_and_styles_in_the_page(self, client: TestClient) -> None:
        refused = client.get("/")
        client.get(f"/?token={TOKEN}")
        for answer in (refused, client.get("/"), client.get("/none"), client.get("/static/page.css")):
            policy = answer.headers["content-security-policy"]
            assert "unsafe" not in policy
            assert "default-src 'none'" in policy
            assert "script-src 'self'" in policy
            assert answer.headers["x-content-type-options"] == "nosniff"
        page = client.get("/dags/secret").text
        assert not re.search(r"<script(?! src=)|\son\w+=|\sstyle=|<style|(src|href)=\"https?:", page)


def test_nothing_is_loaded_from_elsewhere() -> None:
    web = Path(create_app.__code__.co_filename).parent
    for path in [*web.glob("templates/*.html"), *web.glob("static/*")]:
        text = path.read_text().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"(?:src|href|url\(|import)\W{0,3}https?://", text), path
