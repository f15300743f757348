"""What the page answers, asked without a network."""

import asyncio
import io
import json
import os
import struct
import zlib

import numpy as np
import pytest
import tiny
from asgi import ask, asked
from PIL import Image

from dsh_jax.page import application, callers
from dsh_jax.page.lookup import Lookup
from dsh_jax.runs import exported

NAMES = ("a.png", "b.png", "gone.png")
MOST = 20_000


def png(row, side=32):
    buffer = io.BytesIO()
    pixels = np.random.default_rng(row).integers(0, 256, (side, side), np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def lookup(run, folder, tmp_path_factory):
    root = tmp_path_factory.mktemp("images")
    for row, name in enumerate(NAMES):
        (root / name).write_bytes(png(row))
    encoder = exported.of_run(tiny.config(), run, folder)
    found = [encoder.read(str(root / name)) for name in NAMES]
    (root / "gone.png").unlink()
    return Lookup(
        name="<tiny>",
        encoder=encoder,
        decode=None,
        no_decoder="",
        index=encoder.codes_of(NAMES, found, batch=8, root=str(root)),
        no_index="",
        root=str(root),
        k=3,
    )


@pytest.fixture
def page(lookup, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)  # put back
    return application.application(
        lookup, names=callers.own_names("127.0.0.1"), most_bytes=MOST, most_pixels=100_000
    )


def test_a_file_has_its_code_and_neighbours(page, lookup):
    status, _, body = ask(page, "POST", "/look?name=%3Cx%3E.png", [png(0)[:50], png(0)[50:]])
    answer = json.loads(body)
    assert status == 200
    assert answer["code"] == lookup.index.packed_NxW[0].tobytes().hex()
    assert "&lt;x&gt;.png" in answer["pictures"]
    assert 'data-row="0"' in answer["found"]
    assert answer["cuttable"]


def test_a_result_is_the_next_query_also_without_its_file(page, lookup):
    for row, name in enumerate(NAMES):
        status, _, body = ask(page, "GET", f"/row?row={row}")
        answer = json.loads(body)
        assert status == 200
        assert answer["code"] == lookup.index.packed_NxW[row].tobytes().hex()
        assert name in answer["pictures"]
    assert "No picture: there is no such file" in answer["pictures"]


@pytest.mark.parametrize("row", ["3", "-1", "", "1e1", "../../etc/passwd", "9" * 5000, "²"])
def test_other_rows_are_not_found(row, page):
    status, _, body = ask(page, "GET", f"/row?row={row}".encode().decode("latin-1"))
    assert (status, body) == (404, b"The index has no such image; it has 3.\n")


def test_a_code_is_cut(page, lookup):
    code = lookup.index.packed_NxW[1].tobytes().hex()
    status, _, body = ask(page, "GET", f"/found?code={code}&bits=5")
    assert status == 200
    assert json.loads(body) == {"found": lookup.found(lookup.index.packed_NxW[1:2], 5)}


@pytest.mark.parametrize(
    "query", ["code=00&bits=5", "code=zz00&bits=5", "code=0000&bits=0", "code=0000&bits=13",
              "code=00f0&bits=5", "bits=5", "code=0000"],
)  # fmt: skip
def test_other_codes_and_lengths_are_refused(query, page):
    assert ask(page, "GET", f"/found?{query}")[0] == 400


def bomb():
    """A PNG of 20,000 × 20,000 pixels in few bytes."""
    data = zlib.compress(bytes(2_000_000), 9)

    def chunk(kind, body):
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    return start + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "it is empty"),
        (b"<html><script>alert(1)</script></html>", "it is no image that Pillow knows"),
        (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "it is no image that Pillow knows"),
        (b'{"path": "/etc/passwd", "url": "http://a"}', "it is no image that Pillow knows"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "it is no image that Pillow knows"),
        (b"http://127.0.0.1/a.png", "it is no image that Pillow knows"),
        (png(0)[:300], "it cannot be decoded"),
        (bomb(), "it has too many pixels"),
        (png(0, 400), "it has more than 20,000 bytes"),
    ],
)
def test_what_gives_no_image_is_refused_in_words(data, reason, page):
    status, _, body = ask(page, "POST", "/look?name=../../x.png", [data])
    answer = json.loads(body)
    assert status == (413 if "bytes" in reason else 200)
    assert f"x.png: {reason}" in answer["pictures"]
    assert (answer["code"], answer["found"], answer["cuttable"]) == ("", "", False)


def test_a_file_that_says_that_it_is_too_large_is_not_taken(page):
    assert ask(page, "POST", "/look?name=a", [], content_length=str(MOST + 1))[0] == 413


def test_a_slow_file_is_given_up(page, monkeypatch):
    monkeypatch.setattr(application, "UPLOAD_SECONDS", 0.2)
    status, _, body = ask(page, "POST", "/look?name=a", [b"a"] * 50, pause=0.05)
    assert (status, body) == (408, b"The file did not arrive in time.\n")


def test_a_file_of_someone_who_leaves_is_dropped(page):
    assert ask(page, "POST", "/look?name=a", [b"abc"], leaves=True)[0] == 400


def test_many_files_at_once_have_each_its_own_code(page, lookup):
    async def together():
        files = [asked(page, "POST", "/look?name=a", [png(row % 3)]) for row in range(20)]
        return await asyncio.gather(*files)

    codes = [json.loads(body)["code"] for _, _, body in asyncio.run(together())]
    assert codes == [lookup.index.packed_NxW[row % 3].tobytes().hex() for row in range(20)]


def test_a_file_has_no_name_on_the_disk(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with application.nameless_file() as (file, path):
        file.write(b"abc")
        file.flush()
        with open(path, "rb") as again:
            assert again.read() == b"abc"
        assert os.listdir(tmp_path) == []


def test_every_answer_forbids_other_hosts_and_only_own_pages_get_one(page):
    for address, status in {"/": 200, "/page.js": 200, "/page.css": 200, "/../etc": 404}.items():
        found, headers, body = ask(page, "GET", address)
        assert found == status
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["connection"] == "close"
        assert b"http" not in body.replace(b"http-equiv", b"")
    assert b"&lt;tiny&gt;" in ask(page, "GET", "/")[2]
    assert ask(page, "GET", "/look")[0] == 405
    status, headers, body = ask(page, "POST", "/look", host="evil.example")
    assert status == 403
    assert "content-security-policy" in headers
    assert ask(page, "POST", "/look", [png(0)], origin="http://evil.example")[0] == 403
