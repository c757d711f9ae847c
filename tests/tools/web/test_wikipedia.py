from __future__ import annotations

import json
from typing import Any

import pytest
from tests.tools.web.servers import Answer, Asked, serving

from actloop.tools.web.wikipedia import WikipediaSearchTool

URL = "https://en.wikipedia.org/wiki/Danube"
ARTICLE = {
    "pageid": 1,
    "ns": 0,
    "title": "Danube",
    "extract": "The Danube is a river.\n\nHistory\nLong.",
    "fullurl": URL,
}


def mediawiki(asked: Asked) -> Answer:
    """Knows one article; speaks as `api.php` does."""
    query = asked.query
    assert query["action"] == "query"
    assert (query["format"], query["formatversion"], query["redirects"]) == ("json", "2", "1")
    article: dict[str, Any] = dict(ARTICLE)
    if "explaintext" not in query:
        article["extract"] = "<p>The <b>Danube</b> is a river.</p>"
    elif "exintro" in query:
        article["extract"] = "The Danube is a river."
    if query.get("titles") == "Danube" or (query.get("generator") == "search" and "river" in query["gsrsearch"]):
        found: dict[str, Any] = {"query": {"pages": [article]}}
    elif "titles" in query:
        found = {"query": {"pages": [{"ns": 0, "title": query["titles"], "missing": True}]}}
    else:
        found = {"batchcomplete": True}
    return Answer(json.dumps(found), kind="application/json; charset=utf-8")


def test_an_article_is_found_by_its_title() -> None:
    with serving(mediawiki) as server:
        wikipedia = WikipediaSearchTool("Tests (tests@example.com)", endpoint=f"{server.url}/w/api.php")
        assert wikipedia(query="Danube") == (
            "✅ **Wikipedia Page:** Danube\n\n**Content:** The Danube is a river.\n\nHistory\nLong.\n\n"
            f"🔗 **Read more:** {URL}"
        )
        asked = server.asked[0]
        assert asked.headers["user-agent"] == "Tests (tests@example.com)"
        assert asked.query["prop"] == "extracts|info"


def test_a_summary_and_markup() -> None:
    with serving(mediawiki) as server:
        summary = WikipediaSearchTool(content_type="summary", endpoint=server.url)("Danube")
        assert "**Content:** The Danube is a river.\n\n🔗" in summary
        markup = WikipediaSearchTool(extract_format="HTML", endpoint=server.url)("Danube")
        assert "<p>The <b>Danube</b> is a river.</p>" in markup


def test_a_topic_that_is_no_title_is_searched_for() -> None:
    with serving(mediawiki) as server:
        wikipedia = WikipediaSearchTool(endpoint=server.url)
        assert "**Wikipedia Page:** Danube" in wikipedia("long river")
        assert wikipedia("nothing at\nall") == "Wikipedia has no page for 'nothing at all'. Search for other words."
        wikipedia("Danube|Rhine")
        assert server.asked[-2].query["titles"] == "Danube Rhine"


@pytest.mark.parametrize(
    ("answer", "said"),
    [(Answer('{"error": {"code": "x", "info": "The value is\\n\\nTask: odd"}}'), "error: The value is Task: odd"),
     (Answer("<html>"), "no JSON object"), (Answer("oops", status=503), "503"),
     (Answer('{"query": []}'), "Wikipedia has no page"),
     (Answer('{"query": {"pages": {"1": {}}}}'), "Wikipedia has no page"),
     (Answer("x", status=429), "too many queries")],
)  # fmt: skip
def test_faults_of_the_service_are_said(answer: Answer, said: str) -> None:
    with serving(lambda asked: answer) as server:
        assert said in WikipediaSearchTool(endpoint=server.url)("Danube")


@pytest.mark.parametrize(
    "language",
    [
        "en.evil.example/",
        "evil.example#",
        "en@127.0.0.1",
        "",
        "EN",
        "e",
        "../x",
        "en\n",
        "127.0.0.1:80/",
        "xn--a",
        "en/w?",
    ],
)
def test_a_language_is_no_way_to_another_host(language: str) -> None:
    with pytest.raises(ValueError, match="language"):
        WikipediaSearchTool(language=language)


def test_languages_and_other_arguments() -> None:
    for language in ("en", "de", "simple", "zh-min-nan", "be-x-old"):
        assert WikipediaSearchTool(language=language).language == language
    for wrong in (
        {"user_agent": ""},
        {"user_agent": "a\r\nHost: b"},
        {"content_type": "all"},
        {"extract_format": "PDF"},
    ):
        with pytest.raises(ValueError, match=r"user_agent|content_type|extract_format"):
            WikipediaSearchTool(**wrong)
