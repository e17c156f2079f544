"""The language of most of a corpus, told from its scripts and its most frequent small words.

It is the same wherever it is told: no model decides it that may not be installed, for what BM25 finds follows from it.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

# evenly spread; more changes no majority that matters
_PASSAGES = 500
_CHARS = 1000
# the small words below are a tenth (Finnish, Turkish) to a third (English) of running text
_RUNNING_TEXT = 0.03
# a Chinese or Japanese text has Latin names and units in it, and each of its letters says more than a Latin one
_WITHOUT_SPACES = 0.3
# kana among kana and ideographs, from which on a text is Japanese
_KANA = 0.05

# name and most frequent small words of each; those without a stemmer are there so as not to pass for a near kin
LANGUAGES: dict[str, tuple[str, str]] = {
    "af": ("Afrikaans", "die en van het is in nie te wat vir om op dit met as sy aan deur hulle hierdie moet"),
    "ar": ("Arabic", "في من على إلى أن التي الذي هذا هذه عن مع كان ما لا أو بين ذلك قد كما بعد عند إذا هو هي"),
    "az": ("Azerbaijani", "və bu bir ilə üçün də ki olan o daha var edir sonra olaraq hər ən çox isə kimi və ya"),
    "be": ("Belarusian", "і ў не на што з да у як гэта ён а для або па яго быў былі якія ад таксама пры"),
    "bg": ("Bulgarian", "на и да се от за в е с по не са като че това при до или ще който която които"),
    "ca": ("Catalan", "de la i el que a en les els per un una amb no és al del dels són com més o aquesta aquest"),
    "cs": ("Czech", "a se v na je že s z do i o to k ve pro za by jsou jako které který ale podle nebo jeho"),
    "cy": ("Welsh", "y yn a i o ar yr mae ei wedi am gan fod oedd hyn neu eu bod ac yw cael"),
    "da": (
        "Danish",
        "og i det er en til på som for med at de den har et fra ikke ved eller af der blev efter bliver sig",
    ),
    "de": ("German", "der die und in den von zu das mit sich des auf für ist im dem nicht ein eine als auch an werden"),
    "el": ("Greek", "και το να του η της με για την από που τον στο είναι τη οι των σε στην δεν ο ή θα τα"),
    "en": ("English", "the of and to in a is that for it was on are with as be this by at from or an which not"),
    "eo": ("Esperanto", "la de kaj en estas al ne por kun ke estis li el pri kiu aŭ tio oni sed ĝi"),
    "es": ("Spanish", "de la que el en y a los se del las un por con no una su para es al lo como más o"),
    "et": ("Estonian", "ja on ei et oli see kui ta mis aga ning või ka oma selle kes siis üle kuid pärast mida"),
    "eu": ("Basque", "eta da ez du bat dira izan ere edo zen bere dute baina egin hau den zuen duen beste"),
    "fa": ("Persian", "و در به از که این را با است برای آن یک خود تا بر هم نیز شده می ها های بود شد یا"),
    "fi": ("Finnish", "ja on ei että oli se hän mutta ovat kun myös joka tai sekä kuin voi ole mukaan jos niin olla"),
    "fr": ("French", "de la le et les des en un du une que est pour qui dans par sur au plus pas il ne avec ce ou"),
    "ga": ("Irish", "an agus na a i ar is go le do ag bhí sé ní tá sa as mar leis don atá gur"),
    "gl": ("Galician", "de a que e o do da en os un unha para con non se por no na as dos é ao máis como"),
    "he": ("Hebrew", "של את על הוא לא עם זה כי היא או אל גם אני יש כל בין אם היה אך אשר"),
    "hi": ("Hindi", "के में की है और से का को पर ने हैं एक यह भी लिए कि था नहीं ही या इस तो कर जो"),
    "hr": ("Croatian", "i u je na se da za su od s o kao a koji koja koje što ili nije bi iz te će prije gdje"),
    "hu": ("Hungarian", "a az és hogy nem is egy van ez meg csak de azt már el mint vagy volt kell ha még melyek"),
    "hy": ("Armenian", "և է որ են մի ու իր չի հետ այս համար ես նա նրա այդ եւ էր կամ ինչ"),
    "id": ("Indonesian", "yang dan di dengan untuk tidak ini dari dalam akan pada itu juga ke karena atau oleh ada"),
    "is": ("Icelandic", "og að í á er sem til um við með en það af fyrir var ekki hann eru frá hafa eða því"),
    "it": ("Italian", "di e il la che in a per un è del non una i le con della si da sono al dei o nel"),
    "lt": ("Lithuanian", "ir kad yra į iš su tai kaip ar bet jo buvo o už ne dėl apie per prie pagal arba gali"),
    "lv": ("Latvian", "un ir ar ka uz no par kas tika bija kā arī pēc vai tas nav šo līdz viņš tiek"),
    "mk": ("Macedonian", "на и во да се од за е со не што ќе по го тоа но или како која кој беше ги"),
    "mr": ("Marathi", "आणि आहे या व हे आहेत तो ते असे होते ही किंवा नाही होता करून केले मध्ये एक येथे"),
    "ne": ("Nepali", "र छ को मा यो पनि छन् थियो हो भने गर्न लागि तथा एक यस गरेको भएको हुन्छ वा"),
    "nl": ("Dutch", "de van het een en in is dat op te voor met zijn die niet aan om ook er als door bij of worden"),
    "no": ("Norwegian", "og i det er en til på som for med at de den har et fra ikke ved eller av etter ble blir seg"),
    "pl": ("Polish", "w i z na się do nie jest to o że jak od po dla przez przy oraz lub a są które który jego"),
    "pt": ("Portuguese", "de a que e o do da em um para com não uma os no se na por mais as dos como ao é ou"),
    "ro": ("Romanian", "de și în a la cu pe că nu din o este care mai un se pentru sau prin fi sunt al ale lui"),
    "ru": ("Russian", "и в не на что с по как это к из у за от для о так же но или он при все если является"),
    "sk": ("Slovak", "a v na sa je že s z do aj o to k vo pre za by sú ako ktoré ktorý ale podľa alebo jeho"),
    "sl": ("Slovenian", "in je v na se da za so ki z pa s ne ali tudi kot bi po od pri to iz ter ni"),
    "sq": ("Albanian", "të e në dhe i për me një që nga së është u ka si nuk do më ose janë kjo ky"),
    "sr": ("Serbian", "и у је на се да за су од са о као или није који која које што i u je na se da za su od sa kao"),
    "sv": ("Swedish", "och i att det som en på är av för med till den har de inte om ett från var kan eller vid så"),
    "sw": ("Swahili", "ya na wa kwa ni katika za la kuwa hii au cha watu yake kama huo hiyo vya lakini"),
    "ta": ("Tamil", "ஒரு மற்றும் இந்த என்று என்ற அந்த இது அது உள்ள அல்லது இருந்து வேண்டும் கொண்டு ஆகும்"),
    "tl": ("Tagalog", "ang ng sa na mga at ay ko hindi para kung ito siya ni may nang o ako niya"),
    "tr": ("Turkish", "ve bir bu da de için ile olarak daha çok gibi olan kadar en sonra ne ise ya veya her değil"),
    "uk": ("Ukrainian", "і в не на що з до у як та це за від для або є про він а його які також при був"),
    "ur": ("Urdu", "کے میں کی ہے اور سے کا کو پر نے ہیں ایک یہ بھی کہ تھا نہیں ہی یا اس تو کر جو"),
    "vi": ("Vietnamese", "và của là có được cho trong các một không với những người này đã để khi về từ đến"),
    "yi": ("Yiddish", "די און אין פון איז דער צו אַז מיט האָט אויף ניט עס אַ האָבן זיך דאָס זײַן"),
    "ja": ("Japanese", ""),
    "km": ("Khmer", ""),
    "ko": ("Korean", ""),
    "lo": ("Lao", ""),
    "my": ("Burmese", ""),
    "th": ("Thai", ""),
    "zh": ("Chinese", ""),
}

# the letters of those that write no space between words, or, as Korean, glue to them what others write apart
KANA = "\u3041-\u309a\u309d-\u30fa\u30fc-\u30ff\u31f0-\u31ff"
HAN = "\u3005\u3007\u3100-\u312f\u31a0-\u31bf\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"
HANGUL = "\u1100-\u11ff\u3131-\u318e\ua960-\ua97c\uac00-\ud7ff"
THAI, LAO, KHMER = "\u0e01-\u0e4e", "\u0e81-\u0ece\u0edc-\u0edf", "\u1780-\u17d3\u17d7\u17dc"
BURMESE = "\u1000-\u103f\u1050-\u108f\ua9e0-\ua9fe\uaa60-\uaa7f"
WITHOUT_SPACES = KANA + HAN + HANGUL + THAI + LAO + KHMER + BURMESE

_SCRIPTS = {"th": THAI, "lo": LAO, "km": KHMER, "my": BURMESE, "ko": HANGUL, "kana": KANA, "han": HAN}
_LETTERS = {name: re.compile(f"[{letters}]") for name, letters in _SCRIPTS.items()}
_SPACELESS = re.compile(f"[{WITHOUT_SPACES}]")


@functools.cache
def marks() -> str:
    """What belongs to the letter before it and is none itself, as accents and vowel signs: as within [] of `re`."""
    found = [code for code in range(0x20000) if unicodedata.category(chr(code))[0] == "M"]
    # neighbours as one stretch: half a thousand instead of two thousand make patterns three times as fast
    starts = [code for code, before in zip(found, [-1, *found], strict=False) if code != before + 1]
    ends = [code for code, after in zip(found, [*found[1:], -1], strict=True) if after != code + 1]
    return "".join(f"{chr(start)}-{chr(end)}" for start, end in zip(starts, ends, strict=True))


def corpus_language(texts: Sequence[str]) -> str:
    """The language of most of the texts as two letters (ISO 639-1).

    Args:
        texts: Passages; of many, 500 that are evenly spread are looked at.

    Returns:
        Where nothing tells (names, code, tables of figures): "en" for Latin letters, "" for others.
    """
    step = max(1, len(texts) / _PASSAGES)
    sample = [texts[int(at * step)][:_CHARS] for at in range(min(len(texts), _PASSAGES))]
    votes = Counter(filter(None, map(_language, sample)))
    if votes:
        # of equals the first by name, wherever the passages stand
        return min(votes, key=lambda name: (-votes[name], name))
    letters = [letter for text in sample for letter in text if letter.isalpha()]
    return "en" if 2 * sum(map(_is_latin, letters)) >= len(letters) else ""


def is_written_in_latin(language: str) -> bool:
    """Whether a language of `LANGUAGES` is."""
    words = LANGUAGES[language][1]
    return bool(words) and _is_latin(words[-1])


def _language(text: str) -> str:
    """The language of one text; "" where none is seen, or two as much."""
    text = unicodedata.normalize("NFKC", text).lower()
    letters = sum(map(str.isalpha, text))
    if len(_SPACELESS.findall(text)) > _WITHOUT_SPACES * letters:
        return _by_script(text)
    words = _words().findall(text)
    counts = Counter(language for word in words for language in _languages_of().get(word, ()))
    (first, most), (_, next_most) = (*counts.most_common(2), ("", 0), ("", 0))[:2]
    return first if most > next_most and most >= _RUNNING_TEXT * len(words) else ""


def _by_script(text: str) -> str:
    counts = {name: len(letters.findall(text)) for name, letters in _LETTERS.items()}
    kana, han = counts.pop("kana"), counts.pop("han")
    counts["ja" if kana > _KANA * (kana + han) else "zh"] = kana + han
    return max(counts, key=lambda name: counts[name])


@functools.cache
def _words() -> re.Pattern[str]:
    return re.compile(rf"[^\W\d_][\w{marks()}]*")


@functools.cache
def _languages_of() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for language, (_, words) in LANGUAGES.items():
        for word in dict.fromkeys(unicodedata.normalize("NFKC", words).split()):
            found.setdefault(word, []).append(language)
    return found


def _is_latin(letter: str) -> bool:
    return letter.isascii() or unicodedata.name(letter, "").startswith("LATIN")
