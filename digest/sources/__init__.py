"""Posts in: one small adapter per foreign format, one shape inside.

`reading.read_bytes` and `read_file` sniff a document and hand it to its adapter; every adapter
yields `raw.Raw`, which `refine.refine` turns into `found.Found`: nothing after that touches HTML or dates.
`fetch` is the only outgoing HTTP of the program.
"""
