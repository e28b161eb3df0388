"""Files that may be gzip, unpacked as they are read and never beyond a limit."""

import gzip
import io
import zlib
from typing import BinaryIO, cast

from digest.errors import DigestError
from digest.sources.elements import Opener

#: bytes a packed file may unpack to: 292 KB of gzip become 300 MB without one
LIMIT = 100 * 1024 * 1024
_GZIP = b"\x1f\x8b"


def unpacked(opener: Opener) -> Opener:
    """What *opener* opens, unpacked where it is gzip; reading more than 100 MB of it raises DigestError."""
    with opener() as file:
        packed = file.read(2) == _GZIP
    return (lambda: cast(BinaryIO, _Unpacked(opener()))) if packed else opener


class _Unpacked(io.RawIOBase):
    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._gzip = gzip.GzipFile(fileobj=file)
        self._left = LIMIT

    def read(self, size: int = -1) -> bytes:
        """The next *size* bytes; DigestError past the limit or where the file is damaged."""
        try:
            chunk = self._gzip.read(self._left + 1 if size < 0 else size)
        except (EOFError, OSError, zlib.error) as error:
            raise DigestError(f"the gzip file is damaged: {error}") from error
        self._left -= len(chunk)
        if self._left < 0:
            raise DigestError(
                f"it unpacks to more than {LIMIT // 1024**2} MB: unpack it yourself if you trust it"
            )
        return chunk

    def close(self) -> None:
        """Both files are closed."""
        self._gzip.close()
        self._file.close()
        super().close()
