"""What a browser sees before the page is there."""

from asgi import ask

from dsh_jax.page import callers, opening


async def ready(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ready"})


def test_it_asks_again_until_the_page_is_there():
    app = opening.Opening("<pets>", callers.own_names("127.0.0.1"))
    app.say("Reading the model & the index.")
    status, headers, body = ask(app, "GET", "/?row=3")
    assert (status, headers["refresh"]) == (503, "1")
    assert b"&lt;pets&gt;" in body
    assert b"Reading the model &amp; the index. 0 s" in body
    assert "default-src 'none'" in headers["content-security-policy"]
    assert ask(app, "GET", "/page.css")[1]["content-type"].startswith("text/css")
    assert ask(app, "POST", "/look")[2] == b"The page is not ready yet.\n"
    assert ask(app, "GET", "/", host="evil.example")[0] == 403
    app.page = ready
    assert ask(app, "GET", "/")[2] == b"ready"
