"""What programs and editors put around a text, in the languages they put it in.

Bylines, captions and their credits, shortcodes, and the tails of feeds ("The post … appeared first
on …", "Continue reading"). Patterns and what they cut; which text they are used on is `excerpt`'s.
Every pattern is bounded: the first draft of such patterns took 147 s on 270 KB of "[caption ".
"""

import re
from dataclasses import dataclass

import regex

from digest.prose.sentences import ends

# --- shortcodes ---------------------------------------------------------------------------------

_CAPTION = re.compile(r"\[(?:wp_)?caption(?:\s[^\[\]]{0,500}+)?\][^\[\]]{0,3000}+\[/(?:wp_)?caption\]")
_EMBEDDED = re.compile(
    r"\[(embed|youtube|vimeo|audio|video|playlist|gallery|tweet|instagram|contact-form(?:-7)?)"
    r"(?:[\s=][^\[\]]{0,500}+)?\](?:[^\[\]]{0,500}+\[/\1\])?"
)
# Only names that are known: "[also here]", "[1]" and "[sic]" are the author's.
_SHORTCODE = re.compile(
    r"\[/?(?:(?:wp_)?caption|embed|gallery|audio|video|playlist|youtube|vimeo|tweet|instagram|soundcloud"
    r"|contact-form(?:-7)?|gravityforms?|mc4wp_form|ninja_forms?|wpforms|sourcecode|code|dropcap|toc|more"
    r"|footnotes?|one_(?:half|third|fourth)(?:_last)?|(?:vc|et_pb|fusion|av|su|fl|tatsu|cs|mk|ux|rev)_[a-z0-9_]{1,40})"
    r"(?:[\s=][^\[\]]{0,500}+)?/?\]"
)
_TEMPLATE_TAG = re.compile(r"\{\{[<%][^{}]{0,300}+\}\}|\{%[^{}%]{0,300}+%\}")


def without_shortcodes(text: str) -> str:
    """*text* (HTML or not) without the shortcodes of WordPress, its page builders, Hugo and Jekyll.

    Captions and embedded addresses go with what they enclose; of all others only the brackets go.
    """
    text = _SHORTCODE.sub(" ", _EMBEDDED.sub(" ", _CAPTION.sub(" ", text)))
    return _TEMPLATE_TAG.sub(" ", text)


# --- bylines ------------------------------------------------------------------------------------

_BY = (
    r"(?:(?:(?:[Ww]ritten|[Pp]osted|[Tt]ext) )?[Bb]y|BY|[Vv]on|[Pp]ar|[Pp]or|[Dd]i|[Dd]oor|[Aa]v|[Aa]f"
    r"|[Оо]т|[Вв]ід|(?:Author|Autore?|Auteur|Автор|Text|Testo|Texte|Texto|Tekst|Текст)\s?:)"
)
# Names: two to five words that begin with a capital, or the particles between them.
_WORD = r"(?:\p{Lu}[\p{L}\p{M}’'-]{1,30}+|\p{Lu}\.)"
_PARTICLE = r"(?:de|del|della|der|den|di|da|dos|van|von|zu|la|le|el|al|bin|ter|ten)"
_NAME = rf"{_WORD}(?: (?:{_PARTICLE} ){{0,2}}{_WORD}){{1,4}}"
_NAMES = rf"{_NAME}(?:(?:, | and | & | und | et | y | e | i | и | та ){_NAME}){{0,3}}"
_DATE = (
    r"(?:\d{1,2}[./-]\d{1,2}[./-]\d{2,4}|\d{4}-\d{2}-\d{2}|\d{1,2}\.? \p{L}{3,12}\.?,? \d{4}"
    r"|\p{L}{3,12}\.? \d{1,2}(?:st|nd|rd|th)?,? \d{4})"
)
_BYLINE = regex.compile(rf"{_BY} ({_NAMES})[.,]?(?: ?[|·•,/–—-]? ?{_DATE})?[.:]?")
#: what a first sentence begins with; a dash before anything else belongs to the sentence
_OPENING = r"(?=[\p{Lu}\p{Lo}\p{N}“‘\"«])"
_DELIMITED = regex.compile(rf"{_BY} ({_NAMES})(?: ?[|·•:] ?| [–—-] {_OPENING})(?:{_DATE}(?: ?[|·•:–—-])? ?)?")
_GUESSED = regex.compile(rf"{_BY} ({_WORD} {_WORD}) (?={_WORD} \p{{Ll}})")
_TITLE_WORD = regex.compile(r"(?:Dr|Prof|Mrs?|Ms|Sir|Rev|Lord|Lady|President|Professor|Doctor|The|This)\b\.?")
_DATE_ONLY = regex.compile(_DATE)


