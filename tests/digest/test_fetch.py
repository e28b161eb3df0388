"""The fetcher on real sockets of 127.0.0.1: what it refuses (S-4), what a hostile answer costs (S-13)."""

import gzip
import socket
import ssl
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from digest.sources.addresses import is_public, may_connect, meant
from digest.sources.fetch import Fetcher
from digest.sources.wire import NotFetched
from tests.conftest import lacking

LOOPBACK = (ip_network("127.0.0.0/8"),)
Page = Callable[[BaseHTTPRequestHandler], None]


class Site(ThreadingHTTPServer):
    """A web server of pages given as functions; remembers what it was asked."""

    daemon_threads = True

    def __init__(self, host: str = "127.0.0.1") -> None:
        super().__init__((host, 0), _Pages)
        self.pages: dict[str, Page] = {}
        self.asked: list[tuple[str, dict[str, str]]] = []

    @property
    def root(self) -> str:
        return f"http://{self.server_address[0]!s}:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """The fetcher hanging up on a hostile page is what is being tested."""


class _Pages(BaseHTTPRequestHandler):
    server: Site

    def do_GET(self) -> None:
        self.server.asked.append((self.path, {k.lower(): v for k, v in self.headers.items()}))
        self.server.pages.get(self.path, answer(404))(self)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def answer(status: int, body: bytes = b"", **headers: str) -> Page:
    """A page that answers so; underscores in header names stand for dashes."""

    def page(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in {"Content_Length": str(len(body)), **headers}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return page


def raw(data: bytes, *, every: float = 0.0) -> Page:
    """A page that writes *data* to the socket: at once, or a byte *every* so many seconds."""

    def page(handler: BaseHTTPRequestHandler) -> None:
        if not every:
            handler.wfile.write(data)
        for byte in data if every else b"":
            handler.wfile.write(bytes([byte]))
            handler.wfile.flush()
            time.sleep(every)

    return page


def serving(host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> Iterator[Site]:
    with Site(host) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def site() -> Iterator[Site]:
    yield from serving()


@pytest.fixture(scope="module")
def fetcher() -> Fetcher:
    return Fetcher(allow=LOOPBACK, contact="https://example.org/", deadline=5)


def names(**table: str) -> Callable[[str, int], list[str]]:
    """Resolves numbers and the names in *table*, whose underscores stand for dots; asks nobody."""
    known = {name.replace("_", "."): addresses.split() for name, addresses in table.items()}

    def resolve(host: str, port: int) -> list[str]:
        if host in known:
            return known[host]
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        return [str(entry[4][0]) for entry in found]

    return resolve


# ---------------------------------------------------------------- S-4: where it never goes

NOT_PUBLIC = "is not on the public internet"
FORBIDDEN = [
    # loopback, in every spelling the system's own parser takes
    ("http://127.0.0.1:{port}/", NOT_PUBLIC),
    ("http://127.1:{port}/", NOT_PUBLIC),
    ("http://127.0.1:{port}/", NOT_PUBLIC),
    ("http://2130706433:{port}/", NOT_PUBLIC),
    ("http://0x7f000001:{port}/", NOT_PUBLIC),
    ("http://0x7f.1:{port}/", NOT_PUBLIC),
    ("http://0x7F.0.0.0x1:{port}/", NOT_PUBLIC),
    ("http://017700000001:{port}/", NOT_PUBLIC),
    ("http://0177.0.0.1:{port}/", "not a URL"),
    ("http://0177.1:{port}/", NOT_PUBLIC),
    ("http://127.255.255.254:{port}/", NOT_PUBLIC),
    ("http://0:{port}/", NOT_PUBLIC),
    ("http://0.0.0.0:{port}/", NOT_PUBLIC),
    ("http://127\u30020\u30020\u30021:{port}/", NOT_PUBLIC),
    ("http://[::1]:{port}/", NOT_PUBLIC),
    ("http://[::]:{port}/", NOT_PUBLIC),
    ("http://[0:0:0:0:0:0:0:1]:{port}/", NOT_PUBLIC),
    # an IPv4 address inside an IPv6 one
    ("http://[::ffff:127.0.0.1]:{port}/", NOT_PUBLIC),
    ("http://[::ffff:7f00:1]:{port}/", NOT_PUBLIC),
    ("http://[::ffff:a9fe:a9fe]/latest/meta-data/", NOT_PUBLIC),
    ("http://[::127.0.0.1]:{port}/", NOT_PUBLIC),
    ("http://[64:ff9b::7f00:1]:{port}/", NOT_PUBLIC),
    ("http://[64:ff9b::169.254.169.254]/", NOT_PUBLIC),
    ("http://[64:ff9b:1::7f00:1]/", NOT_PUBLIC),
    ("http://[2002:7f00:1::]/", NOT_PUBLIC),
    ("http://[2002:a9fe:a9fe::1]/", NOT_PUBLIC),
    ("http://[2001:0:4136:e378:8000:63bf:80ff:fffe]/", NOT_PUBLIC),
    ("http://[2600::5efe:10.0.0.1]/", NOT_PUBLIC),
    # private, link-local, shared, reserved, documentation, multicast
    ("http://10.0.0.1/", NOT_PUBLIC),
    ("http://172.16.0.1/", NOT_PUBLIC),
    ("http://172.31.255.255/", NOT_PUBLIC),
    ("http://192.168.1.1/", NOT_PUBLIC),
    ("http://169.254.169.254/latest/meta-data/", NOT_PUBLIC),
    ("http://2852039166/latest/meta-data/", NOT_PUBLIC),
    ("http://0xA9FEA9FE/", NOT_PUBLIC),
    ("http://100.64.0.1/", NOT_PUBLIC),
    ("http://100.100.100.200/latest/meta-data/", NOT_PUBLIC),
    ("http://192.0.0.192/opc/v1/", NOT_PUBLIC),
    ("http://168.63.129.16/machine/", NOT_PUBLIC),
    ("http://192.0.2.1/", NOT_PUBLIC),
    ("http://198.51.100.7/", NOT_PUBLIC),
    ("http://203.0.113.9/", NOT_PUBLIC),
    ("http://198.18.0.1/", NOT_PUBLIC),
    ("http://224.0.0.1/", NOT_PUBLIC),
    ("http://239.255.255.250/", NOT_PUBLIC),
    ("http://240.0.0.1/", NOT_PUBLIC),
    ("http://255.255.255.255/", NOT_PUBLIC),
    ("http://[fc00::1]/", NOT_PUBLIC),
    ("http://[fd00:ec2::254]/latest/meta-data/", NOT_PUBLIC),
    ("http://[fe80::1]/", NOT_PUBLIC),
    ("http://[fec0::1]/", NOT_PUBLIC),
    ("http://[ff02::1]/", NOT_PUBLIC),
    ("http://[2001:db8::1]/", NOT_PUBLIC),
    ("http://[3fff::1]/", NOT_PUBLIC),
    ("http://[100::1]/", NOT_PUBLIC),
    ("http://[5f00::1]/", NOT_PUBLIC),
    # names
    ("http://localtest.example:{port}/", NOT_PUBLIC),
    ("http://metadata.example/", NOT_PUBLIC),
    ("http://half.example/", NOT_PUBLIC),
    ("http://nowhere.example/", "no address is known"),
    # ports of the public internet
    ("http://8.8.8.8:8080/", "port 8080"),
    ("https://8.8.8.8:22/", "port 22"),
    ("http://public.example:25/", "port 25"),
    ("http://8.8.8.8:0/", "no host"),
    ("http://8.8.8.8:65536/", "no host"),
    # other schemes
    ("file:///etc/passwd", "only http"),
    ("file://127.0.0.1/etc/passwd", "only http"),
    ("gopher://127.0.0.1:{port}/_GET", "only http"),
    ("ftp://127.0.0.1:{port}/", "only http"),
    ("dict://127.0.0.1:{port}/", "only http"),
    ("data:text/xml,<rss/>", "only http"),
    ("javascript:alert(1)", "only http"),
    ("//127.0.0.1:{port}/", "only http"),
    ("/etc/passwd", "only http"),
    # credentials, and what looks like a host
    ("http://user:secret@127.0.0.1:{port}/", "leave them out"),
    ("http://user@127.0.0.1:{port}/", "leave them out"),
    ("http://@127.0.0.1:{port}/", "leave them out"),
    ("http://example.org\\@127.0.0.1:{port}/", "leave them out"),
    ("http://example.org:80@127.0.0.1:{port}/", "leave them out"),
    # no host at all
    ("http:///127.0.0.1", "no host"),
    ("http:127.0.0.1", "no host"),
    ("http://", "no host"),
    ("http://%31%32%37.0.0.1/", "no host"),
    ("http://exa mple.org/", "no host"),
    ("http://[fe80::1%25lo]/", "no host"),
    ("http://[::1", "not a URL"),
    ("http://user:secret@[::1", "not a URL"),
    ("http://127.0.0.1:{port}/\r\nX-Evil: 1", "not a URL"),
    ("", "only http"),
]


@pytest.fixture(scope="module")
def canary() -> Iterator[Site]:
    """A server nobody may ask."""
    yield from serving()


@pytest.fixture(scope="module")
def strict() -> Fetcher:
    """A fetcher that is allowed nothing beyond the public internet, and asks no name server."""
    resolve = names(
        localtest_example="127.0.0.1",
        metadata_example="169.254.169.254",
        half_example="8.8.8.8 10.0.0.1",
        public_example="8.8.8.8",
        nowhere_example="",
    )
    return Fetcher(contact="https://example.org/", resolve=resolve, deadline=2)


@pytest.mark.parametrize(("url", "why"), FORBIDDEN, ids=[url for url, _ in FORBIDDEN])
def test_a_forbidden_url_is_refused_in_one_line_and_nothing_is_asked(
    canary: Site, strict: Fetcher, url: str, why: str
) -> None:
    """S-4."""
    with pytest.raises(NotFetched) as refusal:
        strict.get(url.format(port=canary.server_address[1]))

    assert why in str(refusal.value)
    assert len(str(refusal.value).splitlines()) == 1
    assert "secret" not in str(refusal.value)
    assert canary.asked == []


def test_the_table_has_the_sixty_urls_that_were_asked_for() -> None:
    assert len(FORBIDDEN) >= 60


def test_a_forbidden_address_is_told_with_the_setting_that_would_allow_it(site: Site) -> None:
    with pytest.raises(NotFetched, match=r"^http://127\.0\.0\.1:\d+/: .* DIGEST_FETCH_ALLOW$"):
        Fetcher(contact="x").get(f"{site.root}/")


@pytest.mark.parametrize(
    ("text", "port", "expected"),
    [
        ("8.8.8.8", 80, True),
        ("8.8.8.8", 443, True),
        ("8.8.8.8", 8080, False),
        ("2606:4700::1111", 443, True),
        ("64:ff9b::8.8.8.8", 443, True),
        ("::ffff:8.8.8.8", 443, True),
        ("172.15.0.1", 80, True),
        ("172.32.0.1", 80, True),
        ("10.1.2.3", 8080, True),
        ("::ffff:10.1.2.3", 22, True),
        ("10.2.0.1", 80, False),
        ("fd00::1", 8080, True),
        ("fd01::1", 80, False),
    ],
)
def test_public_hosts_on_two_ports_and_allowed_networks_on_all(text: str, port: int, expected: bool) -> None:
    allow = (ip_network("10.1.0.0/16"), ip_network("fd00::/64"))

    assert may_connect(ip_address(text), port, allow) is expected


@given(st.ip_addresses())
def test_what_python_calls_private_is_never_public_and_nothing_is_by_its_ipv6_form(address: Any) -> None:
    """S-4: the tables hold at least what `ipaddress` knows, whichever way the address is written."""
    if is_public(address):
        assert meant(address).is_global
        assert not meant(address).is_multicast
    if address.version == 4:
        for form in (f"::ffff:{address}", f"64:ff9b::{address}"):
            assert is_public(ip_address(form)) == is_public(address)


@pytest.mark.parametrize(
    ("location", "why"),
    [
        ("http://169.254.169.254/latest/meta-data/", NOT_PUBLIC),
        ("//169.254.169.254/latest/", NOT_PUBLIC),
        ("http://[::ffff:10.0.0.1]/", NOT_PUBLIC),
        ("http://inside.example/", NOT_PUBLIC),
        ("file:///etc/passwd", "only http"),
        ("gopher://127.0.0.1/", "only http"),
        ("http://user:secret@127.0.0.1/", "leave them out"),
        ("http://[", "no host"),
        ("http://h\t/", "sends on to nowhere"),
        ("", "sends on to nowhere"),
    ],
)
def test_a_redirect_is_checked_like_a_first_address(site: Site, location: str, why: str) -> None:
    """S-4."""
    site.pages["/"] = answer(302, Location=location)
    fetcher = Fetcher(allow=LOOPBACK, contact="x", resolve=names(inside_example="10.0.0.1"))

    with pytest.raises(NotFetched, match=why):
        fetcher.get(f"{site.root}/")


def test_a_name_is_resolved_once_and_the_address_that_was_checked_is_the_one_connected_to(site: Site) -> None:
    """S-4: a resolver that answers with something else the second time (rebinding) finds no second time."""
    answers = [["127.0.0.1"], ["127.0.0.9"], ["10.0.0.1"]]
    site.pages["/"] = answer(200, b"checked")
    url = f"http://rebinding.example:{site.server_address[1]}/"
    fetcher = Fetcher(
        allow=(ip_network("127.0.0.1/32"),), contact="x", resolve=lambda host, port: answers.pop(0)
    )

    assert fetcher.get(url).body == b"checked"
    assert len(answers) == 2
    with pytest.raises(NotFetched, match=r"rebinding\.example \(127\.0\.0\.9\) " + NOT_PUBLIC):
        fetcher.get(url)
    assert site.asked[0][1]["host"] == f"rebinding.example:{site.server_address[1]}"
    assert len(site.asked) == 1


def test_a_redirect_to_the_same_name_is_resolved_and_checked_again(site: Site) -> None:
    """S-4: rebinding between two requests of one fetch."""
    answers = [["127.0.0.1"], ["127.0.0.9"]]
    site.pages["/"] = answer(302, Location="/next")
    site.pages["/next"] = answer(200, b"inside")
    fetcher = Fetcher(
        allow=(ip_network("127.0.0.1/32"),), contact="x", resolve=lambda host, port: answers.pop(0)
    )

    with pytest.raises(NotFetched, match=NOT_PUBLIC):
        fetcher.get(f"http://rebinding.example:{site.server_address[1]}/")
    assert [path for path, _ in site.asked] == ["/"]


def test_the_next_address_of_a_name_is_tried_where_one_does_not_answer(site: Site) -> None:
    site.pages["/"] = answer(200, b"second")
    fetcher = Fetcher(allow=LOOPBACK, contact="x", resolve=lambda host, port: ["127.0.0.77", "127.0.0.1"])

    assert fetcher.get(f"http://two.example:{site.server_address[1]}/").body == b"second"


def test_proxies_and_passwords_of_the_environment_are_not_used(
    site: Site, fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """S-4."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login us password canary\n")
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9/")
    monkeypatch.setenv("NETRC", str(netrc))
    site.pages["/"] = answer(200, b"direct", Set_Cookie="a=b")

    fetcher.get(f"{site.root}/")
    assert fetcher.get(f"{site.root}/").body == b"direct"
    assert not {"authorization", "cookie"} & set(site.asked[1][1])


