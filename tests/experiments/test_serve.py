"""The page as a user has it: the command, and a real browser without a screen."""

import base64
import contextlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from commands import FORCED, ROOT
from PIL import Image

from dsh_jax.collection import encode_files, image_codes
from dsh_jax.runs import exported

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
MISSING = [
    name for name in ("starlette", "uvicorn", "selenium") if not importlib.util.find_spec(name)
]
MISSING += [
    name for name, path in (("chromium", CHROMIUM), ("chromedriver", DRIVER)) if path is None
]
pytestmark = [
    pytest.mark.slow,  # half a minute
    pytest.mark.skipif(bool(MISSING), reason=f"needs {', '.join(MISSING)}"),
]
NAMES = [f"{row}.png" for row in range(6)]


@pytest.fixture(scope="module")
def images(folder, tmp_path_factory):
    """A folder of images, bad ones too, with an index of the good."""
    root = tmp_path_factory.mktemp("images")
    for row, name in enumerate(NAMES):
        pixels = np.random.default_rng(row).integers(0, 256, (32, 40), np.uint8)
        Image.fromarray(pixels).save(root / name)
    (root / "torn.png").write_bytes((root / "0.png").read_bytes()[:300])
    Image.fromarray(np.zeros((400, 300), np.uint8)).save(root / "wide.png")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 300), np.uint8)).save(
        root / "large.png"
    )
    encoder = exported.open_encoder(workdir=folder, model=None)
    codes, *_ = encode_files.encode_files(encoder, root, NAMES, root / "codes.npz")
    empty = image_codes.empty(bits=codes.bits, fingerprint=codes.fingerprint)
    image_codes.save(root / "empty.npz", empty)
    return root


@pytest.fixture(scope="module")
def browser():
    """Chromium, with a log of what it asks for."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    options.add_argument("--headless=new")
    for name in (
        "dev-shm-usage",
        "gpu",
        "quic",
        "background-networking",
        "component-update",
        "sync",
    ):
        options.add_argument(f"--disable-{name}")
    options.add_argument("--no-first-run")
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")  # Chromium has none for root
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    chromium = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield chromium
    chromium.quit()


@contextlib.contextmanager
def serving(folder, home, *flags):
    """Yield the address of a server that is ready, and its process."""
    with starting(folder, home, *flags) as (url, process):
        wait(lambda: status(url) == 200, 200)
        yield url, process


@contextlib.contextmanager
def starting(folder, home, *flags):
    """Yield the address of a server and its process; it writes nothing, however it ends."""
    env = {name: value for name, value in os.environ.items() if name not in FORCED}
    env |= {
        "HOME": str(home),
        "TMPDIR": str(home),
        "PYTHONDONTWRITEBYTECODE": "1",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
    }
    before = sorted(folder.iterdir())
    process = subprocess.Popen(
        [sys.executable, "-m", "experiments.serve", f"--workdir={folder}", "--port=0", *flags],
        cwd=ROOT,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    timer = threading.Timer(240, process.kill)
    timer.start()
    try:
        line = process.stdout.readline()
        assert line.startswith("Open http://127.0.0.1:"), process.communicate()
        yield line.split()[1], process
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            _, errors = process.communicate()
            assert process.returncode == 0, errors
            assert errors == "Reading the model and the index.\nCompiling.\nReady.\n"
    finally:
        timer.cancel()
        process.kill()
        process.communicate()
    assert sorted(folder.iterdir()) == before
    # Settings that these make when any command imports them.
    others = {".keras", ".config/matplotlib", ".cache/matplotlib"}
    written = [path.relative_to(home).as_posix() for path in home.rglob("*") if path.is_file()]
    assert not [path for path in written if not path.startswith(tuple(others))]


def status(url):
    """Return how the page is answered: 503 while model and index are read."""
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def wait(condition, seconds=60):
    """Return what the condition comes to be, once it is anything."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.1)
    return found


def elements(browser, selector):
    return browser.find_elements("css selector", selector)


def text(browser, selector="body"):
    return browser.execute_script(
        "return document.querySelector(arguments[0])?.innerText ?? ''", selector
    )


def send(browser, path, words):
    """Choose a file; return the page's text when it has the words."""
    wait(lambda: elements(browser, "input[type=file]"))[0].send_keys(str(path))
    wait(lambda: words in text(browser))
    return text(browser)


def slide(browser, value):
    """Move the slider as a hand does."""
    program = """
    const set = Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value").set;
    set.call(arguments[0], arguments[1]);
    arguments[0].dispatchEvent(new Event("input", {bubbles: true}));
    """
    browser.execute_script(program, elements(browser, "#length input[type=range]")[0], str(value))


PASTE = """
const bytes = Uint8Array.from(atob(arguments[0]), (letter) => letter.charCodeAt(0));
const held = new DataTransfer();
held.items.add(new File([bytes], arguments[1], {type: "image/png"}));
document.body.dispatchEvent(new ClipboardEvent("paste", {clipboardData: held, bubbles: true}));
"""


