"""The fields of a delivery-status part (RFC 3464): per recipient, as damaged as they come."""

import re
from dataclasses import dataclass

#: recipients of one report that are looked at
MOST_RECIPIENTS = 50
LONGEST_VALUE = 2000

_FIELD = re.compile(r"\s?([A-Za-z-]{3,40})[ \t]*:(.*)", re.DOTALL)
_RECIPIENTS = frozenset({"final-recipient", "original-recipient"})
_PER_RECIPIENT = _RECIPIENTS | {"action", "status", "diagnostic-code"}
#: what our letters carry as ENVID and as Message-ID
_NAMES = frozenset({"original-envelope-id", "x-original-message-id"})
#: an address as reports write it: a command or a path that holds one is none
ADDRESS = r"[^\s<>()\[\]\\,;:\"'@|/]{1,64}@[^\s<>()\[\]\\,;:\"'@|/]{1,253}"
_ADDRESS = re.compile(ADDRESS)
_XTEXT = re.compile(r"\+([0-9A-F]{2})")


@dataclass(frozen=True, slots=True)
class Told:
    """What a delivery-status part tells of one recipient; "" for what it does not tell."""

    recipient: str
    action: str
    status: str
    diagnostic: str


@dataclass(frozen=True, slots=True)
class Status:
    """What a delivery-status part tells."""

    recipients: tuple[Told, ...]
    #: what it calls the letter: its envelope's name (RFC 3461, section 4.4), its Message-ID
    names: tuple[str, ...]


def status_of(text: str) -> Status:
    """What *text* tells; nothing where it has no field that names a recipient.

    Groups need no blank line between them: a recipient's field begins a new one when the last group has
    a recipient and is past naming it. An Action before the first group holds for all that have none.
    """
    groups: list[dict[str, str]] = []
    shared: dict[str, str] = {}
    group: dict[str, str] = {}
    for name, value in _fields(text):
        if not name or (name in _RECIPIENTS and _is_another(name, group)):
            _close(group, groups, shared)
            group = {}
        if name in _NAMES:
            shared.setdefault(name, value)
        elif name:
            group.setdefault(name, value)
    _close(group, groups, shared)
    told = [_told(one, shared) for one in groups[:MOST_RECIPIENTS]]
    return Status(tuple(told), tuple(_unescaped(shared[name]) for name in sorted(_NAMES & set(shared))))


def address_in(value: str) -> str:
    """The address that *value*, a field of a report, is; "" where it is anything else."""
    bare = value.rpartition(";")[2].strip(" \t<>\"'")
    return bare if _ADDRESS.fullmatch(bare) and bare.isprintable() else ""


def _is_another(name: str, group: dict[str, str]) -> bool:
    has_one = not _RECIPIENTS.isdisjoint(group)
    return name in group or (has_one and ("action" in group or "status" in group))


def _close(group: dict[str, str], groups: list[dict[str, str]], shared: dict[str, str]) -> None:
    if not _RECIPIENTS.isdisjoint(group):
        groups.append(group)
    elif "action" in group and not groups:
        shared["action"] = group["action"]


def _fields(text: str) -> list[tuple[str, str]]:
    """The fields that matter, unfolded, in order; a blank line is a field without a name."""
    found: list[tuple[str, str]] = []
    wanted = False
    for line in text.split("\n"):
        if len(found) > MOST_RECIPIENTS * 20:
            break
        field = _FIELD.fullmatch(line[:LONGEST_VALUE])
        if not line.strip():
            wanted = False
            if found and found[-1][0]:
                found.append(("", ""))
        elif field is not None and (line[0] not in " \t" or field[1].lower() in _PER_RECIPIENT):
            name = field[1].lower()
            wanted = name in _PER_RECIPIENT or name in _NAMES
            if wanted:
                found.append((name, field[2].strip()))
        elif wanted and line[0] in " \t":
            name, value = found[-1]
            found[-1] = name, f"{value} {line.strip()}"[:LONGEST_VALUE]
    return found


def _told(group: dict[str, str], shared: dict[str, str]) -> Told:
    # Who forwards knows the address we wrote to, and only that one is ours.
    addresses = [address_in(group.get(name, "")) for name in ("original-recipient", "final-recipient")]
    return Told(
        recipient=next((one for one in addresses if one), ""),
        action=group.get("action", shared.get("action", "")),
        status=group.get("status", ""),
        diagnostic=group.get("diagnostic-code", ""),
    )


def _unescaped(name: str) -> str:
    """*name* without the escapes of RFC 3461, section 4."""
    return _XTEXT.sub(lambda found: chr(int(found[1], 16)), name)