# ---------------------------------------------------------------- S-13: what a hostile answer costs

COST = """
import sys
from ipaddress import ip_network
from pathlib import Path
from digest.sources.fetch import Fetcher
from digest.sources.wire import NotFetched
try:
    Fetcher(allow=(ip_network("127.0.0.0/8"),), contact="x").get(sys.argv[1])
except NotFetched as error:
    print(error)
status = Path("/proc/self/status").read_text()
print(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))
"""


def bomb(megabytes: int) -> bytes:
    packer = zlib.compressobj(9, wbits=31)
    parts = [packer.compress(bytes(1024 * 1024)) for _ in range(megabytes)]
    return b"".join([*parts, packer.flush()])


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="this machine lacks /proc")
def test_a_gzip_bomb_is_refused_and_costs_less_than_100_mb(site: Site) -> None:
    """S-13: 300 MB of zeros in 0.3 MB of gzip; the peak of a process of its own is measured."""
    site.pages["/"] = answer(200, bomb(300), Content_Encoding="gzip")

    child = subprocess.run(
        [sys.executable, "-c", COST, f"{site.root}/"], capture_output=True, text=True, timeout=60, check=True
    )

    line, peak = child.stdout.splitlines()
    assert line.endswith("is longer than 10 MB, decompressed")
    assert int(peak) < 100_000, f"{peak} KB"


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({}, bytes(5001)),
        ({"Content_Encoding": "gzip"}, gzip.compress(bytes(5001))),
        ({"Content_Encoding": "GZIP"}, gzip.compress(bytes(2000)) * 3),
        ({"Content_Encoding": "gzip"}, gzip.compress(b"")[:10] + b"\x00\x00\x00\xff\xff" * 20_000),
    ],
    ids=["plain", "gzip", "three gzips", "gzip of nothing"],
)
def test_an_answer_over_the_limit_is_refused(
    site: Site, fetcher: Fetcher, headers: dict[str, str], body: bytes
) -> None:
    """S-13: what counts is what comes out; a stream that yields nothing is counted as it goes in."""
    site.pages["/"] = answer(200, body, **headers)

    with pytest.raises(NotFetched, match="is longer than"):
        fetcher.get(f"{site.root}/", limit=5000)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (gzip.compress(b"one"), b"one"),
        (gzip.compress(b"one") + gzip.compress(b"two"), b"onetwo"),
        (gzip.compress(b"one") + bytes(20), b"one"),
        (b"", b""),
    ],
    ids=["one", "two members", "padded", "empty"],
)
def test_gzip_is_unpacked_whole(site: Site, fetcher: Fetcher, body: bytes, expected: bytes) -> None:
    site.pages["/"] = answer(200, body, Content_Encoding="gzip")

    assert fetcher.get(f"{site.root}/", limit=6).body == expected
    assert site.asked[0][1]["accept-encoding"] == "gzip"


