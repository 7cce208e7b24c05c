"""Requests made by hand: signed as any client could, and bytes that no client would send."""

import contextlib
import datetime
import hashlib
import hmac
import json
import re
import socket
import urllib.parse
import xml.etree.ElementTree as ET

import requests


def utc_now():
    return datetime.datetime.now(datetime.timezone.utc)


def signature(secret, scope, text):
    key = ("AWS4" + secret).encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def _text_to_sign(method, path, query, headers, names, payload, when, scope):
    pairs = sorted(urllib.parse.parse_qsl(query, keep_blank_values=True))
    canonical_query = "&".join(f"{urllib.parse.quote(k, safe='-_.~')}={urllib.parse.quote(v, safe='-_.~')}" for k, v in pairs)
    lines = [method, urllib.parse.quote(path, safe="/-_.~"), canonical_query]
    lines += [f"{name}:{headers[name].strip()}" for name in names]
    canonical = "\n".join([*lines, "", ";".join(names), payload])
    return "\n".join(["AWS4-HMAC-SHA256", when, scope, hashlib.sha256(canonical.encode()).hexdigest()])


def signed_headers(service, host, body=b"", headers=None, method="POST", path="/", query="", key="test", secret="test",
                   token=None, at=None, region="us-east-1"):  # fmt: skip
    """The headers of a request that carries its signature in `Authorization`."""
    at = at or utc_now()
    when, scope = at.strftime("%Y%m%dT%H%M%SZ"), f"{at:%Y%m%d}/{region}/{service}/aws4_request"
    headers = {name.lower(): value for name, value in (headers or {}).items()}
    headers |= {"host": host, "x-amz-date": when}
    if token:
        headers["x-amz-security-token"] = token
    names = sorted(headers)
    text = _text_to_sign(method, path, query, headers, names, hashlib.sha256(body).hexdigest(), when, scope)
    headers["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={key}/{scope}, SignedHeaders={';'.join(names)}, "
        f"Signature={signature(secret, scope, text)}"
    )
    return headers


def presigned_query(service, host, query, expires=60, headers=None, key="test", secret="test", at=None, region="us-east-1"):
    """The query of a GET that carries its signature there."""
    at = at or utc_now()
    when, scope = at.strftime("%Y%m%dT%H%M%SZ"), f"{at:%Y%m%d}/{region}/{service}/aws4_request"
    headers = {**{name.lower(): value for name, value in (headers or {}).items()}, "host": host}
    names = sorted(headers)
    query += "&" + urllib.parse.urlencode({
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": f"{key}/{scope}",
        "X-Amz-Date": when,
        "X-Amz-Expires": expires,
        "X-Amz-SignedHeaders": ";".join(names),
    })  # fmt: skip
    text = _text_to_sign("GET", "/", query, headers, names, hashlib.sha256(b"").hexdigest(), when, scope)
    return f"{query}&X-Amz-Signature={signature(secret, scope, text)}"


def send(node, service, body=b"", headers=None, method="POST", path="/", query="", host=None, **identity):
    """Sends a signed request."""
    host = host or f"127.0.0.1:{node.port}"
    body = body.encode() if isinstance(body, str) else body
    headers = signed_headers(service, host, body, headers, method, path, query, **identity)
    url = f"{node.endpoint}{path}" + (f"?{query}" if query else "")
    return requests.request(method, url, data=body, headers=headers, timeout=30)


FORM = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}


def form(node, service, action, version, **identity):
    body = urllib.parse.urlencode({"Action": action, "Version": version})
    return send(node, service, body, FORM, **identity)


def target(node, service, name, body="{}", content_type="application/x-amz-json-1.0", **identity):
    """Sends a JSON request that names its operation in a header."""
    return send(node, service, body, {"content-type": content_type, "x-amz-target": name}, **identity)


def code(answer) -> str:
    """The error code, in whichever of AWS's frames it comes."""
    if answer.headers.get("x-amzn-errortype"):
        return answer.headers["x-amzn-errortype"].split(":")[0]
    text = answer.text
    if text.startswith("<"):
        root = ET.fromstring(re.sub(r' xmlns="[^"]*"', "", text))
        return root.findtext(".//Code") or root.tag
    return json.loads(text)["__type"].rpartition("#")[2]


@contextlib.contextmanager
def connection(node, timeout=10):
    with socket.create_connection(("127.0.0.1", node.port), timeout=timeout) as stream:
        yield stream


def until_closed(stream) -> bytes:
    """All that the node still says."""
    out = b""
    with contextlib.suppress(ConnectionResetError):
        while chunk := stream.recv(65536):
            out += chunk
    return out


def exchange(node, request: bytes) -> bytes:
    """Sends bytes and ends; what the node answers."""
    with connection(node) as stream:
        with contextlib.suppress(OSError):
            stream.sendall(request)
            stream.shutdown(socket.SHUT_WR)
        return until_closed(stream)
