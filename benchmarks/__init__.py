"""What is measured, against whom, and what is proven at its full count.

`python -m benchmarks` writes docs/performance.md, `python -m benchmarks.prove` docs/proofs.md, and
`python -m benchmarks.pictures` docs/pictures. Speed is told as a ratio to a named peer that did the
same work in the same run, taking turns; absolute figures belong to the machine that is named there.
"""