@pytest.mark.parametrize(
    ("page", "why"),
    [
        (answer(200, gzip.compress(b"one" * 99)[:-9], Content_Encoding="gzip"), "broke off before its end"),
        (answer(200, b"<rss/>", Content_Encoding="gzip"), "says that it is gzip, and is not"),
        (answer(200, gzip.compress(b"") * 102, Content_Encoding="gzip"), "too many gzip streams"),
        (answer(200, b"x", Content_Encoding="br"), "compressed with br"),
        (raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort"), "does not speak HTTP as it should"),
        (raw(b"\x15\x03\x01\x00\x02"), "does not speak HTTP as it should"),
        (raw(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000), "does not speak HTTP as it should|broke off"),
        (raw(b""), "does not speak HTTP as it should"),
    ],
    ids=["cut gzip", "no gzip", "gzips", "brotli", "cut body", "not http", "long header", "nothing"],
)
def test_a_broken_answer_is_an_error_and_never_a_short_body(
    site: Site, fetcher: Fetcher, page: Page, why: str
) -> None:
    site.pages["/"] = page

    with pytest.raises(NotFetched, match=why) as refusal:
        fetcher.get(f"{site.root}/")
    assert len(str(refusal.value).splitlines()) == 1


@pytest.mark.parametrize(
    "page",
    [
        raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + b"x" * 100, every=0.1),
        raw(b"HTTP/1.1 200 OK\r\nX-Slow: " + b"x" * 100, every=0.1),
        raw(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 100, every=0.1),
    ],
    ids=["body", "header", "early hints"],
)
def test_a_server_that_drips_ends_at_the_deadline(site: Site, page: Page) -> None:
    """S-13: a byte now and then keeps every single read alive; the deadline stands over all of them."""
    site.pages["/"] = page
    begun = time.monotonic()

    with pytest.raises(NotFetched, match=r"was not done after 0\.5 seconds"):
        Fetcher(allow=LOOPBACK, contact="x", deadline=0.5).get(f"{site.root}/")

    assert 0.4 < time.monotonic() - begun < 5


