"""DKIM (RFC 6376): a letter's signature, the key it names, and whether the two belong together.

rsa-sha256 and ed25519-sha256 (RFC 8463) are verified here; of another algorithm only the key and the headers
are looked at. No secret is handled, so nothing here has to take the same time for everything.
"""

import hashlib
import re
from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from digest.doctor.line import Line, failed, idle, passed, warned

#: bits; RFC 8301, section 3.2, and what Gmail advises
SHORTEST, ADVISED = 1024, 2048
#: RFC 8058, section 4, and RFC 6376, section 5.4
MUST_SIGN = ("from", "list-unsubscribe", "list-unsubscribe-post")
SHOULD_SIGN = ("subject", "date", "message-id", "to")
_SHA256 = bytes.fromhex("3031300d060960864801650304020105000420")  # RFC 8017, section 9.2, note 1
_ALGORITHMS = {"rsa-sha256": "rsa", "ed25519-sha256": "ed25519"}  # with the kind of key each takes
_HOLDS_KEY = re.compile(r"(?:^|;)\s*p\s*=")
_MOST = 10  # signatures of a letter that are looked at
_B = re.compile(rb"(;\s*b\s*=|^\s*b\s*=)[^;]*", re.I)


@dataclass(frozen=True, slots=True)
class Signature:
    """One DKIM-Signature of a letter."""

    tags: dict[str, str]
    #: None: it was not verified here; else what is wrong, "" where nothing is
    fault: str | None = None

    @property
    def domain(self) -> str:
        """Who signs."""
        return self.tags.get("d", "").lower().rstrip(".")

    @property
    def selector(self) -> str:
        """Which of its keys."""
        return self.tags.get("s", "").lower()

    @property
    def signed(self) -> list[str]:
        """The names of the headers under it."""
        return [name.strip().lower() for name in self.tags.get("h", "").split(":")]


def tags_of(text: str) -> dict[str, str]:
    """The tags of *text* (RFC 6376, section 3.2), spaces inside values taken out."""
    pairs = (part.split("=", 1) for part in text.split(";") if "=" in part)
    return {name.strip().lower(): "".join(value.split()) for name, value in pairs}


def split(raw: bytes) -> tuple[list[tuple[str, bytes]], bytes]:
    """The headers of *raw*, name in lower case and bytes as they stand without the last CRLF; the body."""
    raw = re.sub(rb"\r?\n", b"\r\n", raw)
    head, _, body = raw.partition(b"\r\n\r\n")
    fields = re.split(rb"\r\n(?![ \t])", head)
    named = [(one.partition(b":")[0].strip().lower().decode("latin-1"), one) for one in fields if b":" in one]
    return named, body


def key_name(selector: str, domain: str) -> str:
    """Where the key is published."""
    return f"{selector}._domainkey.{domain}"


def _keys(texts: Sequence[str]) -> list[dict[str, str]]:
    """The tags of those TXT records that hold a key."""
    return [tags_of(text) for text in texts if _HOLDS_KEY.search(text)]


def key_judged(selector: str, domain: str, texts: Sequence[str]) -> Line:
    """The line of the key at *selector* of *domain*, published as *texts*."""
    name, where = "dkim-key", key_name(selector, domain)
    keys = _keys(texts)
    if not keys:
        return failed(
            name, f"{where} has no key", f"publish there the TXT record your relay shows for {selector!r}"
        )
    if len(keys) > 1:
        return failed(name, f"{where} has {len(keys)} keys, and none counts", "leave one TXT record there")
    key = keys[0]
    if not key["p"]:
        return failed(
            name, f"{where} is revoked (p= is empty)", "sign with another selector, or publish its key"
        )
    if key.get("k", "rsa") == "ed25519":
        return warned(
            name,
            f"{where} is an ed25519 key, which few receivers read yet (RFC 8463)",
            "let the relay sign with an RSA key of 2048 bits, too",
        )
    try:
        bits = _modulus(key["p"])[0].bit_length()
    except ValueError as error:
        return failed(name, f"{where} holds no RSA key: {error}", "copy the TXT record once more, whole")
    hashes = key.get("h", "sha256").split(":")
    services = key.get("s", "*").split(":")
    if bits < SHORTEST or "sha256" not in hashes or not {"*", "email"}.intersection(services):
        why = f"{bits} bits" if bits < SHORTEST else f"h={key.get('h', '')} s={key.get('s', '')}"
        return failed(
            name, f"{where}: {why}, which receivers refuse", "publish an RSA key of 2048 bits for sha256"
        )
    if bits < ADVISED:
        return warned(name, f"{where}: {bits} bits", "sign with a key of 2048 bits")
    if "y" in key.get("t", "").split(":"):
        return warned(name, f"{where} says t=y: it is for trying out", "take t=y out of the TXT record there")
    return passed(name, f"{where}: RSA, {bits} bits")


