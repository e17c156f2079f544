"""What no user's query says, whoever wrote it: that it is about a passage, or the passage's own sentences."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

# as many words in a row as no one repeats by chance: the query quotes its passage
COPIED_WORDS = 8
# shares and numbers of passages: of a word that is in more, it is ordinary; of one in fewer, it says which are meant
_ORDINARY_SHARE, _ORDINARY_LEAST = 0.05, 2
_NAMING_SHARE, _NAMING_LEAST = 0.01, 5
# passages below which that says nothing
_ENOUGH = 200
# of a word, which its endings leave alone
_BEGINNING = 5
_WORD = re.compile(r"\w+")

# By language what points, and what it points to; a number or a genitive after the second kind names something of the
# world, as "section 409A" or "the study of birds". Where no article is written, demonstratives and prepositions point.
_POINTED: dict[str, tuple[str, str, str]] = {
    "en": (
        r"(?:the|this|that|these|those|your)\s+(?:(?:present|current|following|above|given|provided|attached)\s+)?",
        "passages?|texts?|excerpts?|snippets?|paragraphs?|documents?|statements? above",
        "study|studies|articles?|papers?|sections?|tables?|figure|authors?|researchers|appendix|code|writer",
    ),
    "de": (
        r"(?:d(?:er|ie|as|em|en|es)|dies(?:e[rsmn]?|es)|im|vom|zum|beim)\s+(?:(?:vorliegende|folgende|obige)[nmrs]?\s+)?",
        "Texte?s?|Passagen?|Auszug(?:s|es)?|Textstelle|Dokuments?|Absatz(?:es)?",
        "Studien?|Artikels?|Abschnitt(?:s|es)?|Tabelle|Abbildung|Autor(?:in|en|s)?|Verfassers?|Anhangs?",
    ),
    "fr": (
        r"(?:l[ea]s?|l['’]|ce(?:t|tte|s)?|du|des|aux?)\s*(?:présente?s?\s+)?",
        "passage|texte|extrait|document|paragraphe",
        "étude|article|section|tableau|figure|auteure?s?|annexe",
    ),
    "es": (
        r"(?:el|la|los|las|del|al|est[ea]|estos|estas|dicho)\s+(?:presente\s+)?",
        "pasaje|texto|fragmento|extracto|documento|párrafo",
        "estudio|artículo|sección|tabla|figura|autor(?:es|a)?|anexo|apéndice",
    ),
    "it": (
        r"(?:il|lo|la|i|gli|le|l['’]|del(?:lo|la|l['’])?|nel(?:lo|la|l['’])?|dal(?:la|l['’])?|quest[oaie])\s*",
        "testo|brano|passaggio|estratto|documento|paragrafo",
        "studio|articolo|sezione|tabella|figura|autor[ei]|allegato|appendice",
    ),
    "pt": (
        r"(?:[oa]s?|d[oa]s?|n[oa]s?|est[ea]s?|dest[ea]|nest[ea]|pel[oa])\s+(?:presente\s+)?",
        "passagem|texto|trecho|excerto|documento|parágrafo",
        "estudo|artigo|seção|secção|tabela|figura|autor(?:es|a)?|anexo|apêndice",
    ),
    "nl": (
        r"(?:de|het|dit|deze|dat)\s+",
        "tekst|passage|fragment|document|alinea",
        "studie|artikel|paragraaf|tabel|figuur|auteurs?|bijlage",
    ),
    # the article is the word's ending
    "sv": ("(?:den|denna|detta|i|enligt|av)?\\s*", "texten|stycket|utdraget|dokumentet|avsnittet", "författaren"),
    "da": ("(?:den|denne|dette|i|ifølge|af)?\\s*", "teksten|passagen|uddraget|dokumentet|afsnittet", "forfatteren"),
    "no": ("(?:den|denne|dette|i|ifølge|av)?\\s*", "teksten|avsnittet|utdraget|dokumentet", "forfatteren"),
    "fi": ("(?:tämän?|tässä)?\\s*", "tekstissä|tekstin mukaan|katkelmassa|asiakirjassa", "tutkimuksessa"),
    "pl": (r"(?:w|ten|tym|tego|z|według)\s+", "tek(?:st|ście|stu)|fragmen(?:t|cie|tu)|dokumen(?:t|cie|tu)", "artykule"),
    "cs": (r"(?:v|tento|tomto|tohoto|podle)\s+", "text(?:u|ě)?|úryvek|úryvku|dokument(?:u|ě)?", "článku|studii"),
    "ru": (
        r"(?:в|из|эт(?:от|ом|ого)|данн(?:ый|ом|ого)|согласно)\s+",
        "текст(?:е|а|у)?|отрыв(?:ок|ке|ка)|документ(?:е|а)|абзац(?:е|а)",
        "стать(?:е|и)|исследовани(?:и|я)|таблиц(?:е|ы)|раздел(?:е|а)",
    ),
    "uk": (r"(?:в|у|з|цьому|цього|даному|згідно)\s+", "текст(?:і|у)|уривку|документ(?:і|а)", "статті|дослідженні"),
    "tr": (r"(?:bu\s+)?", "met(?:in|inde|ne)|parça(?:da|ya)|pasaj(?:da|a)|belgede", "(?<=bu )çalışma(?:da)?"),
    "id": ("", "(?:teks|dokumen|kutipan|bacaan) (?:ini|tersebut|di atas)", "penelitian ini|artikel ini"),
}
# scripts without such words between spaces
_WHOLE = (
    "本文|该文|文中|上文|这段|该段|这篇|本段|本研究|该研究|本文档|该文档|该文件中|作者认为",
    "この(?:文章|文|文書|段落|論文|研究|資料)|本文|本稿|上記の(?:文|文章)|文章(?:中|によ)",
    "(?:이|본|위|해당)\\s?(?:글|본문|문서|구절|단락|문단|논문|연구|지문)(?!\\w*법)|본문",
    "(?:هذا|هذه|في|حسب)\\s+(?:النص|الفقرة|المقطع|الوثيقة|الدراسة|المقال)",
    "(?:इस|उपरोक्त|दिए गए)\\s+(?:पाठ|अनुच्छेद|गद्यांश|दस्तावेज़|लेख)",
)
_OTHERS = (
    # things of the document itself, by their number
    r"\b(?:tables?|figures?|fig\.|appendix|appendices|tabelle|abbildung|anhang|tableau|annexe|tabla|figura)\s+"
    r"(?:\d|[IVX]+\b|[A-Z]\b)",
    r"\b(?:mentioned|described|discussed|listed|shown|stated|outlined|explained)\s+(?:here|above|below)\b",
    # a marker that was taken for a part of the passage
    r"\bcode\s+[0-9a-f]{8}\b",
)


def speaks_of_source(query: str) -> bool:
    """Whether a query speaks of the passage, text, study or table that it was written for.

    By rule, in the languages that are told here; users of a search engine have not seen any such thing.
    """
    return _source().search(query) is not None


@cache
def _source() -> re.Pattern[str]:
    parts = [*_WHOLE, *_OTHERS]
    for pointing, always, mostly in _POINTED.values():
        named = r"(?!\s+(?:of|von|zu|de|des|du|della?|do|da|van|\d|§|[IVX]+\b))"
        parts += [rf"\b{pointing}(?:{always})\b", rf"\b{pointing}(?:{mostly})\b{named}"]
    return re.compile("|".join(f"(?:{part})" for part in parts), re.IGNORECASE)


@dataclass(frozen=True)
class PassageWords:
    """In how many passages of a corpus each word is.

    Attributes:
        passages: How many passages there are.
        counts: Word, in lower case, to the number of passages that it is in.
    """

    passages: int
    counts: Mapping[str, int]

    @classmethod
    def of(cls, passages: Sequence[str]) -> PassageWords:
        """Those of some passages."""
        return cls(len(passages), Counter(word for passage in passages for word in set(_words(passage))))

    def is_ordinary(self, word: str) -> bool:
        """Whether a word is no name or term, which whoever asks for it has to repeat."""
        return self.counts.get(word, 0) >= max(_ORDINARY_LEAST, _ORDINARY_SHARE * self.passages)

    def names(self, word: str) -> bool:
        """Whether a word is in so few passages that it says which are meant."""
        return self.counts.get(word, 0) <= max(_NAMING_LEAST, _NAMING_SHARE * self.passages)

    def fits_many(self, query: str, passages: Iterable[str]) -> bool:
        """Whether a query has no word that names something in its passages, and so is as good a query for others.

        A word counts as the passage's, too, where it is one of another ending. Of a small corpus, and where words are
        not written apart, nothing is known, and nothing is said.

        Args:
            query: The query.
            passages: Those that it is for.
        """
        if self.passages < _ENOUGH or any(unicodedata.category(letter) == "Lo" for letter in query):
            return False
        beginnings = {word[:_BEGINNING] for passage in passages for word in _words(passage) if self.names(word)}
        return not any(word[:_BEGINNING] in beginnings for word in _words(query) if self.names(word))


def copies(query: str, passage: str, is_ordinary: Callable[[str], bool] = lambda word: True) -> bool:
    """Whether a query repeats a run of a passage's words with `COPIED_WORDS` ordinary ones among them.

    Names and technical terms do not count: whoever asks for one has to repeat it.

    Args:
        query: The query.
        passage: The passage.
        is_ordinary: Whether a word, in lower case, counts.
    """
    words, other = _words(query), _words(passage)
    places: dict[str, list[int]] = {}
    for at, word in enumerate(other):
        places.setdefault(word, []).append(at)
    for begin in range(len(words)):
        for at in places.get(words[begin], ()):
            counted, length = 0, 0
            while begin + length < len(words) and at + length < len(other):
                if words[begin + length] != other[at + length]:
                    break
                counted += is_ordinary(words[begin + length])
                length += 1
            if counted >= COPIED_WORDS:
                return True
    return False


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())
