"""The style blocks that reach the inbox: what Gmail would throw away, and what would not win."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import tinycss2

from digest.lint.finding import Finding, error, shortened
from digest.lint.tree import Style, Tree, style

# Gmail takes 16 KB of <style> in all (caniemail, html-style, note 6) and once took 8,192 characters
# of one block; one mistake makes it drop the whole block.
BLOCK_LIMIT = 8_192
BLOCKS_LIMIT = 16_384
TEMPLATE = "Correct the second style block of the template."


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of a style block."""

    #: the condition of the @media it stands in, in lower case; "" outside of any
    media: str
    #: one selector, not a list
    selector: str
    style: Style


@lru_cache(maxsize=64)
def rules_of(text: str) -> tuple[tuple[Rule, ...], tuple[str, ...]]:
    """The rules of a block, and what in it a client may refuse."""
    rules: list[Rule] = []
    errors: list[str] = []
    for node in tinycss2.parse_stylesheet(text, skip_comments=True, skip_whitespace=True):
        if node.type == "qualified-rule":
            rules += _rules(node, "", errors)
        elif node.type == "at-rule" and node.lower_at_keyword == "media" and node.content is not None:
            condition = tinycss2.serialize(node.prelude).strip().lower()
            for inner in tinycss2.parse_rule_list(node.content, skip_comments=True, skip_whitespace=True):
                if inner.type == "qualified-rule":
                    rules += _rules(inner, condition, errors)
                else:
                    errors.append(f"something that is no rule stands in @media {condition}")
        elif node.type == "at-rule":
            errors.append(f"@{node.lower_at_keyword} is not read everywhere")
        else:
            errors.append(str(getattr(node, "message", node.type)))
    return tuple(rules), tuple(errors)


def _rules(node: "tinycss2.ast.QualifiedRule", media: str, errors: list[str]) -> list[Rule]:
    body = style(tinycss2.serialize(node.content))
    errors.extend(body.errors)
    selectors = tinycss2.serialize(node.prelude).strip()
    return [Rule(media, selector.strip(), body) for selector in selectors.split(",")]


def all_rules(tree: Tree) -> list[Rule]:
    """The rules of every style block of *tree*, in order."""
    return [rule for block in tree.all("style") for rule in rules_of("".join(block.itertext()))[0]]


def blocks(tree: Tree) -> Iterator[Finding]:
    """Point style-block."""
    total = 0
    for number, block in enumerate(tree.all("style"), 1):
        place, text = f"HTML: style block {number}", "".join(block.itertext())
        total += len(text)
        parent = tree.parents.get(block)
        if parent is None or parent.tag != "head":
            yield error("style-block", place, "It stands outside the head, where Gmail drops it.", TEMPLATE)
        if len(text) > BLOCK_LIMIT:
            message = f"It has {len(text):,} characters; Gmail may read {BLOCK_LIMIT:,}."
            yield error("style-block", place, message, TEMPLATE)
        for mark, name in (("/*", "a comment"), ("@import", "@import"), ("</", "</"), ("<!--", "<!--")):
            if mark in text:
                yield error("style-block", place, f"It holds {name}, which some clients trip over.", TEMPLATE)
        if re.search(r"rgba?\(\s*[\d.]+%?\s+[\d.]", text):
            message = "Colours with spaces instead of commas make Gmail drop the block."
            yield error("style-block", place, message, TEMPLATE)
        for fault in rules_of(text)[1]:
            yield error("style-block", place, f"It does not parse: {fault}.", TEMPLATE)
    if total > BLOCKS_LIMIT:
        message = f"The style blocks have {total:,} characters; Gmail reads {BLOCKS_LIMIT:,}."
        yield error("style-block", "HTML: head", message, TEMPLATE)


def queries(tree: Tree) -> Iterator[Finding]:
    """Points media-queries and style-classes."""
    rules = all_rules(tree)
    for query, name in (("max-width", "phones"), ("prefers-color-scheme: dark", "the dark")):
        plain = query.replace(" ", "")
        if not any(plain in rule.media.replace(" ", "") for rule in rules):
            message = f"There is no @media ({query}): nothing is said for {name}."
            yield error("media-queries", "HTML: style", message, TEMPLATE)
    for rule in rules:
        if not rule.media:
            continue
        for declaration in rule.style.declarations:
            if not declaration.important:
                message = f"{declaration.name} loses to the inlined styles without !important."
                yield error("media-queries", f"HTML: style {shortened(rule.selector)}", message, TEMPLATE)
    used = {name for element in tree.elements for name in element.get("class", "").split()}
    named = {name for rule in rules for name in re.findall(r"\.(-?[A-Za-z_][\w-]*)", rule.selector)}
    for name in sorted(named - used):
        message = f"No element has the class {name}: the rule is a leftover or a slip."
        yield error("style-classes", f"HTML: style .{name}", message, TEMPLATE)
