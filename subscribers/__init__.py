"""Who receives, and by what right.

This package keeps the subscribers, the proof of their consent and the list of addresses never
to be written to again. It knows nothing of posts, issues or letters: what it needs from the
world (the time, the keys, a session) comes in as arguments.
"""
