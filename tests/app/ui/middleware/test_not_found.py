from __future__ import annotations

from app.ui.middleware.not_found import NotFoundMiddleware
from app.ui.middleware.routes import RoutesMiddleware
from tests.app.ui.asking import ask, inner

STACK = NotFoundMiddleware(RoutesMiddleware(inner))


def test_people_see_a_page_and_programs_an_answer():
    page = ask(STACK, "/a/nothing", accept="text/html,*/*")
    assert page.status == 404 and "<h1>There is nothing here</h1>" in page.text and '<base href="../"' in page.text
    assert page.header("content-type").startswith("text/html")
    assert ask(STACK, "/a/nothing").text == '{"detail":"Not Found"}'
    assert ask(STACK, "/runs", accept="text/html").text == "in None 0"