@dataclass(frozen=True, slots=True)
class Lead:
    """A text after its byline was taken off: what is left, and the name that stood there."""

    rest: str
    author: str | None = None


def byline(block: str) -> str | None:
    """The name in a *block* that is a byline and nothing else ("By A. Name, 28/09/2015"); None for others."""
    match = _BYLINE.fullmatch(block) if len(block) <= 200 else None
    return match[1] if match else None


def is_date(block: str) -> bool:
    """Whether *block* is a date and nothing else."""
    return len(block) <= 40 and _DATE_ONLY.fullmatch(block) is not None


def without_byline(text: str, author: str | None, *, guess: bool) -> Lead:
    """*text* without the byline it begins with, if it can be told from the first sentence.

    It can where a mark or date ends it ("di Nome Cognome | 28/09/2015 Parole …") or where it names the
    *author* the source gives. With *guess* also where exactly three capitalised words are followed
    by one in lower case: then the third opens the sentence ("by Given Family Bakers in …").
    """
    if match := _DELIMITED.match(text):
        return Lead(text[match.end() :], match[1])
    if author and (match := _of(author, text)):
        return Lead(text[match.end() :], author)
    if guess and (match := _GUESSED.match(text)) and not _TITLE_WORD.match(match[1]):
        return Lead(text[match.end() :], match[1])
    return Lead(text)


def _of(author: str, text: str) -> "regex.Match[str] | None":
    """A byline at the start of *text* that names *author*, who is named in full."""
    if " " not in author or len(author) > 100:
        return None
    return regex.match(rf"{_BY} {regex.escape(author)}(?: ?[|·•:,.–—-] ?| {_OPENING})", text)


# --- captions -----------------------------------------------------------------------------------

_AGENCY = (
    r"AP|AFP|EPA|EFE|ANSA|dpa|DPA|PA|TASS|ТАСС|Reuters|Getty(?: Images)?|Bloomberg"
    r"|UNIAN|УНІАН|Ukrinform|Укрінформ"
)
_CREDIT = re.compile(
    rf"\((?:(?:{_AGENCY})(?: Photo)?\s?[/:,][^()]{{1,120}}+"
    rf"|(?:Photo(?:graph)?s?|Image|Picture|Credit|Foto|Bild|Crédit|Imagen|Immagine|Фото|Зображення)\b[^()]{{0,120}}+)\)"
    rf"|(?<=[.!?] )\((?:{_AGENCY})\)"
)
_CAPTION_BLOCK = re.compile(
    r"(?:Photo(?:graph)?|Image|Picture|Foto|Bild|Crédit photo|Фото)s?(?: credit| by|:| ?©).{0,120}",
    re.IGNORECASE,
)
_KEPT_WITHOUT_CAPTION = 60


def is_caption(block: str) -> bool:
    """Whether *block* only says whose picture it stands below."""
    return _CAPTION_BLOCK.fullmatch(block) is not None


def without_captions(text: str) -> str:
    """*text* without the sentences that end in a picture's credit, as long as 60 characters are left."""
    for _ in range(3):
        credit = _CREDIT.search(text)
        if credit is None:
            break
        before = text[: credit.start()].rstrip()
        # The caption's own full stop may stand before the credit.
        start = max((end for end in ends(before) if end < len(before)), default=0)
        left = f"{text[:start].rstrip()} {text[credit.end() :].lstrip(' .')}".strip()
        if len(left) < _KEPT_WITHOUT_CAPTION:
            break
        text = left
    return text


# --- tails --------------------------------------------------------------------------------------