def test_a_server_that_is_silent_ends_at_the_deadline(site: Site) -> None:
    """S-13."""
    over = threading.Event()
    site.pages["/"] = lambda handler: over.wait(8) and None
    begun = time.monotonic()

    with pytest.raises(NotFetched, match="was not done after"):
        Fetcher(allow=LOOPBACK, contact="x", deadline=0.3).get(f"{site.root}/")

    assert time.monotonic() - begun < 5
    over.set()


def test_redirects_share_one_deadline(site: Site) -> None:
    """S-13."""

    def slow_redirect(handler: BaseHTTPRequestHandler) -> None:
        time.sleep(0.3)
        answer(302, Location="/")(handler)

    site.pages["/"] = slow_redirect

    with pytest.raises(NotFetched, match="was not done after"):
        Fetcher(allow=LOOPBACK, contact="x", deadline=0.5).get(f"{site.root}/")


def test_a_name_lookup_that_hangs_ends_at_the_deadline() -> None:
    """S-13."""
    hangs = threading.Event()
    begun = time.monotonic()

    def resolve(host: str, port: int) -> list[str]:
        hangs.wait(20)
        return ["127.0.0.1"]

    with pytest.raises(NotFetched, match="was not done after"):
        Fetcher(contact="x", deadline=0.3, resolve=resolve).get("http://slow.example/")

    assert time.monotonic() - begun < 5
    hangs.set()


