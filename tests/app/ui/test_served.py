"""The studio as it is really served: addresses, files, logins, and what stays on the disk."""

from __future__ import annotations

import io
import re
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from PIL import Image
from playwright.sync_api import expect

from app.ui.components import text
from tests.app.command import call
from tests.app.ui.api_client import connect
from tests.app.ui.server import Process
from tests.app.ui.visitor import ALL_SENT, READY, add, blank_page, listen
from tests.browser import ARGUMENTS
from tests.trainers.data.pictures import scene

ENDPOINTS = {
    "upload", "captions", "start", "status", "stop", "resume", "styles", "download", "generate", "methods", "presets",
    "bases", "delete", "trash", "restore", "empty", "remove", "drafts", "sweep", "sweep_status",
}  # fmt: skip


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """A studio for two people, open to the network."""
    process = Process(
        tmp_path_factory.mktemp("locked") / "outputs", "--host", "0.0.0.0", "--auth", "ann:pear", "--auth", "bob:plum"
    )
    yield process
    if process.is_running():
        process.close()


def test_refusals_of_the_command(tmp_path):
    refused = call("ui", "--host", "0.0.0.0", "--out", tmp_path / "none")
    assert refused.code == 1 and "--auth user:password" in refused.err and not (tmp_path / "none").exists()
    assert "is not user:password" in call("ui", "--auth", "ann").err


def test_the_studio_can_be_installed_as_an_app(studio, locked, page):
    line = page.context.new_cdp_session(page)
    found = line.send("Page.getAppManifest")
    assert found["url"] == f"{studio.url}manifest.json" and found["errors"] == []
    reasons = {each["errorId"] for each in line.send("Page.getInstallabilityErrors")["installabilityErrors"]}
    assert reasons <= {"in-incognito"}, "every context of a test is a private window"
    answer = httpx.get(f"{locked.url}manifest.json")  # browsers ask without cookies
    assert answer.status_code == 200 and answer.headers["content-type"] == "application/manifest+json"
    manifest = answer.json()
    assert (manifest["name"], manifest["start_url"], manifest["display"]) == ("Velatura", "./", "standalone")
    tokens = (Path(text.__file__).parents[1] / "document" / "tokens.css").read_text()
    assert f"--wall: {manifest['theme_color']};" in tokens and manifest["background_color"] == manifest["theme_color"]
    for icon in manifest["icons"][:2]:
        with Image.open(io.BytesIO(httpx.get(locked.url + icon["src"]).content)) as drawn:
            assert icon["sizes"] == f"{drawn.width}x{drawn.height}" and drawn.width in (192, 512)


def test_what_is_served_and_what_is_not(studio, page, tmp_path):
    scene(1, (300, 200)).save(tmp_path / "a.png")
    add(page, tmp_path / "a.png", count=1)
    address = page.locator(".cards img").evaluate("image => image.src")
    shown = httpx.get(address)
    assert shown.status_code == 200 and shown.headers["content-type"] == "image/webp"
    assert "immutable" in shown.headers["cache-control"] and shown.headers["x-content-type-options"] == "nosniff"
    root = studio.out.resolve() / ".studio"
    files = [root / "secret", next(root.glob("drafts/*/draft.json")), next(root.glob("drafts/*/pictures/*.png"))]
    for path in (*files, Path("/etc/passwd"), Path(__file__)):
        assert path.exists()
        assert httpx.get(f"{studio.url}gradio_api/file={path}").status_code == 404, path
    sneaky = f"{address.split('public')[0]}public/../secret"
    raw = httpx.Client().send(httpx.Request("GET", sneaky.replace("..", "%2e%2e")))
    assert raw.status_code in (403, 404)
    for closed in (
        "monitoring/summary",
        "gradio_api/file=http://127.0.0.1/",
        "docs",
        "redoc",
        "openapi.json",
        "gradio_api/component_server",
    ):
        assert httpx.get(studio.url + closed).status_code == 404, closed
    for path in ("gradio_api/upload", "gradio_api/queue/join", "gradio_api/component_server"):
        assert httpx.post(studio.url + path, headers={"Origin": "http://evil.example"}).status_code == 403
    assert httpx.get(studio.url, headers={"Host": "evil.example"}).status_code == 403
    assert list((root / "uploads").rglob("*.png")) == []


def test_a_wrong_address_shows_a_page_of_ours_to_people(studio):
    for path in ("nothing", "a/b/nothing"):
        shown = httpx.get(studio.url + path, headers={"Accept": "text/html,*/*"})
        assert shown.status_code == 404 and "<h1>There is nothing here</h1>" in shown.text
        assert httpx.get(str(shown.url.join(re.findall(r'<base href="([^"]+)"', shown.text)[0]))).status_code == 200
        assert httpx.get(studio.url + path).json() == {"detail": "Not Found"}, "a program's answer"


def test_no_listener_of_a_page_is_part_of_the_api(studio):
    info = httpx.get(f"{studio.url}gradio_api/info").json()
    named = {name.removeprefix("/") for name in info["named_endpoints"]}
    assert named == ENDPOINTS and info["unnamed_endpoints"] == {}
    config = httpx.get(f"{studio.url}config").json()
    public = {one["api_name"] for one in config["dependencies"] if one["api_visibility"] != "private"}
    assert len(config["dependencies"]) > 2 * len(ENDPOINTS) and public == ENDPOINTS
    assert config["analytics_enabled"] is False and config["run_history"] is False


