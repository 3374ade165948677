"""The page as a Lambda function: events of an HTTP API in, answers out, on a stack that is up."""

from __future__ import annotations

import asyncio
import copy
import json
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fanfold.deploy.clients import Clients
from fanfold.deploy.stack import Stack
from fanfold.web import handler
from fanfold.web.cloud import CloudSite
from http_api import EVENT, HOST, Answer, Browser, environment, page_on_stack
from places import OnStack
from samtranslator.yaml_helper import yaml_parse

ROOT = Path(__file__).parents[2]
WEB = ROOT / "infra" / "web.yaml"
DOCUMENTATION = ROOT / "docs" / "deploying.md"
GREET = """\
params: [NAME: world]
steps:
  - name: greet
    command: echo "hello ${NAME}"
  - name: "50%20 off?"
    command: echo cheap
    depends: greet
"""
FLAKY = """\
steps:
  - name: once
    command: test -e FOLDER/mended
"""
SLOW = """\
steps:
  - name: first
    command: echo one; echo two
  - name: wait
    command: while ! test -e FOLDER/go; do sleep 0.1; done
    depends: first
"""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OnStack]:
    with page_on_stack(tmp_path_factory.mktemp("page")) as stack:
        yield stack


@pytest.fixture
def browser(stack: OnStack) -> Browser:
    return Browser()


def put(stack: OnStack, name: str, text: str) -> None:
    data = stack.write(name, text).read_bytes()
    stack.stack.clients.s3.put_object(Bucket=stack.stack.dag_bucket, Key=f"dags/{name}.yaml", Body=data)


def run_of(answer: Answer) -> str:
    assert answer.status == 303, answer.text
    return answer.headers["location"].removeprefix("/runs/")


def events(answer: Answer) -> list[tuple[str, object]]:
    """The events of an answer that has ended."""
    assert answer.headers["content-type"].startswith("text/event-stream")
    found = []
    for block in answer.text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines())
        if "event" in fields:
            found.append((fields["event"], json.loads(fields["data"])))
    return found


class TestPages:
    def test_the_index_lists_dags_and_the_errors_of_a_refused_deployment(
        self, stack: OnStack, browser: Browser
    ) -> None:
        put(stack, "greet", GREET)
        put(stack, "broken", "steps:\n  - {name: a, comand: echo}\n")
        answer = browser.get("/")
        assert answer.status == 200
        assert "stack fanfold" in answer.text
        assert 'href="/dags/greet"' in answer.text
        assert "deployment refused" in answer.text
        problem = re.search(r'<p class="problem error"><span class="at">(.*?)</p>', browser.get("/dags/broken").text)
        assert problem is not None
        assert problem[1].startswith("broken.yaml:2:")
        assert "the step &#39;a&#39; does nothing" in problem[1]

    def test_a_run_is_started_by_a_form_and_has_its_page(self, stack: OnStack, browser: Browser) -> None:
        put(stack, "greet", GREET)
        run = run_of(browser.submit("/dags/greet", "/dags/greet/start", **{"param-0": "Ada"}))
        stack.wait(run)
        page = browser.get(f"/runs/{run}")
        assert page.status == 200
        assert "success" in page.text
        assert "hello Ada" in browser.get(f"/runs/{run}/steps/greet").text
        assert "greet stdout: hello Ada\n" in browser.get(f"/runs/{run}/steps/greet/log.txt").text

    def test_what_is_in_a_name_arrives_as_it_was_asked_for(self, stack: OnStack, browser: Browser) -> None:
        put(stack, "greet", GREET)
        run = run_of(browser.submit("/dags/greet", "/dags/greet/start"))
        stack.wait(run)
        address = "/steps/50%2520%20off~2"
        assert f'href="/runs/{run}{address}"' in browser.get(f"/runs/{run}").text
        assert browser.get(f"/runs/{run}{address}").status == 200

    @pytest.mark.parametrize("address", ["/nothing", "/dags/none", "/runs/none", "/runs/none/events"])
    def test_what_is_not_there_is_said(self, browser: Browser, address: str) -> None:
        assert browser.get(address).status == 404

    def test_no_cost_is_offered(self, stack: OnStack, browser: Browser) -> None:
        put(stack, "greet", GREET)
        assert "/dags/greet/cost" not in browser.get("/dags/greet").text


