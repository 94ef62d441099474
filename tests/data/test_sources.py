import hashlib
import re
import socket
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
import requests

from fedrec.data.sources import DownloadError, LocalFile, Source, fetch
from fedrec.errors import DataError

CONTENT = bytes(range(256)) * 1000


class Server(ThreadingHTTPServer):
    """Serves CONTENT as /raw.bin; `cut` breaks each answer after so many bytes."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.cut, self.ranges, self.asked = CONTENT, None, True, []

    @property
    def base(self):
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        asked = self.headers.get("Range")
        self.server.asked.append(asked)
        if self.path != "/raw.bin":
            return self.send_error(404)
        start = 0
        if asked and self.server.ranges:
            start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1])
            if start >= len(self.server.content):
                return self.send_error(416)
        self.send_response(206 if start else 200)
        rest = self.server.content[start:]
        self.send_header("Content-Length", str(len(rest)))
        self.send_header("Content-Encoding", "gzip")  # as some servers say of a .gz file
        self.end_headers()
        self.wfile.write(rest[: self.server.cut])

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "*")
    with Server() as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def closed(monkeypatch):
    """A base URL at which nobody listens."""
    monkeypatch.setenv("NO_PROXY", "*")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


def source_at(base, content=CONTENT):
    return source(f"{base}/raw.bin", hashlib.sha256(content).hexdigest())


def source(url, sha256):
    return Source(url=url, sha256=sha256, terms="Free.", citation="Cite the book.")


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_arrives_as_sent_and_its_terms_are_shown(server, tmp_path, capsys):
    fetch(source_at(server.base), tmp_path / "new" / "raw.bin", None)
    assert (tmp_path / "new" / "raw.bin").read_bytes() == CONTENT
    assert names_in(tmp_path / "new") == ["raw.bin"]
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.count("Free.") == shown.err.count("Cite the book.") == 1
    assert re.search(r"raw\.bin: .*256k of 256k B\n", shown.err)


def test_a_file_that_is_there_is_left_alone(closed, tmp_path, capsys):
    (tmp_path / "raw.bin").write_bytes(CONTENT)
    fetch(source_at(closed), tmp_path / "raw.bin", None)
    assert capsys.readouterr().err == ""


def test_a_file_with_another_sum_is_replaced(server, tmp_path):
    (tmp_path / "raw.bin").write_bytes(b"old")
    fetch(source_at(server.base), tmp_path / "raw.bin", None)
    assert (tmp_path / "raw.bin").read_bytes() == CONTENT


def test_a_broken_transfer_goes_on_where_it_broke(server, tmp_path):
    server.cut = 100_000
    fetch(source_at(server.base), tmp_path / "raw.bin", None)
    assert (tmp_path / "raw.bin").read_bytes() == CONTENT
    assert server.asked == [None, "bytes=100000-", "bytes=200000-"]


def test_a_part_of_an_earlier_call_is_used(server, tmp_path):
    (tmp_path / "raw.bin.part").write_bytes(CONTENT[:1234])
    fetch(source_at(server.base), tmp_path / "raw.bin", None)
    assert (tmp_path / "raw.bin").read_bytes() == CONTENT
    assert server.asked == ["bytes=1234-"]


def test_a_complete_part_is_used(server, tmp_path):
    (tmp_path / "raw.bin.part").write_bytes(CONTENT)
    fetch(source_at(server.base), tmp_path / "raw.bin", None)
    assert names_in(tmp_path) == ["raw.bin"]


def test_a_server_without_ranges_starts_over(server, tmp_path):
    server.ranges = False
    (tmp_path / "raw.bin.part").write_bytes(b"x" * 1234)
    fetch(source_at(server.base), tmp_path / "raw.bin", None)
    assert (tmp_path / "raw.bin").read_bytes() == CONTENT


def test_a_transfer_that_gets_nowhere_ends_and_keeps_its_part(server, tmp_path):
    server.cut, server.ranges = 1000, False
    with pytest.raises(DownloadError, match=r"raw\.bin could not be downloaded"):
        fetch(source_at(server.base), tmp_path / "raw.bin", None)
    assert (tmp_path / "raw.bin.part").read_bytes() == CONTENT[:1000]
    assert len(server.asked) == 2


def test_a_wrong_sum_is_refused_and_the_old_file_stays(server, tmp_path):
    (tmp_path / "raw.bin").write_bytes(b"old")
    wanted = source_at(server.base, b"something else")
    with pytest.raises(DownloadError, match=r"raw\.bin") as error:
        fetch(wanted, tmp_path / "raw.bin", None)
    assert wanted.sha256 in str(error.value)
    assert hashlib.sha256(CONTENT).hexdigest() in str(error.value)
    assert (tmp_path / "raw.bin").read_bytes() == b"old"
    assert names_in(tmp_path) == ["raw.bin"]


def test_a_mirror_is_asked_first(closed, server, tmp_path):
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror" / "raw.bin").write_bytes(CONTENT)
    fetch(source_at(closed), tmp_path / "a.bin", str(tmp_path / "mirror"))
    fetch(source_at(closed), tmp_path / "b.bin", f"{server.base}/")
    assert (tmp_path / "a.bin").read_bytes() == (tmp_path / "b.bin").read_bytes() == CONTENT


def test_the_web_is_asked_where_the_mirror_lacks_the_file(closed, server, tmp_path):
    for number, mirror in enumerate((str(tmp_path), closed)):
        fetch(source_at(server.base), tmp_path / f"{number}.bin", mirror)
        assert (tmp_path / f"{number}.bin").read_bytes() == CONTENT


def test_without_a_network_the_message_says_what_to_do(closed, tmp_path):
    with pytest.raises(DownloadError) as error:
        fetch(source_at(closed), tmp_path / "raw.bin", None)
    message = str(error.value)
    assert f"{closed}/raw.bin" in message
    assert "put the file named raw.bin into a directory and set FEDREC_MIRROR to it" in message
    assert "\n" not in message
    assert names_in(tmp_path) == []


def test_a_missing_page_is_named_with_its_status(server, tmp_path):
    missing = source(f"{server.base}/gone.bin", "0" * 64)
    with pytest.raises(DownloadError, match=r"gone\.bin: HTTP status 404"):
        fetch(missing, tmp_path / "gone.bin", None)


def test_https_must_not_lead_to_plain_http(server, tmp_path, monkeypatch):
    get = requests.get
    there = f"{server.base}/raw.bin"
    monkeypatch.setattr(requests, "get", lambda url, **given: get(there, **given))
    with pytest.raises(
        DownloadError, match=r"redirects to http://127\.0\.0\.1.*, which is not https"
    ):
        fetch(source_at("https://example.org"), tmp_path / "raw.bin", None)
    assert names_in(tmp_path) == []


def test_a_mirror_may_keep_folders_apart(tmp_path):
    wanted = source("https://example.org/Data/gowalla/train.txt", hashlib.sha256(b"a").hexdigest())
    (tmp_path / "gowalla").mkdir()
    (tmp_path / "gowalla" / "train.txt").write_bytes(b"a")
    (tmp_path / "train.txt").write_bytes(b"of another dataset")
    fetch(wanted, tmp_path / "out" / "train.txt", str(tmp_path))
    assert (tmp_path / "out" / "train.txt").read_bytes() == b"a"


def test_a_local_file_is_checked_where_it_lies(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.csv").write_bytes(b"a")
    LocalFile("mine.csv").check()
    LocalFile("mine.csv", sha256=hashlib.sha256(b"a").hexdigest()).check()
    with pytest.raises(DataError, match=r"mine\.csv: has the sha256 .* correct `sha256`"):
        LocalFile("mine.csv", sha256="0" * 64).check()
    for name in ("other.csv", "."):
        with pytest.raises(DataError, match=r"there is no such file .* correct `path`"):
            LocalFile(name).check()