def test_a_closed_port_is_told() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: nobody else gets it
        with pytest.raises(NotFetched, match="cannot be reached: Connection refused"):
            Fetcher(allow=LOOPBACK, contact="x").get(f"http://127.0.0.1:{taken.getsockname()[1]}/")


# ---------------------------------------------------------------- TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate of blog.example and its key, in one file."""
    made = tmp_path_factory.mktemp("tls") / "blog.pem"
    command = f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=blog.example -keyout {made}.key"
    command += f" -out {made}.crt -addext subjectAltName=DNS:blog.example"
    try:
        subprocess.run(command.split(), check=True, capture_output=True)
    except FileNotFoundError:
        lacking("openssl")
    made.write_bytes(Path(f"{made}.crt").read_bytes() + Path(f"{made}.key").read_bytes())
    return made


@pytest.fixture
def tls_site(certificate: Path) -> Iterator[Site]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    yield from serving(tls=context)


def test_a_self_signed_certificate_is_refused(tls_site: Site) -> None:
    fetcher = Fetcher(allow=LOOPBACK, contact="x", resolve=names(blog_example="127.0.0.1"))

    with pytest.raises(NotFetched, match=r"certificate is not to be trusted: self.signed certificate"):
        fetcher.get(f"https://blog.example:{tls_site.server_address[1]}/")
    assert tls_site.asked == []


