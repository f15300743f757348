"""Who is answered: by the name that is called and the page that asks."""

import socket

import pytest

from dsh_jax.page import callers

NAMES = callers.own_names("127.0.0.1", {"Images.Example"})


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1:7860", "localhost", "LOCALHOST:1", "[::1]:7860", "192.0.2.7:80", "images.example"],
)
def test_own_names_and_addresses_are_answered(host):
    assert callers.refusal("/", {"host": host}, NAMES) == ""


def test_the_name_of_this_machine_is_its_own():
    assert socket.gethostname().lower() in NAMES


@pytest.mark.parametrize(
    "host",
    ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "", "[::1", "a b",
     "evil.example:127", "127.0.0.1@evil.example", "2130706433"],
)  # fmt: skip
def test_names_of_others_are_not(host):
    assert "not called by that name" in callers.refusal("/", {"host": host}, NAMES)


@pytest.mark.parametrize(
    ("origin", "is_own"),
    [
        ("http://localhost:7860", True),
        ("https://localhost:7860", True),  # a proxy with TLS
        ("http://localhost:8080", False),
        ("http://evil.example", False),
        ("file://localhost:7860", False),
        ("null", False),
        ("http://[", False),
        ("", False),
    ],
)
def test_pages_of_others_are_not_answered(origin, is_own):
    headers = {"host": "localhost:7860", "origin": origin}
    assert (callers.refusal("/look", headers, NAMES) == "") == is_own


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_link_from_elsewhere_opens_the_page_and_nothing_else(site):
    headers = {"host": "localhost", "sec-fetch-site": site}
    assert callers.refusal("/", headers, NAMES) == ""
    assert "other servers" in callers.refusal("/row", headers, NAMES)
    assert callers.refusal("/row", {**headers, "sec-fetch-site": "same-origin"}, NAMES) == ""
