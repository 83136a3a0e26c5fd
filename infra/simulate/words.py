"""Texts of simulated tweets: plausible words in a few languages, with what makes tweets tweets.

Every text is at most 280 code points after NFC, and never empty.
"""

from __future__ import annotations

import unicodedata
from random import Random

TEXT_MAX = 280


def words(text: str) -> tuple[str, ...]:
    """The words of a text."""
    return tuple(text.split())


WORDS: dict[str, tuple[str, ...]] = {
    "en": words(
        "the morning train was late again and somebody played violin on platform two while we "
        "talked about maps old code coffee rain goals votes birds in winter cities that never "
        "sleep long walks short nights great soup bad puns new bikes this song that match"
    ),
    "de": words(
        "der Zug kam heute wieder zu spät und am Gleis spielte jemand Geige während wir über "
        "Straßen Bücher Wetter Fußball Kaffee Vögel lange Nächte kurze Wege gute Suppe neue "
        "Räder und das Spiel von gestern sprachen"
    ),
    "es": words(
        "el tren llegó tarde otra vez y alguien tocaba el violín mientras hablábamos de mapas "
        "libros lluvia goles pájaros ciudades que nunca duermen noches cortas caminos largos "
        "buena sopa bicicletas nuevas esta canción mañana"
    ),
    "pt": words(
        "o trem chegou atrasado de novo e alguém tocava violino enquanto falávamos de mapas "
        "livros chuva gols pássaros cidades que nunca dormem noites curtas sopa boa bicicletas "
        "novas esta canção amanhã coração"
    ),
    "ja": words(
        "今日は 電車が また 遅れて 駅で 誰かが 歌って いた 雨 鳥 珈琲 地図 試合 新しい 自転車"
    ),
}
LANGUAGES = tuple(WORDS)
HASHTAGS = (
    "#monday",
    "#football",
    "#nowplaying",
    "#python",
    "#birdsofwinter",
    "#kaffee",
    "#lluvia",
    "#猫",
    "#election",
    "#photography",
    "#gameday",
    "#100DaysOfCode",
)
EMOJI = ("😂", "❤️", "🔥", "🎉", "🐦", "👩‍💻", "🇧🇷", "🤷🏽‍♀️")
CASHTAGS = ("$MUR", "$BIRD", "$ETH")
TREND_STEMS = ("breaking", "final", "storm", "launch", "derby", "strike", "eclipse", "awards")


def compose(random: Random, language: str, mentions: list[str], trend: str | None) -> str:
    """One tweet's text.

    Args:
        random: Source of chance.
        language: A key of `WORDS`.
        mentions: Usernames to address at the start.
        trend: A hashtag that everybody uses right now.
    """
    vocabulary = WORDS[language]
    parts = [f"@{name}" for name in mentions]
    first, count = random.randrange(len(vocabulary)), 3 + int(random.random() * 14)
    parts.extend(vocabulary[(first + step * 7) % len(vocabulary)] for step in range(count))
    if trend is not None:
        parts.append(trend)
    chance = random.random()
    if chance < 0.18:
        parts.append(HASHTAGS[int(random.random() ** 2 * len(HASHTAGS))])
    elif chance < 0.30:
        parts.append(EMOJI[int(random.random() * len(EMOJI))])
    elif chance < 0.34:
        parts.append(f"https://example.com/{random.getrandbits(24):x}?a=1&b=2")
    elif chance < 0.35:
        parts.append(CASHTAGS[int(random.random() * len(CASHTAGS))])
    text = " ".join(parts)
    return text if text.isascii() else unicodedata.normalize("NFC", text)[:TEXT_MAX]


def trend_name(random: Random) -> str:
    """A fresh hashtag for a burst."""
    return f"#{random.choice(TREND_STEMS)}{random.randrange(1000)}"