def key_unknown() -> Line:
    """The line where no signature was seen."""
    return idle("dkim-key", "which selector signs is not known: --selector NAME, or --seed ADDRESS")


def signatures_of(raw: bytes, published: Callable[[str], Sequence[str]] | None) -> list[Signature]:
    """The signatures of the letter *raw*, the topmost first.

    Each is verified with what is *published*, as TXT records, at the name of its key; None: nobody is asked.
    """
    fields = [field for name, field in split(raw)[0] if name == "dkim-signature"]
    return [_verified(raw, field, published) for field in fields[:_MOST]]


def _verified(raw: bytes, field: bytes, published: Callable[[str], Sequence[str]] | None) -> Signature:
    found = Signature(tags_of(field.partition(b":")[2].decode(errors="replace")))
    if published is None or found.tags.get("a") not in _ALGORITHMS:
        return found
    texts = published(key_name(found.selector, found.domain))
    try:
        return replace(found, fault=_fault(raw, field, found.tags, texts))
    except (ValueError, KeyError) as error:
        return replace(found, fault=f"it cannot be read ({error})")


def _fault(raw: bytes, field: bytes, tags: dict[str, str], texts: Sequence[str]) -> str:
    headers, body = split(raw)
    head_way, _, body_way = tags.get("c", "simple/simple").partition("/")
    content = _body(body, body_way or "simple")
    if "l" in tags:
        content = content[: int(tags["l"])]
    if b64decode(tags["bh"]) != hashlib.sha256(content).digest():
        return "the body is not the one that was signed"
    keys = _keys(texts)
    if not keys:
        return "its key is not published"
    signed = _signed_headers(headers, [one.strip().lower() for one in tags["h"].split(":")], head_way)
    bare = _B.sub(rb"\1", field.partition(b":")[2])
    own = _header(field.partition(b":")[0] + b":" + bare, head_way)
    kind = _ALGORITHMS[tags["a"]]
    if keys[0].get("k", "rsa") != kind:
        return f"the published key is not of the kind that signed ({kind})"
    is_signed = _is_signed_ed25519 if kind == "ed25519" else _is_signed
    if not is_signed(b"".join([*signed, own]), b64decode(tags["b"]), keys[0]["p"]):
        return "the published key is not the one that signed, or a signed header was changed"
    return ""


def _signed_headers(headers: Sequence[tuple[str, bytes]], names: Sequence[str], way: str) -> list[bytes]:
    """What was signed, in order: of several headers of a name the last first (section 5.4.2)."""
    left: dict[str, list[bytes]] = {}
    for name, field in headers:
        left.setdefault(name, []).append(field)
    return [_header(left[name].pop(), way) + b"\r\n" for name in names if left.get(name)]


def _header(field: bytes, way: str) -> bytes:
    """*field* as it is hashed (section 3.4.1 and 3.4.2), without its CRLF."""
    if way == "simple":
        return field
    name, _, value = field.partition(b":")
    one_line = re.sub(rb"[ \t]+", b" ", value.replace(b"\r\n", b"")).strip(b" \t")
    return name.strip().lower() + b":" + one_line


def _body(body: bytes, way: str) -> bytes:
    """*body* as it is hashed (section 3.4.3 and 3.4.4)."""
    if way == "relaxed":
        body = re.sub(rb"[ \t]+", b" ", body)
        body = re.sub(rb" (?=\r\n|$)", b"", body)
    # Not by a pattern, which would try every one of a million empty lines anew.
    end = len(body)
    while body[end - 2 : end] == b"\r\n":
        end -= 2
    stripped = body[:end]
    return stripped + b"\r\n" if stripped or way != "relaxed" else b""


def _is_signed_ed25519(message: bytes, signature: bytes, key: str) -> bool:
    """Whether *signature* is that of *message*'s SHA-256: PureEdDSA, the key bare (RFC 8463, section 3)."""
    try:
        public = Ed25519PublicKey.from_public_bytes(b64decode(key, validate=True))
        public.verify(signature, hashlib.sha256(message).digest())
    except InvalidSignature:
        return False
    return True


