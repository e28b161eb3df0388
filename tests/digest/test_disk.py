"""The disk a store lies on: a network's, or a full one, is refused before anything goes out."""

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from sqlmodel import SQLModel

from digest.database import open_engine
from digest.disk import ROOM, file_system, mounts, require_local, require_room
from digest.errors import DigestError
from digest.sending.commits import StoreFailed
from tests.digest.evil_server import Answer, EvilServer
from tests.digest.sending import QUICK, count_of, frozen, relay_at, run, tallied

MOUNTS = """\
21 1 254:0 / / rw,relatime - ext4 /dev/vda rw
22 21 0:40 / /srv/share rw,relatime shared:7 - nfs4 files.example:/share rw,vers=4.2
23 22 254:3 / /srv/share/local rw,relatime - ext4 /dev/vdb rw
24 21 0:41 / /srv/with\\040space rw,relatime master:1 propagate_from:2 - cifs //files.example/x rw
25 21 0:42 / /home/letters/far rw - fuse.sshfs letters@far.example: rw
26 21 0:43 / /host rw - 9p host rw
27 21 0:44 / /srv/covered rw - nfs files.example:/old rw
28 27 254:4 / /srv/covered rw - xfs /dev/vdc rw
29 21 0:45 / /mnt/usb rw - fuse.ntfs-3g /dev/sda1 rw
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/srv/letters/digest.db", "ext4"),
        ("/srv/share/digest.db", "nfs4"),
        ("/srv/shared/digest.db", "ext4"),  # a name that only begins like a mount
        ("/srv/share/local/digest.db", "ext4"),
        ("/srv/with space/digest.db", "cifs"),
        ("/home/letters/far/digest.db", "fuse.sshfs"),
        ("/host/digest.db", "9p"),
        ("/srv/covered/digest.db", "xfs"),
    ],
)
def test_the_innermost_and_latest_mount_counts(path: str, kind: str) -> None:
    assert file_system(Path(path), MOUNTS) == kind


@pytest.mark.parametrize("folder", ["/srv/share", "/srv/with space", "/home/letters/far", "/host"])
def test_a_store_on_a_network_file_system_is_refused_in_one_line(folder: str) -> None:
    """R-5, F-26."""
    with pytest.raises(DigestError, match="network file system") as raised:
        require_local(Path(folder) / "digest.db", MOUNTS)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("folder", ["/srv/letters", "/srv/share/local", "/srv/covered", "/mnt/usb"])
def test_a_disk_of_this_machine_is_not(folder: str) -> None:
    require_local(Path(folder) / "digest.db", MOUNTS)


def test_a_link_into_the_network_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "digest.db").symlink_to(tmp_path / "real" / "digest.db")
    with pytest.raises(DigestError, match="nfs"):
        require_local(tmp_path / "digest.db", f"1 1 0:1 / {tmp_path}/real rw - nfs x:/y rw\n")


@pytest.mark.parametrize("text", ["", "nonsense", "1 2 3\n - \n"])
def test_what_cannot_be_read_refuses_nobody(text: str) -> None:
    require_local(Path("/srv/digest.db"), text)


def test_this_machine_tells_what_is_mounted() -> None:
    """The real table, where there is one: the kernel's own folder is of the kernel's own type."""
    if not mounts():
        pytest.skip("this kernel has no mountinfo")
    assert file_system(Path("/proc/self"), mounts()) == "proc"


def test_a_disk_that_is_nearly_full_is_refused(small_disk: Path) -> None:
    """F-9."""
    require_room(small_disk / "digest.db")
    (small_disk / "rest").write_bytes(b"x" * (16 * 1024 * 1024 - ROOM + 8192))
    with pytest.raises(DigestError, match="is full"):
        require_room(small_disk / "digest.db")


def test_a_disk_that_fills_in_the_middle_stops_the_run_and_costs_at_most_the_open_letters(
    small_disk: Path,
) -> None:
    """F-9: no further letter is begun; with room again the rest goes out."""
    engine = open_engine(f"sqlite:///{small_disk}/digest.db")
    SQLModel.metadata.create_all(engine)
    issue_id = frozen(engine, 200)
    rest = small_disk / "rest"

    def dot(_line: str) -> Answer:
        if server.asked("dot") == 20:
            with suppress(OSError), rest.open("wb", buffering=0) as file:
                while file.write(b"x" * 4096) == 4096:
                    pass
        return b"250 ok\r\n"

    with EvilServer({"dot": dot}) as server:
        with pytest.raises(StoreFailed, match="full"):
            run(engine, issue_id, relay_at(server.port), manner=replace(QUICK, patience=0.3))
        assert 20 <= len(server.letters) < 200
        rest.unlink()
        tally = tallied(engine, issue_id)
        assert tally.balanced
        assert tally.sending <= QUICK.connections
        run(engine, issue_id, relay_at(server.port), manner=replace(QUICK, resend=False))
    assert count_of(engine, issue_id).get("accepted", 0) >= 200 - QUICK.connections
    assert set(server.copies) == {1}
    engine.dispose()
