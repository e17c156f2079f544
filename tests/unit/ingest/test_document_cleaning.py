import copy
import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from denizen.engine.errors import InputError
from denizen.ingest.document import Block, Document
from denizen.ingest.document_cleaning import CleaningSettings, DocumentCleaner, mended_text

SECRET = b"a secret of the tests"
ENGLISH = "The buyer shall pay the price within thirty days after the invoice has been received from the seller."


def cleaner(**options):
    return DocumentCleaner(CleaningSettings(**options), SECRET)


def mojibake(text, encoding="windows-1252"):
    return text.encode("utf-8").decode(encoding)


@pytest.mark.parametrize("right", ["Größe der Fläche", "“quoted” – and it’s", "Málaga, São Tomé", "✔ done"])
def test_mojibake_is_mended_and_told(right):
    wrong = mojibake(right, "latin-1")
    assert wrong != right
    assert mended_text(wrong) == (right, True)


@pytest.mark.parametrize(
    "text",
    [
        "“curly” ‘quotes’ – dashes … ",
        "ﬁnancial oﬃce",
        "ＦＵＬＬ　ｗｉｄｔｈ ｶﾅ",
        "AT&amp;T &lt;b&gt;",
        "10³ µm ½ ™",
        "naïve Ærøskøbing",
        *("می‌خواهم", "क्‍ष", "👩‍👩‍👧", "日本語 中文 한국어", "tab\there\nline", "plain ASCII"),
    ],
)
def test_right_text_stays_as_it_is(text):
    assert mended_text(text) == (text, False)


@pytest.mark.parametrize(
    "text, mended",
    [
        ("a\r\nb\rc", "a\nb\nc"),
        ("a\x00b\x08c\x1b[31mred", "abcred"),
        ("co\u00adop\u200bera\u2060tion\ufeff", "cooperation"),
        ("\u202a+1 212\u202c \u200eleft", "+1 212 left"),
        ("wo\u200drd \u200c x\u200d", "word  x"),
        ("seen\U000e0068\U000e0069", "seen"),
        ("cafe\u0301", "café"),
        ("e\u200b\u0301", "é"),
        ("\ud83d\ude00 half \ud83d", "😀 half \ufffd"),
    ],
)
def test_other_faults_are_mended_without_being_counted(text, mended):
    assert mended_text(text) == (mended, False)


def test_a_document_is_cleaned_in_all_its_parts():
    document = Document(
        blocks=[
            Block("heading", "Contact a@example.com", 2, 3),
            Block("text", mojibake("Größe – ") + ENGLISH, 0, 4),
            Block("table", "Ann | 212-555-0123\n2021 | 2020", 0, 4),
            Block("text", "\u200b\u00ad"),
        ],
        name="a@example.com",
        title=mojibake("Prüfung") + " of a@example.com",
        domain="a@example.com",
        metadata={"author": "a@example.com", "period": "2021"},
        repaired=2,
    )
    before = copy.deepcopy(document)
    used = cleaner()
    clean = used.clean(document)
    address, phone = clean.name, clean.blocks[2].text.split()[2]
    assert address.startswith("[EMAIL-") and phone.startswith("[PHONE-")
    assert clean == Document(
        blocks=[
            Block("heading", f"Contact {address}", 2, 3),
            Block("text", f"Größe – {ENGLISH}", 0, 4),
            Block("table", f"Ann | {phone}\n2021 | 2020", 0, 4),
        ],
        name=address,
        title=f"Prüfung of {address}",
        domain=address,
        metadata={"author": address, "period": "2021"},
        language="en",
        repaired=3,
    )
    assert used.counts == {"EMAIL": 5, "PHONE": 1}
    assert document == before


def test_personal_data_hidden_by_invisible_characters_is_found():
    clean = cleaner().clean(Document([Block("text", "a\u200bb@exam\u00adple.com")]))
    assert clean.blocks[0].text.startswith("[EMAIL-")


def test_personal_data_stays_when_nobody_asked():
    used = cleaner(personal_data=False)
    document = Document([Block("text", "a@example.com 212-555-0123")], name="a@example.com", language="de")
    assert used.clean(document) == document
    assert not used.counts