def _is_signed(message: bytes, signature: bytes, key: str) -> bool:
    """Whether *signature* is that of *message*: RSASSA-PKCS1-v1_5 with SHA-256 (RFC 8017, section 8.2.2)."""
    modulus, exponent = _modulus(key)
    length = (modulus.bit_length() + 7) // 8
    digest = _SHA256 + hashlib.sha256(message).digest()
    padded = b"\x00\x01" + b"\xff" * (length - len(digest) - 3) + b"\x00" + digest
    return pow(int.from_bytes(signature, "big"), exponent, modulus).to_bytes(length, "big") == padded


def _modulus(text: str) -> tuple[int, int]:
    """The modulus and exponent of the key *text* (RFC 6376, section 3.6.1); ValueError where it is none."""
    try:
        outer, _ = _element(b64decode(text, validate=True), 0x30)
        if outer[:1] == b"\x30":
            # SubjectPublicKeyInfo: an algorithm, then the key as a string of bits. Some publish the bare key.
            _algorithm, rest = _element(outer, 0x30)
            bits, _ = _element(rest, 0x03)
            outer, _ = _element(bits[1:], 0x30)
        modulus, rest = _element(outer, 0x02)
        exponent, _ = _element(rest, 0x02)
    except (NotBase64, IndexError) as error:
        raise ValueError("it was cut off, or is not base64") from error
    if not modulus or not exponent or len(modulus) > 2048:
        raise ValueError("its numbers are missing")
    return int.from_bytes(modulus, "big"), int.from_bytes(exponent, "big")


def _element(octets: bytes, kind: int) -> tuple[bytes, bytes]:
    """The content of the DER element of *kind* that *octets* begin with, and what comes after it."""
    if octets[0] != kind:
        raise ValueError("it is of another kind")
    length, begins = octets[1], 2
    if length & 0x80:
        begins = 2 + (length & 0x7F)
        length = int.from_bytes(octets[2:begins], "big")
    if len(octets) < begins + length:
        raise IndexError
    return octets[begins : begins + length], octets[begins + length :]


def signed_judged(signatures: Sequence[Signature], is_own: Sequence[bool]) -> list[Line]:
    """The lines of a letter's *signatures*; *is_own* tells which of them speak for the sender."""
    own = [one for one, mine in zip(signatures, is_own, strict=True) if mine]
    if not own:
        others = ", ".join(one.domain for one in signatures) or "nobody"
        return [
            failed(
                "dkim-signature",
                f"signed by {others}, not for the sender's domain",
                "let the relay sign with DKIM as the sender's own domain; docs/operating.md, The relay",
            ),
            idle("dkim-headers", "there is no signature of the sender's domain"),
        ]
    return [_own_judged(own), _headers_judged(own)]


def _own_judged(own: Sequence[Signature]) -> Line:
    best = min(own, key=lambda one: (one.fault is None, bool(one.fault)))
    shown = f"{best.selector}._domainkey.{best.domain}, {best.tags.get('a', 'no algorithm')}"
    if best.fault:
        return failed(
            "dkim-signature",
            f"{shown}: {best.fault}",
            "publish the key the relay signs with, and let nothing change a letter after it is signed",
        )
    if "l" in best.tags:
        return failed(
            "dkim-signature",
            f"{shown}: l={best.tags['l']} leaves the end of the letter unsigned, for anybody to add to",
            "let the relay sign whole bodies (OpenDKIM: BodyLengthDB unset)",
        )
    if best.tags.get("a") == "rsa-sha1":
        return failed(
            "dkim-signature", f"{shown} is refused (RFC 8301)", "let the relay sign with rsa-sha256"
        )
    return passed("dkim-signature", f"{shown}{'' if best.fault is None else ': verified'}")


def _headers_judged(own: Sequence[Signature]) -> Line:
    best = max(own, key=lambda one: len({*MUST_SIGN, *SHOULD_SIGN}.intersection(one.signed)))
    if missing := [name for name in MUST_SIGN if name not in best.signed]:
        return failed(
            "dkim-headers",
            f"h= lacks {', '.join(missing)}: providers then offer no one-click (RFC 8058)",
            f"OpenDKIM: `SignHeaders *,{','.join(f'+{name}' for name in missing)}`; or as your relay does it",
        )
    if missing := [name for name in SHOULD_SIGN if name not in best.signed]:
        return warned(
            "dkim-headers",
            f"h= lacks {', '.join(missing)}",
            "let the relay sign them, too (RFC 6376, section 5.4.1)",
        )
    return passed("dkim-headers", "h= names From and both List-Unsubscribe headers")
