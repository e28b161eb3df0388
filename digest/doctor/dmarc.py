"""DMARC (RFC 9989): the record that holds for a domain, its organisational domain, and alignment.

The tree walk of section 4.10 has replaced the list of public suffixes, and `pct`, `rf` and `ri` are
tags no more. Whoever still reads by RFC 7489 finds the same for all but unusual domains.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from digest.doctor.line import Line, failed, idle, passed, warned

#: questions of one walk at most: the name itself, then from its last seven labels up
_MOST_LABELS = 7
_POLICIES = frozenset({"none", "quarantine", "reject"})
REMOVED = ("pct", "rf", "ri")


@dataclass(frozen=True, slots=True)
class Policy:
    """A DMARC record, where it stands."""

    domain: str
    text: str
    #: names in lower case
    tags: dict[str, str]


@dataclass(frozen=True, slots=True)
class Walk:
    """What the tree walk from a domain came by."""

    domain: str
    #: from the longest name to the shortest
    policies: tuple[Policy, ...] = ()
    #: names with more than one record, all of which are ignored
    doubled: tuple[str, ...] = ()
    organisation: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "organisation", _organisation(self.domain, self.policies))

    @property
    def policy(self) -> Policy | None:
        """The record that holds for the domain; None where there is none (section 4.10.1)."""
        own = [one for one in self.policies if one.domain == self.domain]
        above = [one for one in self.policies if one.domain == self.organisation]
        suffix = [one for one in self.policies if one.tags.get("psd") == "y"]
        return next(iter([*own, *above, *suffix]), None)


def walk(domain: str, texts: Callable[[str], list[str]]) -> Walk:
    """The walk from *domain* up; *texts* answers the TXT records of a name."""
    policies, doubled = [], []
    for name in _steps(domain):
        found = [policy for text in texts(f"_dmarc.{name}") if (policy := _parsed(name, text))]
        if len(found) > 1:
            doubled.append(name)
        elif found:
            policies += found
            psd = found[0].tags.get("psd")
            if psd == "n" or (psd == "y" and name != domain):
                break
    return Walk(domain, tuple(policies), tuple(doubled))


def _steps(domain: str) -> list[str]:
    labels = domain.split(".")
    above = labels[1:][-_MOST_LABELS:]
    return [domain, *(".".join(above[place:]) for place in range(len(above)))]


def _parsed(name: str, text: str) -> Policy | None:
    first, *rest = text.split(";")
    head = [part.strip() for part in first.split("=", 1)]
    if head != ["v", "DMARC1"]:
        return None
    pairs = (part.split("=", 1) for part in rest if "=" in part)
    return Policy(name, text, {tag.strip().lower(): value.strip() for tag, value in pairs})


def _organisation(domain: str, policies: tuple[Policy, ...]) -> str:
    """RFC 9989, section 4.10.2."""
    for one in policies:
        if one.tags.get("psd") == "n":
            return one.domain
        if one.tags.get("psd") == "y" and one.domain != domain:
            below = domain.removesuffix(f".{one.domain}").rpartition(".")[2]
            return f"{below}.{one.domain}"
    return policies[-1].domain if policies else domain


def judged(found: Walk) -> Line:
    """The line of the record that holds for letters from the domain."""
    name, policy = "dmarc", found.policy
    if found.doubled:
        return failed(
            name,
            f"_dmarc.{found.doubled[0]} has several DMARC records, and then none counts",
            f"leave one TXT record at _dmarc.{found.doubled[0]}",
        )
    if policy is None:
        return failed(
            name,
            f"{found.domain} has no DMARC record; Gmail and Yahoo want one",
            f'publish it: _dmarc.{found.organisation}. TXT "v=DMARC1; p=none; rua=mailto:ADDRESS"',
        )
    shown, where = f"_dmarc.{policy.domain}: {policy.text}", f"_dmarc.{policy.domain}"
    asked = [policy.tags[tag].lower() for tag in ("p", "sp", "np") if tag in policy.tags]
    if "p" not in policy.tags or not _POLICIES.issuperset(asked):
        # RFC 9989, section 4.10.1: with a place to report to it is as p=none, without one it is not there.
        tell, counts = (warned, "as p=none") if policy.tags.get("rua") else (failed, "for nothing")
        return tell(
            name,
            f"{shown}: without a valid p= (and sp=, np=) it counts {counts}",
            f'begin the TXT record of {where} with "v=DMARC1; p=none;", or p=quarantine, p=reject',
        )
    if removed := [tag for tag in REMOVED if tag in policy.tags]:
        return warned(
            name,
            f"{shown}: {', '.join(removed)} counts no more (RFC 9989)",
            f"take {', '.join(f'{tag}=' for tag in removed)} out of {where}; for a trial, t=y",
        )
    if policy.tags.get("t", "n").lower() == "y" and policy.tags["p"].lower() != "none":
        return warned(name, f"{shown}: t=y asks receivers not to apply it", f"take t=y out of {where}")
    if not policy.tags.get("rua"):
        return warned(
            name,
            f"{shown}: nobody hears of letters that fail",
            f"add rua=mailto:ADDRESS to {where}",
        )
    return passed(name, shown)


@dataclass(frozen=True, slots=True)
class Alignment:
    """Which domains a letter is known by, and the walks from them."""

    #: From
    author: Walk
    #: the envelope's
    envelope: Walk
    #: the signature's d=; None where no signature was seen
    signer: Walk | None = None


def is_aligned(author: Walk, other: Walk, mode: str) -> bool:
    """Whether *other* speaks for *author*: "s" wants the same name, anything else the same organisation."""
    if author.domain == other.domain:
        return True
    return mode.lower() != "s" and author.organisation == other.organisation


def aligned(found: Alignment) -> Line:
    """The line on whether SPF and DKIM speak for the domain that readers see."""
    name, policy = "alignment", found.author.policy
    if policy is None:
        return idle(name, "there is no DMARC record to be aligned with")
    by_spf = is_aligned(found.author, found.envelope, policy.tags.get("aspf", "r"))
    by_dkim = found.signer and is_aligned(found.author, found.signer, policy.tags.get("adkim", "r"))
    seen = f"From {found.author.domain}, envelope {found.envelope.domain}"
    seen += f", signature {found.signer.domain}" if found.signer else ", signature not seen yet (--seed)"
    if by_spf and by_dkim is not False:
        return passed(name, seen)
    sign = f"have the relay sign as d={found.author.domain}"
    return_to = f"let DIGEST_BOUNCE_DOMAIN be below {found.author.organisation}"
    if by_dkim:
        return warned(name, f"{seen}: SPF speaks for another domain, so all hangs on DKIM", return_to)
    if by_spf:
        return warned(name, f"{seen}: DKIM speaks for another domain; forwarded letters fail DMARC", sign)
    return failed(name, f"{seen}: neither SPF nor DKIM speaks for the sender", f"{sign}; and {return_to}")
