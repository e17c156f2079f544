"""EPUB books made on the spot, whole and broken."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from denizen.ingest.document import Block, Document, Failure, Limits, UnreadableError
from denizen.ingest.epub import read_epub

CONTAINER = '<container><rootfiles><rootfile full-path="OPS/book.opf"/></rootfiles></container>'
ONE = '<html xmlns="http://www.w3.org/1999/xhtml"><head><title>t</title></head><body><h1>One</h1><p>first&nbsp;words</p></body></html>'
TWO = "<html><body><aside>note</aside><table><tr><td>a</td><td>b</td></tr></table></body></html>"
ENCRYPTION = (
    '<encryption xmlns:e="http://www.w3.org/2001/04/xmlenc#"><e:EncryptedData><e:EncryptionMethod Algorithm="{}"/>'
    '<e:CipherData><e:CipherReference URI="{}"/></e:CipherData></e:EncryptedData></encryption>'
)


def _package(*chapters: str, extra: str = "") -> str:
    items = "".join(
        f'<item id="i{at}" href="{name}" media-type="application/xhtml+xml"/>' for at, name in enumerate(chapters)
    )
    order = "".join(f'<itemref idref="i{at}"/>' for at, _ in enumerate(chapters))
    return (
        '<package xmlns="http://www.idpf.org/2007/opf" xmlns:dc="http://purl.org/dc/elements/1.1/"><metadata>'
        "<dc:title>A book</dc:title><dc:title>Second title</dc:title><dc:creator>J. Doe</dc:creator>"
        "<dc:creator>R. Roe</dc:creator><dc:language>en</dc:language><dc:date>2020</dc:date></metadata>"
        f'<manifest><item id="nav" href="nav.xhtml" media-type="application/xhtml+xml" properties="nav"/>'
        f"{items}</manifest>"
        f'<spine><itemref idref="nav"/><itemref idref="unknown"/>{order}</spine>{extra}</package>'
    )


def _book(path: Path, members: dict[str, str | bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def _members(**changed: str | bytes) -> dict[str, str | bytes]:
    return {
        "META-INF/container.xml": CONTAINER,
        "OPS/book.opf": _package("text/b%20two.xhtml", "../OPS/a.xhtml#part"),
        "OPS/nav.xhtml": "<html><body><nav>Contents</nav></body></html>",
        "OPS/a.xhtml": ONE,
        "OPS/text/b two.xhtml": TWO,
        **changed,
    }


def _read(path: Path, limits: Limits | None = None) -> list[Document | Failure]:
    found = list(read_epub(path, limits or Limits()))
    assert all(isinstance(item, Document | Failure) for item in found)
    return found  # type: ignore[return-value]


def test_chapters_come_in_the_order_of_reading(tmp_path: Path) -> None:
    assert _read(_book(tmp_path / "a.epub", _members())) == [
        Document(
            [
                Block("text", "note"),
                Block("table", "a | b"),
                Block("heading", "One", level=1),
                Block("text", "first words"),
            ],
            title="A book",
            metadata={"author": "J. Doe, R. Roe", "date": "2020", "lang": "en"},
        )
    ]


def test_a_book_without_a_container_is_known_by_its_package(tmp_path: Path) -> None:
    members = _members()
    del members["META-INF/container.xml"]
    (document,) = _read(_book(tmp_path / "a.epub", members))
    assert isinstance(document, Document) and len(document.blocks) == 4


def test_a_bad_chapter_costs_only_itself(tmp_path: Path) -> None:
    members = _members(
        **{"OPS/book.opf": _package("gone.xhtml", "zeros.xhtml", "a.xhtml"), "OPS/zeros.xhtml": bytes(900)}
    )
    document, gone, zeros = _read(_book(tmp_path / "a.epub", members))
    assert isinstance(document, Document) and [block.text for block in document.blocks] == ["One", "first words"]
    assert gone == Failure("OPS/gone.xhtml", "is missing from the book")
    assert zeros == Failure("OPS/zeros.xhtml", "is not text")


def test_a_damaged_chapter_costs_only_itself(tmp_path: Path) -> None:
    path = tmp_path / "a.epub"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in _members().items():
            archive.writestr(name, content)
    path.write_bytes(path.read_bytes().replace(b"<aside>note", b"<aside>nope"))
    document, failure = _read(path)
    assert isinstance(document, Document) and document.blocks[0].text == "One"
    assert isinstance(failure, Failure) and "b two.xhtml" in failure.error and "CRC" in failure.error


def test_encrypted_chapters_are_drm_and_encrypted_fonts_are_not(tmp_path: Path) -> None:
    aes = "http://www.w3.org/2001/04/xmlenc#aes128-cbc"
    drm = _members(**{"META-INF/encryption.xml": ENCRYPTION.format(aes, "OPS/text/b%20two.xhtml")})
    with pytest.raises(UnreadableError, match="DRM"):
        _read(_book(tmp_path / "drm.epub", drm))
    fonts = _members(
        **{"META-INF/encryption.xml": ENCRYPTION.format("http://www.idpf.org/2008/embedding", "OPS/f.otf")}
    )
    assert len(_read(_book(tmp_path / "fonts.epub", fonts))) == 1
    other = _members(**{"META-INF/encryption.xml": ENCRYPTION.format(aes, "OPS/f.otf")})
    assert len(_read(_book(tmp_path / "other.epub", other))) == 1


def test_a_password_is_named(tmp_path: Path) -> None:
    path = _book(tmp_path / "a.epub", _members())
    data = bytearray(path.read_bytes())
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = -1
        while (at := data.find(mark, at + 1)) >= 0:
            data[at + offset] |= 1
    path.write_bytes(data)
    with pytest.raises(UnreadableError, match="is encrypted; save it without a password"):
        _read(path)


def test_unpacked_bytes_are_limited_whatever_their_header_says(tmp_path: Path) -> None:
    """2 MiB of spaces pack into 2 kB; the header is made to state 9 bytes."""
    bomb = "<p>" + " " * (2 << 20)
    members = _members(
        **{"OPS/book.opf": _package("a.xhtml", "bomb.xhtml", "text/b%20two.xhtml"), "OPS/bomb.xhtml": bomb}
    )
    path = _book(tmp_path / "a.epub", members)
    document, failure = _read(path, Limits(unpacked_mb=1))
    assert isinstance(document, Document) and [block.text for block in document.blocks] == ["One", "first words"]
    assert isinstance(failure, Failure) and "1 MB" in failure.error and "bomb.xhtml" in failure.error

    size = len(bomb).to_bytes(4, "little")
    path.write_bytes(path.read_bytes().replace(size, (9).to_bytes(4, "little")))
    document, *failures = _read(path, Limits(unpacked_mb=1))
    assert isinstance(document, Document) and document.blocks[0].text == "One"
    assert failures and all(isinstance(failure, Failure) for failure in failures)


def test_a_package_larger_than_the_limit_is_unreadable(tmp_path: Path) -> None:
    members = _members(**{"OPS/book.opf": _package("a.xhtml", extra=" " * (2 << 20))})
    with pytest.raises(UnreadableError, match="1 MB"):
        _read(_book(tmp_path / "a.epub", members), Limits(unpacked_mb=1))


def test_chapters_beyond_the_limit_are_a_failure(tmp_path: Path) -> None:
    members = _members(**{"OPS/book.opf": _package(*["a.xhtml"] * 5)})
    document, failure = _read(_book(tmp_path / "a.epub", members), Limits(members=2))
    assert isinstance(document, Document) and len(document.blocks) == 4
    assert isinstance(failure, Failure) and "5 chapters" in failure.error and "2" in failure.error


def test_paths_out_of_the_archive_name_nothing(tmp_path: Path) -> None:
    (tmp_path / "secret.xhtml").write_text("<p>hidden words", encoding="utf-8")
    members = _members(**{"OPS/book.opf": _package("../../secret.xhtml", str(tmp_path / "secret.xhtml"), "a.xhtml")})
    document, *failures = _read(_book(tmp_path / "a.epub", members))
    assert isinstance(document, Document) and "hidden words" not in str(document)
    assert [failure.error for failure in failures if isinstance(failure, Failure)] == ["is missing from the book"] * 2


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"OPS/book.opf": '<!DOCTYPE package [<!ENTITY x SYSTEM "file:///etc/hosts">]><package>&x;</package>'},
            "entities",
        ),
        ({"OPS/book.opf": "<package>"}, "OPS/book.opf.*not well-formed"),
        ({"META-INF/container.xml": "<container/>"}, "names no package file"),
        ({"META-INF/container.xml": CONTAINER.replace("book", "other")}, "other.opf.*missing"),
        ({"META-INF/encryption.xml": "words"}, "encryption.xml"),
    ],
)
def test_a_broken_package_is_unreadable(changed: dict[str, str | bytes], message: str, tmp_path: Path) -> None:
    with pytest.raises(UnreadableError, match=message):
        _read(_book(tmp_path / "a.epub", _members(**changed)))


@pytest.mark.parametrize("content", [b"", bytes(500), b"PK\x03\x04 and no more", b"words"])
def test_what_is_no_zip_file_is_unreadable(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.epub"
    path.write_bytes(content)
    with pytest.raises(UnreadableError, match="is not a readable EPUB"):
        _read(path)


def test_a_zip_file_of_something_else_is_unreadable(tmp_path: Path) -> None:
    with pytest.raises(UnreadableError, match="names no package file"):
        _read(_book(tmp_path / "a.epub", {"readme.txt": "words"}))


def test_what_a_chapter_folds_is_shown_and_its_choices_are_named(tmp_path: Path) -> None:
    chapter = (
        "<html><body><p>How long?</p><div hidden=''>Three years.</div><select><option>a</option></select></body></html>"
    )
    found = _read(_book(tmp_path / "a.epub", _members(**{"OPS/a.xhtml": chapter})))
    assert isinstance(found[0], Document)
    assert [block.text for block in found[0].blocks][-2:] == ["How long?", "Three years."]
    assert [item.text for item in found[0].left_out] == ["a"]