class TestForms:
    @pytest.mark.parametrize(
        "missing",
        [{"csrf": ""}, {"csrf": "0" * 64}, {"origin": ""}, {"origin": "https://example.com"}, {"cookie": ""}],
        ids=["no token", "another token", "no origin", "another origin", "no cookie"],
    )
    def test_a_post_that_is_not_of_this_page_is_refused(
        self, stack: OnStack, browser: Browser, missing: dict[str, str]
    ) -> None:
        put(stack, "greet", GREET)
        known = [run.run for run in stack.store.runs("greet")]
        fields = {"csrf": missing.get("csrf", browser.csrf("/dags/greet"))}
        if "cookie" in missing:
            browser.cookies.clear()
        answer = browser.post("/dags/greet/start", fields, origin=missing.get("origin", f"https://{HOST}"))
        assert answer.status == 403
        assert [run.run for run in stack.store.runs("greet")] == known

    def test_the_cookie_is_of_this_host_alone_and_given_once(self, browser: Browser) -> None:
        (cookie,) = browser.get("/").cookies
        name, *attributes = cookie.split("; ")
        assert name.startswith("__Host-fanfold=")
        assert sorted(attributes) == ["HttpOnly", "Path=/", "SameSite=Lax", "Secure"]
        assert browser.get("/").cookies == []

    def test_a_run_is_stopped_and_says_so(self, stack: OnStack, browser: Browser) -> None:
        put(stack, "slow", SLOW)
        run = run_of(browser.submit("/dags/slow", "/dags/slow/start"))
        assert run_of(browser.submit(f"/runs/{run}", f"/runs/{run}/stop")) == run
        stack.wait(run)
        assert stack.store.summary(run).status == "cancelled"
        assert browser.post(f"/runs/{run}/stop", {"csrf": browser.csrf("/dags/slow")}).status == 409

    def test_a_run_is_retried(self, stack: OnStack, browser: Browser) -> None:
        put(stack, "flaky", FLAKY)
        run = run_of(browser.submit("/dags/flaky", "/dags/flaky/start"))
        stack.wait(run)
        assert stack.store.summary(run).status == "failed"
        (stack.folder / "mended").touch()
        assert run_of(browser.submit(f"/runs/{run}", f"/runs/{run}/retry")) == run
        stack.wait(run)
        assert (stack.store.summary(run).status, stack.store.summary(run).attempt) == ("success", 2)


class TestEvents:
    def test_events_tell_one_state_and_when_to_ask_again(self, stack: OnStack, browser: Browser) -> None:
        put(stack, "slow", SLOW)
        run = run_of(browser.submit("/dags/slow", "/dags/slow/start"))
        until(lambda: browser.get(f"/runs/{run}/steps/first/log.txt").text.count("\n") == 2)
        answer = browser.get(f"/runs/{run}/events")
        assert answer.text.startswith("retry: 2000\n\n")
        assert "content-encoding" not in answer.headers
        ((name, state),) = events(answer)
        assert name == "state"
        assert state["run"]["status"] == "running"  # type: ignore[index]
        log = browser.get(f"/runs/{run}/steps/first/log")
        assert log.text.startswith("retry: 2000\n\nid: 2\n")
        assert [line["text"] for line in events(log)[0][1]] == ["one", "two"]  # type: ignore[attr-defined]
        more = browser.get(f"/runs/{run}/steps/first/log", last_event_id="1")
        assert [line["text"] for line in events(more)[0][1]] == ["two"]  # type: ignore[attr-defined]
        assert events(browser.get(f"/runs/{run}/steps/first/log", last_event_id="2")) == []
        (stack.folder / "go").touch()
        stack.wait(run)
        until(lambda: [name for name, _ in events(browser.get(f"/runs/{run}/events"))] == ["state", "end"])
        assert events(browser.get(f"/runs/{run}/steps/first/log", last_event_id="2")) == [("end", {})]


