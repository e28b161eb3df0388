"""What kind of picture bytes are, and how large it is."""

import re
from dataclasses import dataclass
from io import BytesIO
from urllib.parse import urlsplit

import imagesize

#: how a file of each format begins
BEGINNINGS = {
    "jpg": rb"\xff\xd8\xff",
    "png": rb"\x89PNG\r\n\x1a\n",
    "gif": rb"GIF8[79]a",
    "webp": rb"RIFF[\s\S]{4}WEBP",
    "avif": rb"[\s\S]{4}ftypavi[fs]",
    "heif": rb"[\s\S]{4}ftyp(?:hei[cfmsx]|mif1|msf1)",
    "bmp": rb"BM",
    "tiff": rb"II\*\x00|MM\x00\*",
    "ico": rb"\x00\x00\x01\x00",
    "svg": rb"(?:\xef\xbb\xbf)?\s*<(?=[\s\S]{0,2000}<svg\b|svg\b)",
}
#: file endings, where they are not a format's name
ENDINGS = {"jpeg": "jpg", "jpe": "jpg", "tif": "tiff", "heic": "heif", "svgz": "svg"}
#: mail programs show these, but for Word, which is Outlook for Windows, the last two (caniemail, 2026-06)
SHOWN = frozenset({"jpg", "png", "gif", "webp", "avif"})
NOT_IN_WORD = frozenset({"webp", "avif"})


@dataclass(frozen=True, slots=True)
class Measured:
    """What a picture is."""

    #: a name of BEGINNINGS; "" where it is none of them
    format: str
    #: pixels, as it is seen; None where they cannot be read
    width: int | None
    height: int | None
    #: bytes
    size: int


def named_format(url: str) -> str:
    """The format the ending of *url* names, one of BEGINNINGS; "" where it names none."""
    try:
        match = re.search(r"\.([a-z]{3,4})$", urlsplit(url).path.lower())
    except ValueError:
        return ""
    name = ENDINGS.get(match[1], match[1]) if match else ""
    return name if name in BEGINNINGS else ""


def measured(body: bytes) -> Measured:
    """What the picture *body* is; never raises, whatever it is."""
    format = next((name for name, begins in BEGINNINGS.items() if re.match(begins, body)), "")
    # The library reads XML as well, unguarded: it is asked only about what is shown.
    width, height = imagesize.get(BytesIO(body)) if format in SHOWN else (-1, -1)
    is_known = 0 < width < 100_000 and 0 < height < 100_000
    return Measured(format, width if is_known else None, height if is_known else None, len(body))
