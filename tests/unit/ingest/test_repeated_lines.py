import copy

import pytest

from denizen.ingest.document import Block, Document
from denizen.ingest.repeated_lines import RepeatedLines

NOTICE = "Confidential - internal use only"
CLAUSE = "Time is of the essence of this agreement."


def text(line):
    return Block("text", line)


def heading(line, level=1):
    return Block("heading", line, level)


def page(number, *, first=NOTICE, last="© 2020 Example Works. All rights reserved."):
    """A document of eight blocks: the quarter at either end, that is two blocks, are its edges."""
    # letters tell the documents apart, as numbers are all alike
    body = [text(f"The {word * 2} of {chr(97 + number) * 4} is told in part {word}.") for word in "pqrs"]
    return Document([text(first), text(f"Opening {chr(97 + number) * 5} of it"), *body, text("End x"), text(last)])


def seen(documents, known=()):
    lines = RepeatedLines(known)
    for document in documents:
        lines.see(document)
    return lines


def test_a_notice_at_the_edge_of_all_documents_is_taken_out():
    documents = [page(number) for number in range(5)]
    before = copy.deepcopy(documents)
    lines = seen(documents)
    for document in documents:
        clean, removed = lines.without(document)
        assert removed == [NOTICE, "© 2020 Example Works. All rights reserved."]
        assert clean.blocks == document.blocks[1:-1]
    assert documents == before


def test_four_documents_are_too_few():
    documents = [page(number) for number in range(4)]
    lines = seen(documents)
    assert lines.decided == []
    assert lines.without(documents[0]) == (documents[0], [])


@pytest.mark.parametrize("others, found", [(20, True), (21, False)])
def test_a_fifth_of_the_documents_is_enough(others, found):
    documents = [page(number) for number in range(5)]
    rest = [
        page(number, first=f"Notice of {chr(97 + number) * 3} here", last="Ends.") for number in range(5, 5 + others)
    ]
    lines = seen(documents + rest)
    assert (NOTICE in lines.without(documents[0])[1]) is found


def test_case_numbers_and_white_space_do_not_matter():
    notices = ["Page 1 of 20", "page 12 of 7", "PAGE  3 OF 4", " Page 5 of 100", "- Page 6 of 6"]
    documents = [page(number, first=notice) for number, notice in enumerate(notices)]
    lines = seen(documents)
    assert [lines.without(document)[1][0] for document in documents] == notices


def test_a_clause_within_all_documents_is_content():
    documents = [page(number) for number in range(8)]
    for document in documents:
        document.blocks.insert(4, text(CLAUSE))
    lines = seen(documents)
    for document in documents:
        assert text(CLAUSE) in lines.without(document)[0].blocks


def test_a_running_head_goes_wherever_it_stands():
    head = "Example Works annual report"
    documents = [page(number, first="Own " + chr(97 + number) * 4, last="Ends.") for number in range(6)]
    for document in documents:
        document.blocks[3:3] = [text(head)]
        document.blocks[5:5] = [heading(head)]
        document.blocks[6:6] = [text(head)]
    lines = seen(documents)
    clean, removed = lines.without(documents[0])
    assert removed == [head] * 3
    assert len(clean.blocks) == 8
    twice = copy.deepcopy(documents)
    for document in twice:
        del document.blocks[3]
    assert seen(twice).decided == []


def test_a_line_counts_once_in_a_document():
    documents = [Document([text(NOTICE), *page(0).blocks[2:6], text(NOTICE), text(NOTICE), text(NOTICE)])]
    assert seen(documents * 4).decided == []
    assert len(seen(documents * 5).decided) > 0


@pytest.mark.parametrize("line", ["Too short", " ".join(["so"] * 41), "very long words " * 13])
def test_lines_of_another_length_stay(line):
    documents = [page(number, first=line, last=line) for number in range(6)]
    lines = seen(documents)
    assert lines.without(documents[0]) == (documents[0], [])


def test_tables_stay():
    documents = [page(number, last="Ends.") for number in range(6)]
    for document in documents:
        document.blocks[0] = Block("table", NOTICE)
    lines = seen(documents)
    assert lines.decided == []
    with_text = seen([page(number, last="Ends.") for number in range(6)])
    assert with_text.without(documents[0]) == (documents[0], [])


def test_a_line_goes_from_within_a_block():
    menu = Block("list", "- Home and start page\n- Own {}\n- Contact us by mail")
    documents = []
    for number in range(6):
        document = page(number, last="Ends.")
        document.blocks[0] = Block("list", menu.text.format(chr(97 + number) * 3), 0, 7)
        documents.append(document)
    clean, removed = seen(documents).without(documents[1])
    assert removed == ["- Home and start page", "- Contact us by mail"]
    assert clean.blocks[0] == Block("list", "- Own bbb", 0, 7)


def test_a_section_keeps_its_only_content_and_its_heading():
    title = "Law of this contract"
    documents = [page(number, first="Own " + chr(97 + number) * 3, last=CLAUSE) for number in range(6)]
    for document in documents:
        document.blocks.insert(-1, heading(title))
    clean, removed = seen(documents).without(documents[0])
    assert removed == []
    assert clean.blocks[-2:] == [heading(title), text(CLAUSE)]
    for document in documents:
        document.blocks.insert(-1, text(f"It is that of {document.blocks[0].text[4:]}."))
    clean, removed = seen(documents).without(documents[0])
    assert removed == [CLAUSE]
    assert clean.blocks[-2:] == [heading(title), text("It is that of aaa.")]


def test_a_bare_heading_goes_but_not_one_with_deeper_ones_below():
    documents = [page(number, first="Own " + chr(97 + number) * 3, last="Ends.") for number in range(6)]
    for document in documents:
        document.blocks = [heading("Part one of it"), heading("Item one of it", 2), *document.blocks]
        document.blocks.append(heading("Follow us on the web"))
    clean, removed = seen(documents).without(documents[0])
    assert removed == ["Follow us on the web"]
    assert clean.blocks == documents[0].blocks[:-1]


def test_a_document_of_nothing_but_boilerplate_stays_whole():
    documents = [page(number) for number in range(6)]
    alone = Document([text(NOTICE)], name="x")
    assert seen(documents).without(alone) == (alone, [])
    empty = Document([])
    lines = seen([*documents, empty])
    assert lines.without(empty) == (empty, [])


def test_what_was_decided_stays_so():
    documents = [page(number, last="Ends.") for number in range(5)]
    first = seen(documents)
    assert len(first.decided) == 1
    assert all(len(line) == 16 and int(line, 16) >= 0 for line in first.decided)
    rest = [page(number % 20, first="Own " + chr(97 + number) * 3, last="Ends.") for number in range(50)]
    second = seen([*documents, *rest], known=first.decided)
    assert second.decided == first.decided
    assert second.without(documents[0]) == first.without(documents[0])
    assert seen([*documents, *rest]).decided == []
    for document in rest:
        first.see(document)
    assert first.decided == second.decided


def test_new_lines_are_added_to_the_known_ones():
    first = seen([page(number, last="Ends.") for number in range(5)])
    second = seen([page(number) for number in range(5)], known=first.decided)
    assert set(first.decided) < set(second.decided)
    assert second.decided == sorted(second.decided)


def test_the_order_of_the_documents_does_not_matter():
    documents = [page(number) for number in range(7)]
    assert seen(documents).decided == seen(documents[::-1]).decided
