import hashlib
import hmac
import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from denizen.engine.errors import InputError
from denizen.ingest.personal_data import PersonalData

SECRET = b"a secret of the tests"
LABEL = re.compile(r"\[([A-Z]+)-[0-9a-f]{10}\]")


def label(kind, value):
    digest = hmac.new(SECRET, f"{kind}:{value}".encode(), hashlib.sha256).hexdigest()
    return f"[{kind}-{digest[:10]}]"


def replaced(text, **options):
    return PersonalData(SECRET, **options).replaced(text)


# published examples: numbers kept for fiction, test cards of the issuers, IBANs of the registry
FOUND = [
    ("Write to Ann.Lee+x@Mail.example.com.", "Write to {}.", "EMAIL", "ann.lee+x@mail.example.com"),
    ("<mailto:o'neil_2@example.co.uk?subject=x>", "<mailto:{}?subject=x>", "EMAIL", "o'neil_2@example.co.uk"),
    ("a line\nbob@example.org\nanother", "a line\n{}\nanother", "EMAIL", "bob@example.org"),
    ("'bob@example.org'", "'{}'", "EMAIL", "bob@example.org"),
    ("jörg@bücher.example.de", "{}", "EMAIL", "jörg@bücher.example.de"),
    ("call (212) 555-0123 today", "call {} today", "PHONE", "+12125550123"),
    ("area code:(212)555-0123.", "area code:{}.", "PHONE", "+12125550123"),
    ("(212)-555-0123", "{}", "PHONE", "+12125550123"),
    ("Ann 212-555-0123 | Bob", "Ann {} | Bob", "PHONE", "+12125550123"),
    ("212.555.0123, 2023", "{}, 2023", "PHONE", "+12125550123"),
    ("212/555-0123", "{}", "PHONE", "+12125550123"),
    ("212 555-0123", "{}", "PHONE", "+12125550123"),
    ("212‑555‑0123", "{}", "PHONE", "+12125550123"),
    ("1-212-555-0123", "{}", "PHONE", "+12125550123"),
    ("+1 212 555 0123", "{}", "PHONE", "+12125550123"),
    ("+44 20 7946 0958 (London)", "{} (London)", "PHONE", "+442079460958"),
    ("212-555-0123 ext. 45 or", "{} or", "PHONE", "+12125550123"),
    ("Suite 400 212-555-0123", "Suite 400 {}", "PHONE", "+12125550123"),
    ("Phone: 2125550123", "Phone: {}", "PHONE", "+12125550123"),
    ("Fax no. 212 555 0123", "Fax no. {}", "PHONE", "+12125550123"),
    ("| Mobile | 212 555 0123 |", "| Mobile | {} |", "PHONE", "+12125550123"),
    ("SSN 123-45-6789.", "SSN {}.", "SSN", "123456789"),
    ("of Ann, 123-45-6789, born", "of Ann, {}, born", "SSN", "123456789"),
    ("number 123 45 6789 of", "number {} of", "SSN", "123456789"),
    ("Social security number: 123456789", "Social security number: {}", "SSN", "123456789"),
    ("4111 1111 1111 1111 (Visa)", "{} (Visa)", "CARD", "4111111111111111"),
    ("paid with 4111-1111-1111-1111", "paid with {}", "CARD", "4111111111111111"),
    ("paid with 5555555555554444", "paid with {}", "CARD", "5555555555554444"),
    ("paid with 2223003122003222", "paid with {}", "CARD", "2223003122003222"),
    ("3782 822463 10005", "{}", "CARD", "378282246310005"),
    ("card no. 30569309025904", "card no. {}", "CARD", "30569309025904"),
    ("IBAN GB82 WEST 1234 5698 7654 32 at", "IBAN {} at", "IBAN", "GB82WEST12345698765432"),
    ("DE89370400440532013000", "{}", "IBAN", "DE89370400440532013000"),
    ("to DE89 3704 0044 0532 0130 00 AND", "to {} AND", "IBAN", "DE89370400440532013000"),
    ("NO9386011117947", "{}", "IBAN", "NO9386011117947"),
    # names of columns
    ("home_phone: 2125550123", "home_phone: {}", "PHONE", "+12125550123"),
    ("ssn_no: 123456789", "ssn_no: {}", "SSN", "123456789"),
    # names of files
    ("Call 212-555-0100.txt", "Call {}.txt", "PHONE", "+12125550100"),
    ("jo.miller@example.org.txt", "{}.txt", "EMAIL", "jo.miller@example.org"),
    ("jo@example.org.TAR.gz", "{}.TAR.gz", "EMAIL", "jo@example.org"),
    ("jo@example.org.html", "{}.html", "EMAIL", "jo@example.org"),
    ("jo@example.txt", "{}", "EMAIL", "jo@example.txt"),
    ("folder/jo@example.org/x.txt", "folder/{}/x.txt", "EMAIL", "jo@example.org"),
]