def test_an_author_is_a_name_where_names_are_replaced():
    document = Document([Block("text", "By Ida Stone")], metadata={"author": "Ida Stone", "product": "Blue Stone"})
    kept = cleaner().clean(document).metadata
    assert kept == document.metadata
    clean = cleaner(names=True).clean(document)
    assert clean.metadata["author"].startswith("[NAME-") and clean.metadata["author"].endswith("]")
    assert clean.metadata["product"] == "Blue Stone"
    assert clean.blocks[0].text == "By Ida Stone"


def test_the_text_tells_the_language_and_the_file_where_it_is_too_short():
    assert cleaner().clean(Document([Block("text", ENGLISH)], language="fr")).language == "en"
    assert cleaner().clean(Document([Block("text", "Oui.")], language="fr")).language == "fr"


@pytest.mark.parametrize(
    "stated, language",
    [("fr", "fr"), ("FR-ca", "fr"), ("pt_BR", "pt"), (" de ", "de"), ("deu", ""), ("f", ""), ("日本", ""), ("", "")],
)
def test_a_page_states_its_language(stated, language):
    assert cleaner().clean(Document([Block("text", "Oui.")], metadata={"lang": stated})).language == language
    assert cleaner().clean(Document([Block("text", ENGLISH)], metadata={"lang": stated})).language == "en"


def test_the_name_of_a_fact_tells_what_its_value_is():
    facts = {"ssn": "123456789", "home_phone": "2125550100", "bob@example.com": "yes", "Credit-Card": "30569309025904"}
    clean = cleaner().clean(Document([], metadata=facts)).metadata
    kinds = [re.sub("-[0-9a-f]{10}", "", text) for fact in clean.items() for text in fact]
    assert kinds == ["ssn", "[SSN]", "home_phone", "[PHONE]", "[EMAIL]", "yes", "Credit-Card", "[CARD]"]


def test_a_fact_named_by_personal_data_keeps_its_value():
    facts = {"a@example.org phone": "2125550100", "a@example.com": "a@example.com"}
    clean = cleaner().clean(Document([], metadata=facts)).metadata
    (phone_name, phone), (mail_name, mail) = clean.items()
    assert re.fullmatch(r"\[EMAIL-.{10}\] phone", phone_name)
    assert re.fullmatch(r"\[PHONE-.{10}\]", phone)
    assert mail_name == mail and mail.startswith("[EMAIL-")


def test_facts_of_forms_stay():
    facts = {
        "cik": "0000320193",
        "accession": "0000320193-23-000106",
        "period": "2023-09-30",
        "filed": "2023-11-03",
        "sic": "3571",
        "form": "10-K",
        "size": "2125550100",
        "left_out": "signature, 212 characters; quoted mail, 1,830 characters",
    }
    assert cleaner(names=True).clean(Document([], metadata=facts)).metadata == facts


def test_an_empty_document_stays_empty():
    assert cleaner().clean(Document([])) == Document([])


def test_settings_pass_through_json():
    chosen = CleaningSettings(personal_data=False, names=True, country="GB")
    assert CleaningSettings.from_dict(json.loads(json.dumps(chosen.as_dict()))) == chosen
    assert CleaningSettings.from_dict({}) == CleaningSettings()


def test_a_wrong_country_is_refused_at_once():
    with pytest.raises(InputError, match="'XX'"):
        cleaner(country="XX")


texts = st.text(max_size=30) | st.sampled_from(["a@example.com", mojibake("Größe"), "\u00ad", "212-555-0123 "])


@settings(max_examples=60)
@given(st.lists(texts.filter(bool), max_size=4), st.text(max_size=5))
def test_no_block_is_empty_and_cleaning_twice_changes_no_label(lines, title):
    document = Document([Block("text", line) for line in lines], title=title)
    clean = cleaner().clean(document)
    assert all(block.text.strip() for block in clean.blocks)
    assert len(clean.blocks) <= len(lines)
    again = cleaner()
    assert not again.counts
    again.clean(clean)
    assert not again.counts
