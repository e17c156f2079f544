"""Web pages: what is content and what is frame, and what is folded; expected blocks are read off the markup by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from denizen.ingest.document import Document, Limits
from denizen.ingest.page import read_html

PROSE = [
    "The lender keeps a record of each loan for at least five years after it has been repaid in full.",
    "Whoever asks for a copy of the record receives it within thirty days and without any charge at all.",
    "A complaint is answered in writing, and the answer names the person who has looked into the matter.",
]


def _read(tmp_path: Path, content: str) -> Document:
    path = tmp_path / "page.html"
    path.write_text(content, encoding="utf-8")
    (document,) = read_html(path, Limits())
    assert isinstance(document, Document)
    return document


def _texts(tmp_path: Path, content: str) -> list[str]:
    return [block.text for block in _read(tmp_path, content).blocks]


def test_title_and_facts_of_the_head(tmp_path: Path) -> None:
    page = (
        "<html lang=de><head><title>A\n title</title><meta property='og:title' content=other>"
        "<meta name=Author content='J. Doe'>"
        "<meta property='article:published_time' content=2024-01-02>"
        "<meta name=description content=' about  it'></head><p>x"
    )
    document = _read(tmp_path, page)
    assert document.title == "A title"
    assert document.metadata == {"author": "J. Doe", "date": "2024-01-02", "description": "about it", "lang": "de"}
    assert _read(tmp_path, "<meta property='og:title' content='Only one'><p>x").title == "Only one"


def _page(main: str) -> str:
    return (
        "<html><body><header><a>Shop</a></header><nav><ul><li>Home<li>Contact</ul></nav>"
        f"<main>{main}</main><aside>Buy now</aside><footer>Imprint</footer></body></html>"
    )


def test_navigation_is_left_out_of_an_article(tmp_path: Path) -> None:
    article = (
        "<article><h1>Rules for records of loans</h1>" + "".join(f"<p>{text}</p>" for text in PROSE) + "</article>"
    )
    document = _read(tmp_path, _page(article))
    assert [block.text for block in document.blocks] == ["Rules for records of loans", *PROSE]


def test_what_trafilatura_loses_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It finds one of three paragraphs, a third of the words: all are kept, and the marked navigation is not."""
    monkeypatch.setattr("trafilatura.extract", lambda *_, **__: PROSE[0])
    document = _read(tmp_path, _page("".join(f"<p>{text}</p>" for text in PROSE)))
    assert [block.text for block in document.blocks] == PROSE