def test_the_certificate_is_checked_against_the_name_though_the_address_is_connected_to(
    tls_site: Site, certificate: Path
) -> None:
    """S-4: SNI, certificate and Host are of the name; the address is the checked one."""
    trusting = ssl.create_default_context(cafile=str(certificate))
    resolve = names(blog_example="127.0.0.1", other_example="127.0.0.1")
    fetcher = Fetcher(allow=LOOPBACK, contact="x", resolve=resolve, tls=trusting)
    port = tls_site.server_address[1]
    tls_site.pages["/"] = answer(200, b"named")

    assert fetcher.get(f"https://blog.example:{port}/").body == b"named"
    assert tls_site.asked[0][1]["host"] == f"blog.example:{port}"
    with pytest.raises(NotFetched, match="Hostname mismatch"):
        fetcher.get(f"https://other.example:{port}/")


def test_a_redirect_from_https_to_http_is_refused(tls_site: Site, site: Site, certificate: Path) -> None:
    trusting = ssl.create_default_context(cafile=str(certificate))
    fetcher = Fetcher(allow=LOOPBACK, contact="x", resolve=names(blog_example="127.0.0.1"), tls=trusting)
    tls_site.pages["/"] = answer(301, Location=f"{site.root}/")

    with pytest.raises(NotFetched, match="sends from https to http"):
        fetcher.get(f"https://blog.example:{tls_site.server_address[1]}/")
    assert site.asked == []


