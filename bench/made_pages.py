"""Made-up web pages of which each wanted and each unwanted string is known.

Five kinds of pages (news, documentation, shop, questions and answers, forum) in five ways to mark them up: by the
landmarks of HTML, by names of classes, by names that a program made, by tables, and by lists in nested boxes. A site
is a kind in one markup, of eight pages that share their frame.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from html import escape

PAGES = 8
_WORDS = (
    "about above across after again against all along also although among and another any around because been "
    "before being below between both but by came can change cause could day does done down during each early "
    "earth end even every example far few find first follow food for found from give good great group grow hand "
    "hard have head help high home house however important into keep kind large last later learn leave left "
    "letter life light line little live long made make many mean might more most move much must name near need "
    "never next night number off often old once only open order other over page paper part people place plant "
    "point problem read right river same school sea second seem sentence should show side small some soon sound "
    "state still stop story study such take talk tell than that the their them then there these they thing think "
    "this those thought three through time together too took tree true turn under until use very walk want watch "
    "water way well went were what when where which while white who why will with without word work world would "
    "write year young harbour bridge valve boiler filter ledger tariff permit"
)
_MENU = (
    "Home|About us|Contact|Careers|Our team|Press room|Services|Products|Pricing|Blog|Events|Support|Downloads|"
    "Partners|Investors|Shop all|New arrivals|Gift cards|Store finder|Help centre|Community|Forums|Members|Search|"
    "Sports|Politics|Business|Culture|Weather|Opinion|Travel|Science|Getting started|API reference|Tutorials|"
    "Release notes|Glossary"
)
_LEGAL = (
    "Privacy policy|Terms of use|Cookie settings|Imprint|Accessibility statement|Site map|Do not sell my data|Licences|"
    "Returns policy|Delivery information|Modern slavery statement"
)
_SHARE = ("Share on Facebook", "Post to X", "Send by WhatsApp", "Copy link", "Print this page", "Save for later")


@dataclass
class Page:
    """A page and what is known of it.

    Attributes:
        html: The page.
        wanted: Strings that its content holds.
        unwanted: Strings of its frame.
    """

    html: str = ""
    wanted: list[str] = field(default_factory=list)
    unwanted: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Markup:
    """How a site opens and closes the parts of its pages."""

    header: tuple[str, str]
    menu: tuple[str, str]
    content: tuple[str, str]
    side: tuple[str, str]
    footer: tuple[str, str]
    whole: tuple[str, str] = ("", "")


_DIV = "</div>"
MARKUPS: dict[str, _Markup] = {
    "landmarks": _Markup(
        ("<header>", "</header>"),
        ("<nav>", "</nav>"),
        ("<main><article>", "</article></main>"),
        ("<aside>", "</aside>"),
        ("<footer>", "</footer>"),
    ),
    "classes": _Markup(
        ("<div class='site-header'>", _DIV),
        ("<div class='main-menu'>", _DIV),
        ("<div class='page-content'>", _DIV),
        ("<div class='widget-area'>", _DIV),
        ("<div class='site-footer'>", _DIV),
    ),
    "hashed": _Markup(
        ("<div class='css-1x9qk'>", _DIV),
        ("<div class='css-77ab2'>", _DIV),
        ("<div id='root-3'><div class='css-p0o9i'>", _DIV + _DIV),
        ("<div class='css-mm2w1'>", _DIV),
        ("<div class='css-zz81k'>", _DIV),
    ),
    "tables": _Markup(
        ("<tr><td colspan=3>", "</td></tr>"),
        ("<tr><td width=150 valign=top>", "</td>"),
        ("<td valign=top>", "</td>"),
        ("<td width=150>", "</td></tr>"),
        ("<tr><td colspan=3 align=center>", "</td></tr>"),
        ("<table width='100%'>", "</table>"),
    ),
    "boxes": _Markup(
        ("<div id='top'><div class='inner'>", _DIV + _DIV),
        ("<div class='row'><div class='col-3'>", _DIV),
        ("<div class='col-6'><section>", "</section>" + _DIV),
        ("<div class='col-3 last'>", _DIV + _DIV),
        ("<div id='bottom'><div class='inner'>", _DIV + _DIV),
    ),
}


class _Writer:
    """Writes pages of one site."""

    def __init__(self, seed: str, markup: _Markup) -> None:
        self.draw = random.Random(seed)
        self.markup = markup
        self.menu = self.draw.sample(_MENU.split("|"), 9)
        self.legal = self.draw.sample(_LEGAL.split("|"), 5)
        self.name = "".join(self.draw.choices(_WORDS.split(), k=2)).title()
        self.page = Page()

    def sentence(self, fewest: int = 9, most: int = 22) -> str:
        words = self.draw.choices(_WORDS.split(), k=self.draw.randint(fewest, most))
        return " ".join([words[0].title(), *words[1:], f"{self.draw.randint(100, 99999)}"]) + "."

    def title(self, fewest: int = 4, most: int = 8) -> str:
        words = self.draw.choices(_WORDS.split(), k=self.draw.randint(fewest, most))
        return " ".join([words[0].title(), *words[1:], str(self.draw.randint(100, 99999))])

    def wanted(self, text: str) -> str:
        self.page.wanted.append(text)
        return escape(text)

    def unwanted(self, text: str) -> str:
        self.page.unwanted.append(text)
        return escape(text)

    def paragraph(self) -> str:
        sentences = [self.sentence() for _ in range(self.draw.randint(2, 4))]
        return f"<p>{' '.join(map(self.wanted, sentences))}</p>"

    def links(self, texts: list[str], tag: str = "li") -> str:
        items = "".join(f"<{tag}><a href='/{at}'>{self.unwanted(text)}</a></{tag}>" for at, text in enumerate(texts))
        return f"<ul>{items}</ul>" if tag == "li" else items

    def whole(self, title: str, body: str) -> Page:
        m = self.markup
        skip = f"<a href='#c'>{self.unwanted('Skip to main content')}</a>"
        header = f"{skip}<a href='/'>{self.name}</a><form>{self.unwanted('Search this site')}<input name=q></form>"
        related = self.links([self.title() for _ in range(4)])
        share = "".join(f"<a href='#'>{self.unwanted(text)}</a> " for text in self.draw.sample(_SHARE, 3))
        letter = "Sign up for our weekly letter and never miss a story"
        side = f"<h3>{self.unwanted('Most read this week')}</h3>{related}<p>{self.unwanted(letter)}</p><button>"
        side += f"{self.unwanted('Subscribe now')}</button>"
        notice = "We use cookies to improve your experience and to measure how this site is used."
        cookies = f"<div class='{self.draw.choice(['cookie-banner', 'cc-window', 'x81'])}' style='display:none'><p>"
        cookies += f"{self.unwanted(notice)}</p><button>{self.unwanted('Accept all cookies')}</button></div>"
        rights = f"© 2026 {self.name} Ltd. All rights reserved."
        footer = f"{self.links(self.legal)}<p>{self.unwanted(rights)}</p>"
        crumbs = " &gt; ".join(f"<a href='/'>{self.unwanted(text)}</a>" for text in self.draw.sample(self.menu, 3))
        self.page.html = (
            f"<!DOCTYPE html><html lang='en'><head><title>{escape(title)} - {self.name}</title>"
            f"<script>var a = 1;</script></head><body>{m.whole[0]}{m.header[0]}{header}{m.header[1]}"
            f"{m.menu[0]}{self.links(self.menu)}{m.menu[1]}"
            f"{m.content[0]}<div>{crumbs}</div><h1>{self.wanted(title)}</h1><div class='x'>{share}</div>{body}"
            f"{m.content[1]}{m.side[0]}{side}{m.side[1]}{m.footer[0]}{footer}{m.footer[1]}{m.whole[1]}{cookies}</body></html>"
        )
        return self.page


def _news(w: _Writer) -> Page:
    byline = f"<p>{w.wanted('By ' + w.title(2, 3))}</p>"
    figure = f"<figure><img src=a.jpg alt='{w.wanted(w.title(5, 8))}'>"
    figure += f"<figcaption>{w.wanted(w.sentence())}</figcaption></figure>"
    body = byline + w.paragraph() + figure + w.paragraph() + f"<h2>{w.wanted(w.title())}</h2>" + w.paragraph()
    body += f"<blockquote>{w.wanted(w.sentence())}</blockquote>" + w.paragraph()
    read = "".join(f"<div class='c'><a href='/r'>{w.unwanted(w.title())}</a></div>" for _ in range(4))
    body += f"<div class='more'><h3>{w.unwanted('You may also like')}</h3>{read}</div>"
    return w.whole(w.title(), body)


def _documentation(w: _Writer) -> Page:
    contents = w.links(["On this page " + w.title(2, 3) for _ in range(4)])
    rows = "".join(
        f"<tr><td>{w.wanted(w.title(1, 1))}</td><td>{w.wanted(w.sentence(4, 8))}</td></tr>" for _ in range(4)
    )
    body = contents + w.paragraph() + f"<h2>{w.wanted(w.title())}</h2>"
    body += f"<pre><code>{w.wanted('run ' + w.title(2, 3))}</code></pre>"
    body += f"<div class='admonition note'><p>{w.wanted('Note: ' + w.sentence(6, 9))}</p></div><table>{rows}</table>"
    body += f"<details><summary>{w.wanted(w.title())}</summary>{w.paragraph()}</details><ul>"
    for _ in range(3):
        body += f"<li>{w.wanted(w.sentence(3, 6))} <a href='/x'>{w.wanted(w.title(2, 3))}</a></li>"
    steps = " ".join(f"<a href='/p'>{w.unwanted(f'{way}: {w.title(2, 3)}')}</a>" for way in ("Previous", "Next"))
    body += f"</ul><div>{steps}</div>"
    return w.whole(w.title(), body)


def _shop(w: _Writer) -> Page:
    facts = "".join(f"<dt>{w.wanted(w.title(1, 2))}</dt><dd>{w.wanted(w.title(1, 3))}</dd>" for _ in range(4))
    reviews = "".join(f"<div class='review'><p>{w.wanted(w.sentence(5, 12))}</p></div>" for _ in range(3))
    tabs = (
        f"<div class='tab-pane' style='display:none'>{w.paragraph()}</div><div class='tab-pane' hidden>{reviews}</div>"
    )
    body = f"<p>{w.wanted('Price: ' + w.title(1, 1) + ' euro')}</p>{w.paragraph()}<dl>{facts}</dl>{tabs}"
    body += "".join(
        f"<li><a href='/b'>{w.unwanted('Customers also bought ' + w.title(2, 4))}</a></li>" for _ in range(4)
    )
    return w.whole(
        w.title(), f"{body}<select>{''.join(f'<option>Size {at}</option>' for at in range(36, 44))}</select>"
    )


def _questions(w: _Writer) -> Page:
    def pair(at: int, how: int) -> str:
        question = w.wanted(w.title(6, 9) + "?")
        answer = w.wanted(w.sentence(8, 18))
        return (
            f"<button>{question}</button><div class='panel' style='display: none'><p>{answer}</p></div>",
            f"<h3>{question}</h3><div aria-hidden='true' hidden>{answer}</div>",
            f"<details><summary>{question}</summary><p>{answer}</p></details>",
            f"<input type=checkbox id=q{at}><label for=q{at}>{question}</label><div class='collapse'>{answer}</div>",
        )[how]

    how = w.draw.randrange(4)
    body = w.paragraph() + "".join(pair(at, how) for at in range(7))
    return w.whole(w.title(), body)


def _forum(w: _Writer) -> Page:
    def post(short: bool) -> str:
        text = f"<p>{w.wanted(w.sentence(3, 6))}</p>" if short else w.paragraph()
        actions = "".join(f"<a href='#'>{w.unwanted(text)}</a> " for text in ("Reply to this", "Report this post"))
        user = w.wanted("User " + w.title(1, 1))
        return f"<div class='post'><div>{user}</div>{text}<div class='a'>{actions}</div></div>"

    body = "".join(post(at % 2 == 1) for at in range(5))
    body += f"<p>{w.unwanted('You must log in to post an answer')}</p><div>"
    body += "".join(f"<a href='/t'>{w.unwanted('Thread ' + w.title(2, 5))}</a><br>" for _ in range(4)) + "</div>"
    return w.whole(w.title() + "?", body)


KINDS: dict[str, Callable[[_Writer], Page]] = {
    "news": _news,
    "documentation": _documentation,
    "shop": _shop,
    "questions": _questions,
    "forum": _forum,
}


def sites() -> Iterator[tuple[str, list[Page]]]:
    """Each site by its name, which is its kind and its markup, and its pages."""
    for kind, write in KINDS.items():
        for name, markup in MARKUPS.items():
            pages = []
            for at in range(PAGES):
                writer = _Writer(f"{kind} {name}", markup)
                # the frame is the site's, the content the page's
                writer.draw = random.Random(f"{kind} {name} {at}")
                pages.append(write(writer))
            yield f"{kind}, {name}", pages