def test_nothing_comes_from_elsewhere(studio):
    page = httpx.get(studio.url).text
    loaded = re.findall(r'<(?:script|link)[^>]+(?:src|href)="([^"]+)"', page)
    assert loaded and all(address.startswith(("./", "/")) for address in loaded)
    ours = [address for address in loaded if address.startswith("./look/")]
    assert {address.rpartition("/")[2] for address in ours} >= {"icon.svg", "index.js", "studio.css"}
    sheet = httpx.get(studio.url + next(address for address in ours if address.endswith("studio.css")))
    assert sheet.headers["content-encoding"] == "gzip" and "immutable" in sheet.headers["cache-control"]
    fonts = re.findall(r"url\(([^)]+)\)", sheet.text)
    assert len(fonts) > 3 and all(re.match(r"['\"]?(fonts/|data:)", address) for address in fonts)
    for address in ours:
        assert httpx.get(studio.url + address).status_code == 200


def test_nothing_that_people_do_is_passed_over(studio):
    """While an answer is on its way, only timers, pages that open, and a second start may be."""
    listeners = httpx.get(f"{studio.url}config").json()["dependencies"]
    modes = [(event, each["trigger_mode"]) for each in listeners for _, event in each["targets"]]
    passed = {"load", "then", "outdated", "start_pressed", "sweep_pressed"}
    assert {event for event, mode in modes if mode != "multiple"} == passed
    assert {"asked", "caption_edited", "step_shown"} <= {event for event, mode in modes if mode == "multiple"}


def log_in(page, name: str, password: str) -> None:
    """Fill in the form until it is taken: right after a wrong password it has to wait."""
    end = time.monotonic() + 120
    while True:
        page.get_by_label("Name").fill(name)
        page.get_by_label("Password").fill(password)
        with page.expect_response("**/login") as answer:
            page.keyboard.press("Enter")
        if answer.value.ok:
            break
        assert time.monotonic() < end, answer.value.text()
    page.wait_for_selector(READY)


def test_two_people_log_in_and_out(locked, browser, tmp_path):
    assert "everybody" not in locked.said() and httpx.get(f"{locked.url}config").status_code == 401
    scene(1, (300, 200)).save(tmp_path / "a.png")
    with blank_page(browser) as page:
        complaints: list[str] = []
        page.goto(locked.url)
        page.get_by_label("Name").fill("ann")
        page.get_by_label("Password").fill("wrong")
        page.get_by_role("button", name="Log in").click()
        page.wait_for_selector(f"[role=alert] >> text={text.WRONG_PASSWORD}")
        log_in(page, "ann", "pear")
        listen(page, locked.url, complaints)
        add(page, tmp_path / "a.png", count=1)
        page.locator(".cards textarea").fill("a picture of Ann's")
        page.locator(".cards textarea").blur()
        expect(page.locator(".cards textarea")).to_have_attribute("value", "a picture of Ann's")  # the server has it
        page.wait_for_function(ALL_SENT)
        address = page.locator(".cards img").evaluate("image => image.src")
        assert httpx.get(address).status_code == 401

        # A restart with the same people: the login and the draft are still good.
        page.goto("about:blank")  # an open page would complain that nobody answers
        locked.stop(hard=True)
        locked.start(port=locked.port)
        page.goto(locked.url)
        page.wait_for_selector(READY)
        expect(page.locator(".cards textarea")).to_have_value("a picture of Ann's")
        assert complaints == []
        before = {one["name"]: one["value"] for one in page.context.cookies()}
        assert httpx.get(f"{locked.url}config", cookies=before).status_code == 200
        # What Ann leaves open in another tab becomes the next one's, by itself.
        other = page.context.new_page()
        other.goto(locked.url)
        other.get_by_role("button", name="Log out: ann").click()
        page.get_by_label("Password").wait_for()
        log_in(other, "bob", "plum")
        page.get_by_role("button", name="Log out: bob").wait_for()
        page.wait_for_selector("body[data-pictures='0']")
        assert httpx.get(f"{locked.url}config", cookies=before).status_code == 401, (
            "a copy of the old cookie is of no use"
        )
        with page.expect_navigation():  # as a page that the browser has kept for its back button
            page.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', {persisted: true}))")


@pytest.mark.thorough
def test_after_logging_out_the_back_button_shows_nothing(locked, browser, chromium, tmp_path):
    """In a browser that keeps whole pages for its back button, which Playwright's own otherwise does not."""
    scene(1, (300, 200)).save(tmp_path / "a.png")
    own = browser.browser_type.launch(
        executable_path=chromium,
        args=ARGUMENTS,
        ignore_default_args=["--disable-back-forward-cache"],
    )
    with blank_page(own) as page:
        page.goto(locked.url)
        log_in(page, "ann", "pear")
        if page.evaluate("document.body.dataset.pictures") == "0":
            add(page, tmp_path / "a.png", count=1)
        page.wait_for_function(ALL_SENT)
        page.get_by_role("link", name="Styles", exact=True).click()
        page.get_by_role("heading", name="No styles yet").wait_for()
        page.get_by_role("button", name="Log out: ann").focus()
        page.keyboard.press("Enter")
        page.get_by_label("Password").wait_for()
        for _ in range(2):
            page.go_back(wait_until="commit")
            page.get_by_label("Password").wait_for()
            assert page.locator(".cards, #shell, [data-pictures]").count() == 0
        assert page.evaluate("fetch('config').then(answer => answer.status)") == 401
    own.close()


def test_a_program_logs_in(locked, tmp_path):
    from gradio_client import handle_file

    with pytest.raises(Exception, match=r"[Cc]ould not|[Ll]og|401"):
        connect(locked.url)
    client = connect(locked.url, auth=("ann", "pear"))
    assert {
        name[1:] for name in client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    } == ENDPOINTS
    scene(1, (64, 64)).save(tmp_path / "a.png")
    sent = client.predict([handle_file(str(tmp_path / "a.png"))], api_name="/upload")
    assert [image["name"] for image in sent["images"]] == ["a.png"]
