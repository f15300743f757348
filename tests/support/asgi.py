"""A request to an ASGI application, without a server."""

import asyncio


async def asked(page, method, address, parts=(b"",), pause=0.0, leaves=False, **headers):
    """Return (status, headers, body) of a request."""
    path, _, query = address.partition("?")
    headers = {"host": "127.0.0.1:7860", **headers}
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query.encode(),
        "headers": [(name.replace("_", "-").encode(), x.encode()) for name, x in headers.items()],
    }
    left, sent = list(parts), []

    async def receive():
        await asyncio.sleep(pause)
        if not left:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": left.pop(0), "more_body": leaves or bool(left)}

    async def send(message):
        sent.append(message)

    await page(scope, receive, send)
    body = b"".join(message.get("body", b"") for message in sent[1:])
    found = {name.decode(): x.decode() for name, x in sent[0]["headers"]}
    return sent[0]["status"], found, body


def ask(*arguments, **more):
    return asyncio.run(asked(*arguments, **more))