@pytest.mark.parametrize("text, around, kind, value", FOUND, ids=[case[0] for case in FOUND])
def test_personal_data_becomes_a_keyed_label(text, around, kind, value):
    personal = PersonalData(SECRET)
    assert personal.replaced(text) == around.format(label(kind, value))
    assert personal.counts == {kind: 1}


UNTOUCHED = [
    # tables and figures
    "Revenue 1,234,567 2,345,678 (345,678)",
    "2021 2020 2019 2018",
    "Year | 2021 | 2020 | 2019 | 2018",
    "Change (651) 733 1110",
    "Item 412 733 2019",
    "412 733 2019",
    "Units 412 12 2019 and more",
    "Units 17 412 12 7890",
    "| 412 12 7890 | 17 |",
    "Capacity 412 4111 1111 1111 1111 900",
    "4111 1111 1111 1111 | 17",
    "$212.555.0123",
    "212-555-0123%",
    # what numbers are when they are no one's
    "fiscal 2023, up 12.5% from 2022-2023 (2019-03-31, 03/31/2019, 31.03.2019, 10:30:45)",
    "accession 0000320193-23-000106, CIK 0000320193, file no. 001-03285, EIN 41-0417775",
    "ISBN 978-3-16-148410-0 and ISBN 9783161484100 and 0-306-40615-2",
    "Section 1.2.3.4 of version 2.10.100.2000",
    "10.1000/182 10.1093/nar/gkaa1100 192.168.100.2000",
    "sha 4111111111111111abcdef 550e8400-e29b-41d4-a716-446655440000",
    "https://example.com/item/4111111111111111?call=212-555-0123 is a page",
    "www.example.com/212-555-0123",
    "https://maps.example.com/@40.7128,-74.0060",
    "case CV-212-555-0123 and order 212-555-01234 and 9212-555-0123",
    "logo@2x.png, @example, user@host, a @ b, x@.com",
    "2125550123 without a word before it",
    "+1 234",
    # right form, wrong check digits or ranges
    "4111 1111 1111 1112",
    "9111111111111119",
    "GB82 WEST 1234 5698 7654 33",
    "GB82 WEST 1234 5698 7654 3",
    "XX82 WEST 1234 5698 7654 32",
    "DE89 3704 0044 0532 0130 001",
    "000-12-3456 666-12-3456 900-12-3456 123-00-4567 123-45-0000",
    "123-45 6789",
    "123456789",
    "123-456-7890 has no such area",
    "30569309025904 has no word before it",
    "Dear Ms. Stone, said Mr. Ray",
]


@pytest.mark.parametrize("text", UNTOUCHED)
def test_figures_and_identifiers_stay(text):
    personal = PersonalData(SECRET)
    assert personal.replaced(text) == text
    assert not personal.counts


def test_all_ways_to_write_a_value_have_one_label():
    texts = [
        "(212) 555-0123 +1-212-555-0123 212.555.0123 tel. 2125550123",
        "4111111111111111, 4111-1111-1111-1111",
        "GB82WEST12345698765432, GB82 WEST 1234 5698 7654 32",
        "A@EXAMPLE.COM a@example.com",
    ]
    for text in texts:
        labels = [found.group() for found in LABEL.finditer(replaced(text))]
        assert len(labels) > 1
        assert len(set(labels)) == 1


def test_another_secret_gives_other_labels_and_an_empty_one_is_refused():
    assert replaced("a@example.com") != PersonalData(b"another").replaced("a@example.com")
    with pytest.raises(ValueError, match="secret"):
        PersonalData(b"")


def test_the_country_decides_about_numbers_without_plus():
    assert replaced("ring 020 7946 0958 now") == "ring 020 7946 0958 now"
    assert replaced("ring 020 7946 0958 now", country="GB") == f"ring {label('PHONE', '+442079460958')} now"
    assert replaced("01 23 45 67 89", country="FR") == label("PHONE", "+33123456789")
    # which would be a number of Duisburg without its groups
    assert replaced("am 02.03.2020", country="DE") == "am 02.03.2020"
    assert replaced("tel. 912 345 678", country="ES") == f"tel. {label('PHONE', '+34912345678')}"
    assert replaced("912 345 678", country="ES") == "912 345 678"


@pytest.mark.parametrize("country", ["XX", "us", "", "Germany"])
def test_what_is_no_country_is_named(country):
    with pytest.raises(InputError, match=repr(country)):
        PersonalData(SECRET, country)


def test_counts_add_up_over_texts():
    personal = PersonalData(SECRET)
    for _ in range(2):
        personal.replaced("a@example.com, b@example.com, (212) 555-0123")
    assert personal.counts == {"EMAIL": 4, "PHONE": 2}