def test_plain_http_on_an_https_address_is_told(site: Site, fetcher: Fetcher) -> None:
    with pytest.raises(NotFetched, match="no TLS connection came about"):
        fetcher.get(site.root.replace("http:", "https:") + "/")


# ---------------------------------------------------------------- what an answer says


def test_an_answer_comes_with_all_that_its_headers_say(site: Site, fetcher: Fetcher) -> None:
    site.pages["/feed/"] = answer(
        200,
        b"<rss/>",
        Content_Type='application/rss+xml; charset="UTF-8"',
        ETag='W/"a1"',
        Last_Modified="Wed, 30 Sep 2015 20:30:00 GMT",
        X_WP_TotalPages="3",
        Link='</wp-json/>; rel="https://api.w.org/", <?paged=2>; title="a, b"; rel="next last"',
    )

    found = fetcher.get(f"{site.root}/feed/#top")

    assert (found.url, found.status, found.body) == (f"{site.root}/feed/", 200, b"<rss/>")
    assert (found.content_type, found.charset) == ('application/rss+xml; charset="UTF-8"', "utf-8")
    assert (found.etag, found.last_modified) == ('W/"a1"', "Wed, 30 Sep 2015 20:30:00 GMT")
    assert (found.unchanged, found.moved_to) == (False, None)
    assert found.headers["x-wp-totalpages"] == "3"
    assert found.links == {
        "https://api.w.org/": f"{site.root}/wp-json/",
        "next": f"{site.root}/feed/?paged=2",
        "last": f"{site.root}/feed/?paged=2",
    }


def test_the_fetcher_says_who_it_is_and_how_to_reach_its_keeper(site: Site) -> None:
    site.pages["/"] = answer(200)

    Fetcher(allow=LOOPBACK, contact="https://example.org/\r\nX: y").get(f"{site.root}/", accept="text/html")

    headers = site.asked[0][1]
    assert headers["user-agent"] == "monthly-digest (+https://example.org/X:y)"
    assert headers["accept"] == "text/html"


def test_what_has_not_changed_is_not_sent_again(site: Site, fetcher: Fetcher) -> None:
    site.pages["/"] = answer(304, ETag='"a"')

    found = fetcher.get(f"{site.root}/", etag='"a"', last_modified="Wed, 30 Sep 2015 20:30:00 GMT")

    assert (found.unchanged, found.body, found.etag) == (True, b"", '"a"')
    assert site.asked[0][1]["if-none-match"] == '"a"'
    assert site.asked[0][1]["if-modified-since"] == "Wed, 30 Sep 2015 20:30:00 GMT"


def test_a_304_that_nobody_asked_for_is_no_content(site: Site, fetcher: Fetcher) -> None:
    site.pages["/"] = answer(304)

    with pytest.raises(NotFetched, match="answered 304"):
        fetcher.get(f"{site.root}/")


def test_an_etag_that_cannot_be_sent_back_is_left_out(site: Site, fetcher: Fetcher) -> None:
    site.pages["/"] = answer(200, b"x", ETag='"\xe9"')

    fetcher.get(f"{site.root}/", etag=fetcher.get(f"{site.root}/").etag)

    assert "if-none-match" not in site.asked[1][1]


