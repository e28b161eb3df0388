"""The lint: what would hurt in an inbox, as findings with a severity.

::

    bytes -> opened -> message, recipient ──────────────────────────────────┐
               └─ tree -> markup, sheets, inline, legible, links, text, content ─┴─> check -> [Finding]

It reads the finished bytes of a letter, not what made them: a fault of a template, a theme, a post or
this program is seen alike. Nothing here fetches anything, and nothing here changes anything.
"""