NAMED = [
    ("Mr. Stone agreed with Dr. Ida B. Wells-Ray and Ms Ray's plan", 3, "Mr. {} agreed with Dr. {} and Ms {}'s plan"),
    ("Prof. Dr. Ida Stone", 1, "Prof. Dr. {}"),
    ("Dear Ida,", 1, "Dear {},"),
    ("Dear Mr. Stone:", 1, "Dear Mr. {}:"),
    ("From: Ida Stone\nTo: Ben van der Ray; Stone, Ida", 3, "From: {}\nTo: {}; {}"),
    ('"Ida Stone" <a@example.com>', 1, '"{}" <{}>'),
]


@pytest.mark.parametrize("text, names, around", NAMED, ids=[case[0] for case in NAMED])
def test_names_are_replaced_on_request_where_their_place_shows_them(text, names, around):
    personal = PersonalData(SECRET, names=True)
    assert LABEL.sub("{}", personal.replaced(text)) == around
    assert personal.counts["NAME"] == names
    assert PersonalData(SECRET).replaced(text).count("[NAME") == 0


def test_a_name_has_one_label_whichever_comes_first():
    first, second = LABEL.findall(replaced("From: Ida Stone", names=True)), replaced("To: Stone, Ida", names=True)
    assert first == ["NAME"]
    assert replaced("From: Ida Stone", names=True)[-17:] == second[-17:] == label("NAME", "ida stone")


@pytest.mark.parametrize(
    "text",
    [
        "Dear Sir or Madam, Dear Shareholders, Dear All",
        "To: Board of Directors\nFrom: Human Resources Department\nAttn: General Counsel",
        "Ida Stone came with Ben Ray to Drama Mr. x",
        "To: 2020 From: 2019",
    ],
)
def test_what_only_stands_where_names_do_stays(text):
    assert replaced(text, names=True) == text


def test_labels_are_not_data_and_say_nothing_of_what_follows():
    text = (
        "[PHONE-2125550123] 2125550123, [SSN-1234567890] 123456789, [EMAIL-aaaaaaaaaa] [CARD-0000000000] 30569309025904"
    )
    assert replaced(text, names=True) == text


@pytest.mark.parametrize(
    "text",
    [
        *("1" * 100_000, "1 " * 50_000, "(" * 100_000, "a@" * 50_000, "a" * 100_000 + "@", "tel " + "1-" * 50_000),
        *("A1" * 50_000, "GB82" * 25_000, "DE89 " * 20_000, "From:" * 20_000, "+1" * 50_000, "Mr. A" * 20_000),
    ],
    ids=lambda text: text[:5] + str(len(text)),
)
def test_hostile_text_takes_linear_time(text):
    personal = PersonalData(SECRET, names=True)
    began = time.process_time()
    personal.replaced(text)
    assert time.process_time() - began < 3


pieces = st.sampled_from(
    [case[0] for case in FOUND]
    + [case[0] for case in NAMED]
    + ["123-45-6789", "2125550123", "tel", "SSN ", "card ", " ", "-", "|", "\n", ".", "@", "+", "(", ")", "4111", "1"]
    + ["Mr. ", "Dear ", "From: ", "Ida ", "[", "]", "[PHONE-2125550123]", "<", "example.com", "/", "www."]
)


@settings(max_examples=150)
@given(st.lists(pieces | st.text(max_size=4), max_size=12).map("".join), st.booleans())
def test_replacing_twice_changes_nothing(text, names):
    once = replaced(text, names=names)
    again = PersonalData(SECRET, names=names)
    assert again.replaced(once) == once
    assert not again.counts


@settings(max_examples=100)
@given(st.text(st.characters(exclude_categories=["Nd"], exclude_characters="@")))
def test_text_without_digits_and_at_signs_is_unchanged(text):
    assert replaced(text) == text


@settings(max_examples=100)
@given(st.lists(st.integers(1, 999_999), min_size=1, max_size=8), st.sampled_from([" | ", "\n", "  "]))
def test_figures_with_thousands_commas_are_unchanged(figures, between):
    text = between.join(f"{figure * 1_000:,}" for figure in figures)
    assert replaced(text) == text


@settings(max_examples=60)
@given(
    st.from_regex(r"[a-z][a-z0-9._]{0,8}[a-z0-9]@[a-z]{1,8}\.(com|org)", fullmatch=True),
    st.text("xyz ,;\n", max_size=9),
)
def test_an_address_is_found_wherever_it_stands(address, before):
    found = replaced(f"{before} {address}, and {address.upper()}")
    assert found == f"{before} {label('EMAIL', address)}, and {label('EMAIL', address)}"
