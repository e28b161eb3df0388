"""One look of a postroom at what was asked for, in a process of its own, to be killed.

`python postroom_run.py DATABASE_URL PORT` uses the relay on PORT of this machine.
"""

import sys

from digest.database import open_engine
from tests.digest.website import NOW, postroom, publication

if __name__ == "__main__":
    postroom(open_engine(sys.argv[1]), publication(), int(sys.argv[2])).work(NOW)