@pytest.mark.parametrize(
    ("last", "known", "is_kept"),
    [
        ("Share this story with friends", 100, False),
        ("It has been paid in full.", 100, True),
        ("Share this story with friends", 10, True),
    ],
    ids=["a button", "a sentence", "where little is known"],
)
def test_short_lines_behind_all_that_trafilatura_knows(
    last: str, known: int, is_kept: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 105 words it knows 100, which is more than 7 of 10, or 10, which is less."""
    words = [f"w{number}" for number in range(100)]
    monkeypatch.setattr("trafilatura.extract", lambda *_, **__: " ".join(words[:known]))
    document = _read(tmp_path, _page(f"<p>{' '.join(words)}</p><p>{last}</p>"))
    assert [block.text for block in document.blocks] == [" ".join(words), *([last] if is_kept else [])]
    assert (last in [item.text for item in document.left_out]) != is_kept


def test_a_page_without_navigation_is_not_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trafilatura.extract", lambda *_, **__: pytest.fail("should not be asked"))
    assert [block.text for block in _read(tmp_path, "<p>a<table><tr><td>b<td>c</table>").blocks] == ["a", "b | c"]


def test_a_large_page_is_not_given_to_trafilatura(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trafilatura.extract", lambda *_, **__: pytest.fail("would take minutes"))
    monkeypatch.setattr("denizen.ingest.page_frame._LARGEST", 20)
    assert len(_read(tmp_path, "<nav>Home</nav>" + "<p>a" * 21).blocks) == 21


def test_parts_of_an_article_and_the_surroundings_of_its_title_are_no_navigation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trafilatura.extract", lambda *_, **__: None)
    page = (
        "<header><nav>Home</nav><h1>T</h1></header><div class='x Menu'>m</div><div role=search>s</div>"
        "<article><header>by J. Doe</header><p>a</p><aside>note</aside><footer>source</footer></article>"
    )
    assert [block.text for block in _read(tmp_path, page).blocks] == ["T", "by J. Doe", "a", "note", "source"]


def test_a_page_of_nothing_but_navigation_is_kept(tmp_path: Path) -> None:
    assert [block.text for block in _read(tmp_path, "<nav><p>Home</p></nav>").blocks] == ["Home"]


@pytest.mark.parametrize(
    "markup",
    [
        "<p style='color:red; DISPLAY : none'>{}</p>",
        "<p hidden>{}</p>",
        "<p hidden='until-found'>{}</p>",
        "<div class='accordion-body collapse' aria-hidden=true><p>{}</p></div>",
        "<details><summary>More</summary>{}</details>",
        "<template><p>{}</p></template>",
        "<x-card><template shadowrootmode=open><p>{}</p></template></x-card>",
        "<script type='text/template'><p>{}</p></script>",
        "<script type='text/x-handlebars-template'><p>{}</p>{{{{#if a}}}}{{{{name}}}}{{{{/if}}}}</script>",
        "<script type='text/x-template'><!-- <p>{}</p> --></script>",
        "<textarea style='display:none'><div><p>{}</p></div></textarea>",
        "<noscript><p>{}</p></noscript>",
        "<iframe srcdoc='&lt;p>{}&lt;/p>'></iframe>",
        "<button aria-expanded=false>{}</button>",
        "<input type=checkbox id=q><label for=q>{}</label>",
        "<img src=a.png alt='{}'>",
        "<figure><img src=a.png><figcaption>{}</figcaption></figure>",
        "<script type='text/template'><div style='display:none'><p>{}</p></div></script>",
        "<table><tr style='display:none'><td>{}</td></tr></table>",
        "<dialog><p>{}</p></dialog>",
        "<svg role=img aria-label='{}'><path d='M0 0'/></svg>",
    ],
)
def test_what_a_person_could_make_visible_is_read_once(markup: str, tmp_path: Path) -> None:
    words = PROSE[0].rstrip(".")
    assert sum(words in text for text in _texts(tmp_path, f"<p>{PROSE[1]}</p>{markup.format(words)}")) == 1


def test_what_stands_on_the_page_anyway_is_not_read_again_where_it_is_hidden(tmp_path: Path) -> None:
    assert _texts(tmp_path, f"<p>{PROSE[0]}</p><div style='display:none'>{PROSE[0]}</div>") == [PROSE[0]]


def test_tips_and_abbreviations_stand_behind_their_words(tmp_path: Path) -> None:
    page = f"<p>The <abbr title='net asset value'>NAV</abbr> <span data-content='{PROSE[0]}'>falls</span></p>"
    assert _texts(tmp_path, page) == [f"The NAV (net asset value) falls ({PROSE[0]})"]


def test_programs_choices_and_notices_are_left_out_and_said(tmp_path: Path) -> None:
    page = (
        f"<p>{PROSE[0]}</p><script>var words = 'a b c d e f g h i';</script><script type=module>let a = 1</script>"
        "<select><option>one litre<option>two litres</select><noscript>Please enable JavaScript to go on.</noscript>"
    )
    document = _read(tmp_path, page)
    assert [block.text for block in document.blocks] == [PROSE[0]]
    assert {(item.text, item.reason) for item in document.left_out} == {
        ("one litre two litres", "is a choice of a form"),
        ("Please enable JavaScript to go on.", "is said to other browsers"),
    }


def _data(found: object) -> str:
    return f"<script type='application/ld+json'>{json.dumps(found)}</script>"


def test_articles_and_answers_in_data_are_read_where_the_page_does_not_say_them(tmp_path: Path) -> None:
    answer = {"@type": "Answer", "text": f"<p>{PROSE[1]}</p>"}
    faq = {"@type": "FAQPage", "mainEntity": [{"@type": "Question", "name": PROSE[2], "acceptedAnswer": answer}]}
    graph = {
        "@graph": [{"@type": "NewsArticle", "articleBody": PROSE[0]}, {"@type": "Organization", "name": "Made Up Co"}]
    }
    assert _texts(tmp_path, f"<p>{PROSE[0]}</p>{_data(graph)}{_data(faq)}") == [PROSE[0], PROSE[2], PROSE[1]]
    assert _texts(tmp_path, f"<p>{PROSE[0]}</p><script type='application/ld+json'>{{broken</script>") == [PROSE[0]]


def test_a_page_that_a_program_draws_is_read_from_the_programs_data(tmp_path: Path) -> None:
    state = json.dumps({"props": {"post": {"id": 7, "body": f"<p>{PROSE[0]}</p>", "url": "https://example.org/a"}}})
    assert _texts(tmp_path, f"<div id=__next></div><script type='application/json'>{state}</script>") == [PROSE[0]]
    assert _texts(tmp_path, f"<div></div><script>window.__STATE__ = {state};</script>") == [PROSE[0]]
    # where the page says something itself, its data repeat it in pieces
    whole = " ".join(PROSE)
    assert _texts(tmp_path, f"<p>{whole}</p><script type='application/json'>{{'a': 1}}</script>") == [whole]


def test_frames_are_told_by_what_they_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list of links, a line of buttons on every post, a cookie notice and a claim of rights go; running text in
    what is called a sidebar stays, and so does a menu of dishes."""
    monkeypatch.setattr("trafilatura.extract", lambda *_, **__: " ".join(PROSE))
    links = "".join(f"<li><a href='/{at}'>Link {at}</a></li>" for at in range(4))
    posts = "".join(f"<p>{text}</p><a href='#'>Answer this</a>" for text in PROSE)
    dishes = "<ul class=menu><li>Soup of the day with bread, 4.50</li><li>Roast beef and beans, 9.00</li></ul>"
    page = (
        f"<h1>Rules</h1><div class=q1><ul>{links}</ul></div>{posts}"
        f"<div class=sidebar><p>{PROSE[0]} {PROSE[1]} More.</p></div>{dishes}"
        "<div class=q2 style='display:none'><p>We set cookies here</p><button>Accept</button></div>"
        "<p>Copyright (c) 2026 Made Up Co</p>"
    )
    document = _read(tmp_path, page)
    assert [block.text for block in document.blocks] == [
        "Rules",
        *PROSE,
        f"{PROSE[0]} {PROSE[1]} More.",
        "- Soup of the day with bread, 4.50\n- Roast beef and beans, 9.00",
    ]
    assert [item.text for item in document.left_out] == [
        "\n".join(f"- Link {at}" for at in range(4)),
        "We set cookies here Accept",
        "Copyright (c) 2026 Made Up Co",
    ]


def test_a_page_of_links_keeps_them_and_a_heading_without_its_list_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trafilatura.extract", lambda *_, **__: PROSE[0])
    links = "".join(f"<li><a href='/{at}'>Link number {at}</a></li>" for at in range(5))
    listed = "\n".join(f"- Link number {at}" for at in range(5))
    assert _texts(tmp_path, f"<h1>Index</h1><nav>Home</nav><ul>{links}</ul>") == ["Index", listed]
    related = f"<h1>Index</h1><p>{PROSE[0]}</p><p>{PROSE[1]}</p><h2>Related</h2><ul>{links}</ul>"
    assert _texts(tmp_path, related) == ["Index", PROSE[0], PROSE[1]]


ASKED = {"Is it waterproof?": "Yes.", "Can I send it back?": "30 days.", "Does it ship abroad?": "No."}
INTRO = "<h1>Pump</h1><p>We know yesterday's pump; whoever asks within 30 days, or later, is answered here in full.</p>"


@pytest.mark.parametrize(
    "answer",
    [
        "<div style='display:none'>{}</div>",
        "<p hidden>{}</p>",
        "<noscript>{}</noscript>",
        "<button data-bs-content='{}'>Answer</button>",
    ],
)
def test_folded_answers_of_a_word_are_kept_although_the_page_has_their_letters(answer: str, tmp_path: Path) -> None:
    """ "Yes" stands in "yesterday" and "no" in "know"."""
    asked = "".join(f"<h3>{question}</h3>{answer.format(text)}" for question, text in ASKED.items())
    texts = _texts(tmp_path, INTRO + asked)
    for text in ASKED.values():
        assert any(text in found for found in texts), text


def test_short_answers_in_data_are_kept_with_their_questions(tmp_path: Path) -> None:
    questions = [
        {"@type": "Question", "name": question, "acceptedAnswer": {"@type": "Answer", "text": text}}
        for question, text in [*ASKED.items(), ("Is it loud?", "No.")]
    ]
    data = json.dumps({"@type": "FAQPage", "mainEntity": questions})
    shown = "<h3>Is it loud?</h3><p>No.</p>"
    texts = _texts(tmp_path, f"{INTRO}{shown}<script type='application/ld+json'>{data}</script>")
    assert [text for text in texts if "?" in text] == [
        "Is it loud?",
        "Is it waterproof?",
        "Is it waterproof? Yes.",
        "Can I send it back?",
        "Can I send it back? 30 days.",
        "Does it ship abroad?",
        "Does it ship abroad? No.",
    ]


def test_few_words_of_a_template_and_data_of_a_program_are_named(tmp_path: Path) -> None:
    data = json.dumps([{"a": "The guarantee lasts three years and covers moving parts."}, {"a": "Short."}])
    page = INTRO + "<p>It is sold in many shops of the country, and in some abroad, for a fair price and no more.</p>"
    found = _read(tmp_path, f"{page}<template>Yes.</template><script>var faq = {data};</script>").left_out
    assert [(item.text, item.reason) for item in found] == [
        ("Yes.", "is a template with few words"),
        ("The guarantee lasts three years and covers moving parts.", "is data of the page's program"),
    ]
