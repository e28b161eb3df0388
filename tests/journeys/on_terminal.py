"""`digest` with its standard input as its controlling terminal: Ctrl-C typed there is one of a keyboard."""

import fcntl
import os
import termios

from digest.cli.app import main

if __name__ == "__main__":
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    main()