def test_the_marks_of_an_answer_that_expires_at_once_are_not_kept(site: Site, fetcher: Fetcher) -> None:
    site.pages["/"] = answer(200, b"x", ETag='"old"', Last_Modified="now", Expires="0")

    found = fetcher.get(f"{site.root}/")

    assert (found.etag, found.last_modified) == (None, None)


@pytest.mark.parametrize(
    ("first", "second", "moved"),
    [(301, 308, True), (301, 302, False), (307, 301, False), (302, 302, False), (303, 308, False)],
)
def test_a_place_has_moved_only_if_every_redirect_was_permanent(
    site: Site, fetcher: Fetcher, first: int, second: int, moved: bool
) -> None:
    site.pages["/a"] = answer(first, Location="b")
    site.pages["/b"] = answer(second, Location="/c?x=1#y")
    site.pages["/c?x=1"] = answer(200, b"here")

    found = fetcher.get(f"{site.root}/a")

    assert (found.url, found.body) == (f"{site.root}/c?x=1", b"here")
    assert found.moved_to == (f"{site.root}/c?x=1" if moved else None)


def test_five_redirects_are_followed_and_a_sixth_is_not(site: Site, fetcher: Fetcher) -> None:
    for number in range(7):
        site.pages[f"/{number}"] = answer(302, Location=f"/{number + 1}")
    site.pages["/6"] = answer(200, b"far")

    assert fetcher.get(f"{site.root}/1").body == b"far"
    with pytest.raises(NotFetched, match="more than 5 times"):
        fetcher.get(f"{site.root}/0")
    assert len(site.asked) == 12


@pytest.mark.parametrize(
    ("page", "why", "status", "wait"),
    [
        (answer(403, b"Just a moment", cf_mitigated="challenge"), "Cloudflare wants to see", 403, None),
        (answer(403), "is not shown to us", 403, None),
        (answer(401, WWW_Authenticate="Basic"), "is not shown to us", 401, None),
        (answer(404), "check the address", 404, None),
        (answer(410), "is gone for good", 410, None),
        (answer(418), "answered 418", 418, None),
        (answer(429, Retry_After="60"), "asked too often .* in 60 seconds", 429, 60),
        (answer(500), "in trouble .* later", 500, None),
        (answer(503, Retry_After="120"), "in trouble .* in 120 seconds", 503, 120),
        (answer(503, Retry_After="soon"), "in trouble .* later", 503, None),
    ],
)
def test_a_refusal_is_told_in_one_line(
    site: Site, fetcher: Fetcher, page: Page, why: str, status: int, wait: int | None
) -> None:
    site.pages["/"] = page

    with pytest.raises(NotFetched, match=why) as refusal:
        fetcher.get(f"{site.root}/")

    assert str(refusal.value).startswith(f"{site.root}/: ")
    assert (refusal.value.status, refusal.value.retry_after) == (status, wait)


def test_a_date_to_come_back_at_is_counted_on_the_servers_own_clock(site: Site, fetcher: Fetcher) -> None:
    site.pages["/"] = raw(
        b"HTTP/1.1 503 No\r\nDate: Wed, 30 Sep 2015 20:00:00 GMT\r\n"
        b"Retry-After: Wed, 30 Sep 2015 20:05:00 GMT\r\nContent-Length: 0\r\n\r\n"
    )

    with pytest.raises(NotFetched) as refusal:
        fetcher.get(f"{site.root}/")
    assert refusal.value.retry_after == 300


def test_a_ping_says_what_went_wrong_and_never_the_secret_address(site: Site, fetcher: Fetcher) -> None:
    site.pages["/canary"] = answer(200, b"OK")

    assert fetcher.ping(f"{site.root}/canary") == ""
    assert "404" in fetcher.ping(f"{site.root}/canary/fail")
    for told in (
        fetcher.ping(f"{site.root}/canary/fail"),
        fetcher.ping("http://10.0.0.1/canary"),
        fetcher.ping("canary"),
    ):
        assert told
        assert "canary" not in told
