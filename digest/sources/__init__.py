"""Posts in: one small adapter per foreign format, one shape inside.

`reading.read` sniffs a document and hands it to its adapter; every adapter yields `raw.Raw`,
which `raw.refine` turns into `found.Found`: nothing after that touches HTML or dates.
`fetch` is the only outgoing HTTP of the program.
"""