def posted(url, data, **headers):
    """Return (status, body) of a file that is sent without a browser."""
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(f"{url}/look?name=a.png", data, headers, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def hosts(browser):
    """Return all addresses that the browser has asked for, the data in an address left out."""
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    sent = [one for one in messages if one["method"] == "Network.requestWillBeSent"]
    assert sent
    return {one["params"]["request"]["url"].split(",")[0] for one in sent}


def test_upload_result_and_bad_files(folder, images, browser, tmp_path):
    flags = [f"--index={images / 'codes.npz'}", "--k=4", "--max_megabytes=0.05"]
    with serving(folder, tmp_path, *flags, "--max_pixels=100000") as (url, _):
        browser.get(url)
        send(browser, images / "2.png", "Nearest, by all 12 bits")
        assert text(browser, "#pictures").startswith("2.png\n")
        assert len(elements(browser, "#pictures img")) == 3
        codes = image_codes.load(images / "codes.npz").packed_NxW

        def nearest(row):
            distance = np.bitwise_count(codes[row] ^ codes).sum(axis=1)
            order = np.argsort(distance, kind="stable")[:4]
            return [[f"d {distance[near]}", NAMES[near]] for near in order]

        def shown():
            return [item.text.split("\n") for item in elements(browser, "#found .neighbours li")]

        assert shown() == nearest(2)
        assert len(elements(browser, "#found svg.bits")) == 5
        widths = [
            browser.execute_script("return arguments[0].naturalWidth", image)
            for image in elements(browser, "#found img, #pictures img")
        ]
        assert len(widths) == 7
        assert min(widths) > 0
        slide(browser, 3)
        wait(lambda: "Nearest, by the first 3 of 12 bits" in text(browser, "#found"))

        # A result is the next query, and Back leads from it.
        slide(browser, 12)
        wait(lambda: "Nearest, by all 12 bits" in text(browser, "#found"))
        row = NAMES.index(nearest(2)[1][1])
        elements(browser, "#found a[data-row]")[1].click()
        wait(lambda: text(browser, "#pictures").startswith(NAMES[row]))
        assert shown() == nearest(row)
        assert browser.current_url == f"{url}/?row={row}"
        elements(browser, "#found a[data-row]")[2].send_keys("\ue007")  # the key Enter
        wait(lambda: browser.current_url != f"{url}/?row={row}")
        browser.back()
        wait(lambda: text(browser, "#pictures").startswith(NAMES[row]))

        data = base64.b64encode((images / "4.png").read_bytes()).decode()
        browser.execute_script(PASTE, data, "image.png")
        wait(lambda: text(browser, "#pictures").startswith("image.png"))
        assert shown() == nearest(4)

        words = send(browser, images / "torn.png", "torn.png: it cannot be decoded")
        assert "Nearest" not in words  # of the last image
        send(browser, images / "codes.npz", "codes.npz: it is no image that Pillow knows")
        send(browser, images / "wide.png", "wide.png: it has too many pixels")
        send(browser, images / "large.png", "more than the 0.0500 MB that are taken")
        browser.get(url)  # the server lives on
        send(browser, images / "5.png", "Nearest, by all 12 bits")
        assert not [host for host in hosts(browser) if not host.startswith((url, "data:"))]
        problems = [entry for entry in browser.get_log("browser") if "/row" not in str(entry)]
        assert not problems  # such as a style that the policy forbids


def test_who_comes_early_sees_what_is_waited_for(folder, images, browser, tmp_path):
    with starting(folder, tmp_path, f"--index={images / 'codes.npz'}") as (url, _):
        browser.get(f"{url}/?row=2")
        assert text(browser, "[role=status]").endswith(" s")
        wait(lambda: "Nearest, by all 12 bits" in text(browser, "#found"), 200)
        assert text(browser, "#pictures").startswith(NAMES[2])


def test_ctrl_c_ends_it_while_it_reads(folder, images, tmp_path):
    with starting(folder, tmp_path, f"--index={images / 'codes.npz'}") as (_, process):
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=100)
        assert process.returncode == 0
        assert "Traceback" not in errors


def test_a_phone_needs_no_scrolling_to_the_side(folder, images, browser, tmp_path):
    with serving(folder, tmp_path, f"--index={images / 'codes.npz'}") as (url, _):
        browser.set_window_size(500, 800)  # no window is narrower: the page within it is
        browser.get("about:blank")
        size = {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        browser.get(url)
        send(browser, images / "2.png", "Nearest, by all 12 bits")
        width = browser.execute_script("return document.documentElement.scrollWidth")
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        assert width == 360


def test_many_uploads_at_once_foreign_pages_and_a_kill(folder, images, tmp_path):
    data = [(images / name).read_bytes() for name in NAMES]
    codes = image_codes.load(images / "codes.npz").packed_NxW
    with serving(folder, tmp_path, f"--index={images / 'codes.npz'}") as (url, process):
        with ThreadPoolExecutor(20) as pool:
            answers = list(pool.map(lambda i: posted(url, data[i % 6]), range(20)))
        found = [(status, json.loads(body)["code"]) for status, body in answers]
        assert found == [(200, codes[i % 6].tobytes().hex()) for i in range(20)]
        assert posted(url, data[0], Host="evil.example")[0] == 403
        assert posted(url, data[0], Origin="http://evil.example")[0] == 403
        assert posted(url, data[0], Origin=url)[0] == 200
        process.kill()
        process.wait()
    with serving(folder, tmp_path, f"--index={images / 'codes.npz'}") as (url, _):
        assert posted(url, data[0])[0] == 200


def test_an_empty_index(folder, images, browser, tmp_path):
    with serving(folder, tmp_path, f"--index={images / 'empty.npz'}") as (url, _):
        browser.get(url)
        words = send(browser, images / "2.png", "The index holds no images")
        assert "0 images in the index" in words
        assert len(elements(browser, "#pictures img")) == 3
        assert len(elements(browser, "#found svg.bits")) == 1
        assert not elements(browser, "#length")[0].is_displayed()
