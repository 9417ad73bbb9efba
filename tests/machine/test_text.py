import pytest

from kd.machine.text import listed, nfc, printable, with_article


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nb\r\tc", r"a\nb\r\tc"),
        ("\x1b[2J\x07\x7f", r"\x1b[2J\x07\x7f"),
        ("\x9b31m", r"\x9b31m"),  # an escape code of one character
        ("gpj.\u202ecat", r"gpj.\u202ecat"),  # shown as tac.jpg by a terminal that obeys
        ("\u2066a\u2069\u200f\u200b\ufeff", r"\u2066a\u2069\u200f\u200b\ufeff"),
        ("a\u2028b\u2029c\u0085", r"a\u2028b\u2029c\x85"),
        ("caf\udce9", r"caf\udce9"),
        ("\U000e0041", r"\U000e0041"),  # a letter that is not seen
        (3, "3"),
    ],
)
def test_what_acts_on_a_terminal_is_escaped(text: object, shown: str) -> None:
    assert printable(text) == shown


@pytest.mark.parametrize("text", ["", "café", "cafe\u0301", "猫 und 犬", "C:\\photos", "a \"b\" 'c'", "👩\u200d🔬", "क्\u200dष"])
def test_other_text_is_shown_as_it_is(text: str) -> None:
    assert printable(text) == text


def test_a_printable_text_is_one_line_that_can_be_encoded() -> None:
    every = "".join(map(chr, [*range(0x3000), *range(0xD800, 0xE000), 0xFEFF]))
    assert len(printable(every).splitlines()) == 1
    assert printable(every).encode()
    assert printable(printable(every)) == printable(every)


def test_a_list_of_more_than_ten_names_is_cut_and_counted() -> None:
    assert listed(["a", "b\n"]) == r"a, b\n"
    assert listed(range(10)) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9"
    assert listed(range(11)) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ... (11 in all)"
    assert listed("abc", 2) == "a, b, ... (3 in all)"


def test_composed_and_decomposed_letters_are_the_same_name() -> None:
    assert nfc("cafe\u0301") == nfc("café") == "café"


@pytest.mark.parametrize(
    ("article", "words"),
    [
        (
            "an",
            ["int", "object", "Encoder", "OrderedDict", "UnboundLocalError", "ndarray", "_Embedding", "LSTM", "SEBlock"],
        ),
        ("a", ["str", "NoneType", "uint8", "UserError", "UnicodeError", "Union", "UNet", "GPU", "Hook", "Net", "OneHot"]),
    ],
)
def test_a_word_has_the_article_of_its_sound(article: str, words: list[str]) -> None:
    for word in words:
        assert with_article(word) == f"{article} {word}"
