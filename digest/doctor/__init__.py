"""What is wrong with an installation: facts, gathered by a few thin readers, and pure checks on them.

::

    settings, files, store, clock ──┐
    DNS ────────────────────────────┤
    pages, relay, mailbox ──────────┼──> facts ──> checks ──> lines: pass, warn, fail, each with its mend
    a seed letter, read back ───────┘

Whoever cannot be asked becomes a line, never an error; each has a time. Nothing is sent but where a
seed letter is asked for.
"""
