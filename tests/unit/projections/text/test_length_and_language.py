"""Length counts code points after NFC; language is a BCP 47 tag, or und."""

import pytest

from projections.text import language, length


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", 0),
        ("abc", 3),
        ("e\u0301", 1),
        ("日本語", 3),
        ("🎉", 1),
        ("👩‍👩‍👧", 5),
        ("각", 1),
        ("가\u11a8", 1),
    ],
)
def test_length_is_code_points_after_nfc(text: str, expected: int) -> None:
    assert length.length(text) == expected
    assert len(length.normalise(text)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("good morning everyone, what a lovely day", "en"),
        ("buenos días a todos, qué día tan bonito", "es"),
        ("heute ist es viel zu heiß in Berlin", "de"),
        ("не могу поверить, какая хорошая книга", "ru"),
        ("कल हम दोस्तों के साथ समुद्र तट जाएंगे", "hi"),
        ("今日は暑すぎる", "ja"),
        ("真不敢相信这本书这么好看", "zh"),
        ("오늘 너무 덥다", "ko"),
        ("@alice @bob #lunch https://example.com/a-long-english-path", "und"),
        ("ok", "und"),
        ("😂😂😂", "und"),
        ("", "und"),
    ],
)
def test_language(text: str, expected: str) -> None:
    assert language.detect(text) == expected


def test_names_and_addresses_do_not_change_the_language() -> None:
    prose = "heute ist es viel zu heiß in der Stadt"
    noisy = f"@the_weather_channel {prose} #summer https://example.com/what-a-nice-day"
    assert language.detect(noisy) == language.detect(prose) == "de"
