"""Where sentences end, in text of one line and of any language.

A full stop is doubted: after an abbreviation, an initial or a day's number, and before a word
in lower case, it ends nothing. What is doubted wrongly only makes an excerpt end elsewhere.
"""

import re
from collections.abc import Iterator

# After these nothing needs to follow: they are written without a space in Chinese and Japanese.
_END = re.compile(
    r"([.!?]{1,5}|…)([\"”’»›)\]]{0,3})(?=\s|$)|[。！？．]{1,5}[”’」』）]{0,3}|[؟۔।॥።]{1,3}[\"”’»›)\]]{0,3}(?=\s|$)"
)
_LAST_WORD = re.compile(r"[^\s(\[“‘\"'«]{1,20}$")
_NEXT_LETTER = re.compile(r"\s{1,3}[\"“”„‘’«»(\[¿¡]{0,3}(\w)")
# Without the final full stop, in lower case. English, German, French, Spanish, Italian, Portuguese,
# Dutch, Polish, Russian, Ukrainian.
_ABBREVIATION = re.compile(
    r"mrs?|ms|messrs|dr|prof|rev|hon|st|sr|jr|gen|col|capt|lt|sgt|gov|sen|rep|pres|vs|v|etc|e\.g|i\.e|cf|al"
    r"|no|nos|vol|ed|eds|fig|pp|art|ch|approx|est|dept|inc|ltd|co|corp|bros|jan|feb|mar|apr|jun|jul|aug|sept?"
    r"|oct|nov|dec|mon|tue|wed|thu|fri|sat|sun|a\.m|p\.m|ph\.d|[a-z](?:\.[a-z]){1,4}"
    r"|bzw|ca|dipl|evtl|ggf|hr|fr|hrsg|ing|inkl|jh|mio|mrd|nr|od|sog|str|tel|u|usw|vgl|z|zzt"
    r"|mme|mlle|mm|env|av|bd|éd|ex|sra|srta|sres|dra|ud|uds|ee|uu|núm|pág|dott|sig|sigg|avv|ecc|pag|p\.es"
    r"|dhr|mevr|mw|bijv|enz|blz|ul|tzw|tys|mln|mld|prof|im|godz"
    r"|г|гг|др|пр|т|т\.д|т\.п|т\.е|т\.к|тыс|млн|млрд|руб|им|ул|стр|см|св|тис|грн|вул|ст"
)


def ends(text: str) -> Iterator[int]:
    """The positions in *text* just after each sentence, in order; the end of the text only if it is one."""
    for match in _END.finditer(text):
        if match[1] is None or not _is_doubtful(text, match):
            yield match.end()


def first(text: str) -> str:
    """The first sentence of *text*; all of it where no end is found."""
    return text[: next(ends(text), len(text))]


def _is_doubtful(text: str, match: re.Match[str]) -> bool:
    """Whether the mark at *match* probably ends no sentence."""
    following = _NEXT_LETTER.match(text, match.end())
    if following and following[1].islower():
        return True
    if match[1] != "." or match[2]:
        return False
    # Nothing follows an abbreviation at the very end, so there it is an end all the same.
    if match.end() == len(text):
        return False
    word = _LAST_WORD.search(text, max(0, match.start() - 20), match.start())
    if word is None:
        return False
    is_initial = len(word[0]) == 1 and word[0].isalpha()
    is_day = len(word[0]) <= 2 and word[0].isdigit()
    return is_initial or is_day or _ABBREVIATION.fullmatch(word[0].lower()) is not None