def until(is_so: Callable[[], bool]) -> None:
    """Wait: what a run has left is looked at every few seconds."""
    end = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.1)


class TestAnswers:
    def test_a_packed_answer_travels_as_base64_and_holds_the_same(self, browser: Browser) -> None:
        packed = browser.get("/static/page.js")
        plain = browser.get("/static/page.js", accept_encoding="identity")
        assert packed.raw["isBase64Encoded"]
        assert packed.headers["content-encoding"] == "gzip"
        assert not plain.raw["isBase64Encoded"]
        assert packed.body == plain.body == (Path(handler.__file__).parent / "static" / "page.js").read_bytes()

    def test_what_is_no_text_travels_as_base64(self, browser: Browser) -> None:
        icon = browser.get("/static/icon.svg", accept_encoding="identity")
        assert icon.raw["isBase64Encoded"]
        assert icon.body == (Path(handler.__file__).parent / "static" / "icon.svg").read_bytes()

    @pytest.mark.parametrize("encoding", ["gzip", "identity"])
    def test_what_does_not_fit_is_said(self, browser: Browser, encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(handler, "MOST_BYTES", 100)
        answer = browser.get("/static/page.js", accept_encoding=encoding)
        assert answer.status == 413
        assert "6 MB" in answer.text

    def test_a_fault_of_ours_tells_nothing(self, browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(CloudSite, "dags", lambda self: {}["a secret"])
        answer = browser.get("/")
        assert (answer.status, answer.text) == (500, "Internal Server Error")

    def test_a_thread_without_a_loop_is_given_one(self, browser: Browser) -> None:
        asyncio.run(asyncio.sleep(0))  # which leaves this thread without one
        assert browser.get("/static/page.css").status == 200
        with ThreadPoolExecutor(1) as other:
            assert other.submit(browser.get, "/static/page.css").result().status == 200

    def test_a_head_has_no_body(self, browser: Browser) -> None:
        answer = browser.send("HEAD", "/static/page.css")
        assert (answer.status, answer.body) == (200, b"")

    def test_the_headers_of_every_answer_hold(self, browser: Browser) -> None:
        headers = browser.get("/").headers
        assert headers["cache-control"] == "no-store"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]


def test_the_stack_is_what_cloudformation_would_tell(stack: OnStack) -> None:
    told = Stack.find("fanfold", stack.stack.clients)
    made = handler.stack_of_environment(environment_of(stack), Clients())
    for name in ("name", "dag_bucket", "run_bucket", "machine_arns", "log_groups", "zone", "runner_variables"):
        assert getattr(made, name) == getattr(told, name)


def test_the_template_gives_the_function_its_environment(stack: OnStack) -> None:
    function = yaml_parse(WEB.read_text())["Resources"]["Function"]["Properties"]
    assert set(function["Environment"]["Variables"]) == set(environment_of(stack))
    assert function["Handler"] == f"{handler.__name__}.handle"


def test_the_authorizer_of_the_documentation_lets_its_networks_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NETWORKS", "203.0.113.0/24 2001:db8::/32")
    section = DOCUMENTATION.read_text().split("## The page on AWS")[1]
    names: dict[str, Any] = {}
    exec(section.split("```python\n")[1].split("```")[0], names)
    event = copy.deepcopy(EVENT)
    known = {"203.0.113.7": True, "198.51.100.1": False, "2001:db8::1": True, "2001:db9::1": False}
    for address, is_in in known.items():
        event["requestContext"]["http"]["sourceIp"] = address
        assert names["handle"](event, None) == {"isAuthorized": is_in, "context": {"user": address}}


def environment_of(stack: OnStack) -> dict[str, str]:
    from fanfold.local.up import Up

    return environment(Up("", stack.stack))