#: "The post X appeared first on Y", as WordPress and its translations write it
_APPEARED = (
    ("The post ", r"(?:appeared first on|first appeared on)"),
    ("Der Beitrag ", r"erschien zuerst auf"),
    ("L’article ", r"est apparu en premier sur"),
    ("L'article ", r"est apparu en premier sur"),
    ("La entrada ", r"(?:apareció primero en|se publicó primero en|aparece primero en)"),
    ("L’articolo ", r"(?:proviene da|sembra essere il primo su)"),
    ("L'articolo ", r"(?:proviene da|sembra essere il primo su)"),
    ("O post ", r"apareceu primeiro em"),
    ("A publicação ", r"apareceu primeiro em"),
    ("O conteúdo ", r"apareceu primeiro em"),
    ("Het bericht ", r"verscheen eerst op"),
    ("Inlägget ", r"dök först upp på"),
    ("Artykuł ", r"pochodzi z serwisu"),
    ("Запись ", r"впервые появилась"),
    ("Сообщение ", r"появились сначала на"),
    ("Запис ", r"(?:спершу|вперше) з[’']явив?ся"),
    ("投稿 ", r"(?:は|が|に)"),
)
_LONGEST_TAIL = 700

_MORE = re.compile(
    r"(?:^|(?<=[\s…\].!?。]))(?:Continue reading|Keep reading|Read (?:more|the rest|the full)|Learn more"
    r"|Weiterlesen|Mehr lesen|Lire la suite|Lire plus|Seguir leyendo|Leer más|Sigue leyendo"
    r"|Continua a leggere|Leggi (?:tutto|di più)|Continuar? (?:lendo|a ler)|Leia mais|Ler mais"
    r"|Lees (?:verder|meer)|Verder lezen"
    r"|Läs mer|Les mer|Læs mere|Czytaj (?:dalej|więcej)|Читать (?:далее|дальше|полностью)|Далее"
    r"|Читати (?:далі|більше)|Devamını oku|続きを読む|もっと読む|阅读更多|继续阅读|더 보기)"
    r"(?P<rest>[^.!?。]{0,150}?)(?P<arrow>\s?[→»›⟶➔]|\s?>{1,2}|\s?…|\s?\.{3}|\s?\[…\])?$"
)
_SHARE = re.compile(
    r"(?:^|(?<=\s))(?:Share this|Share on|Like this|Teilen mit|Gefällt mir|Partager|Compartir|Comparte esto"
    r"|Condividi|Compartilhe isso|Delen|Поделиться|Поширити):(?:\s.{0,200})?$|\sLike Loading\.{3}$"
)
#: a mark of a cut: WordPress' "[…]", a theme's "…" or "(…)", with the white space before it
_CUT_MARK = re.compile(r"\s{0,5}(?:\[\s?(?:…|\.{3})\s?\]|\(\s?(?:…|\.{3})\s?\)|…|\.{3,5})$")


@dataclass(frozen=True, slots=True)
class Tail:
    """A text after its tail was taken off; *cut*: the mark of a cut stood there."""

    rest: str
    cut: bool = False


def without_tail(text: str) -> Tail:
    """*text* without what programs append; they append to each other, so up to four times."""
    was_cut = False
    for _ in range(4):
        before = text
        text = _without_more(_SHARE.sub("", _without_appeared(text).rstrip()).rstrip()).rstrip()
        if match := _CUT_MARK.search(text, max(0, len(text) - 20)):
            text, was_cut = text[: match.start()].rstrip(), True
        if text == before:
            break
    return Tail(text, was_cut)


def _without_appeared(text: str) -> str:
    """*text* without a last sentence that names the post and its site."""
    tail = text[-_LONGEST_TAIL:]
    for start, middle in _APPEARED:
        at = tail.rfind(start)
        if at >= 0 and re.search(middle, tail[at:]):
            return text[: len(text) - len(tail) + at]
    return text


def _without_more(text: str) -> str:
    """*text* without a last "Continue reading", alone, with an arrow, or with the quoted title."""
    match = _MORE.search(text, max(0, len(text) - 250))
    if match is None:
        return text
    rest = match["rest"].strip()
    if rest and not match["arrow"] and rest[0] not in '“"«„‘:':
        return text
    return text[: match.start()]
