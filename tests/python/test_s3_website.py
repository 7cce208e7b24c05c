"""Static websites, and browsers of other origins."""

import json
import subprocess

import pytest
import requests

import browser


@pytest.fixture
def s3(client):
    return client("s3")


@pytest.fixture
def site(node, s3, name):
    """A public website: its bucket, and `get(path)`."""
    bucket = name("site")
    s3.create_bucket(Bucket=bucket)
    s3.delete_public_access_block(Bucket=bucket)
    statement = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/*"}
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))

    def get(path, method="GET", host=None, **headers):
        host = host or f"{bucket}.s3-website.localhost:{node.port}"
        return requests.request(
            method, f"{node.endpoint}{path}", headers={"Host": host, **headers}, timeout=10, allow_redirects=False
        )

    return bucket, get


def put(s3, bucket, **objects):
    for key, body in objects.items():
        s3.put_object(Bucket=bucket, Key=key.replace("__", "/"), Body=body.encode(), ContentType="text/html")


def test_a_site_has_index_and_error_documents(s3, site):
    bucket, get = site
    assert "NoSuchWebsiteConfiguration" in get("/").text
    s3.put_bucket_website(
        Bucket=bucket, WebsiteConfiguration={"IndexDocument": {"Suffix": "index.html"}, "ErrorDocument": {"Key": "error.html"}}
    )
    s3.put_object(Bucket=bucket, Key="index.html", Body=b"<h1>hello</h1>", ContentType="text/html")
    s3.put_object(Bucket=bucket, Key="docs/index.html", Body=b"docs", ContentType="text/html")
    answer = get("/")
    assert (answer.status_code, answer.text, answer.headers["Content-Type"]) == (200, "<h1>hello</h1>", "text/html")
    assert get("/docs/").text == "docs"
    redirected = get("/docs")
    assert (redirected.status_code, redirected.headers["Location"]) == (302, "/docs/")
    missing = get("/none")
    assert missing.status_code in (403, 404)
    assert "Custom Error Document" in missing.text
    s3.put_object(Bucket=bucket, Key="error.html", Body=b"oh no", ContentType="text/html")
    missing = get("/none")
    assert missing.text == "oh no" and missing.status_code in (403, 404)
    head = get("/", method="HEAD")
    assert (head.status_code, head.text) == (200, "")
    assert get("/", method="POST").status_code == 405
    assert "NoSuchBucket" in get("/", host="no-such-site.s3-website.localhost").text


def test_only_the_public_part_is_served(s3, site):
    bucket, get = site
    s3.put_bucket_website(Bucket=bucket, WebsiteConfiguration={"IndexDocument": {"Suffix": "index.html"}})
    s3.put_object(Bucket=bucket, Key="index.html", Body=b"x")
    s3.delete_bucket_policy(Bucket=bucket)
    answer = get("/")
    assert answer.status_code == 403
    assert "<li>Code: AccessDenied</li>" in answer.text
    assert answer.headers["x-amz-error-code"] == "AccessDenied"


def test_rules_redirect(s3, site, node):
    bucket, get = site
    rules = [
        {"Condition": {"KeyPrefixEquals": "docs/"}, "Redirect": {"ReplaceKeyPrefixWith": "documents/"}},
        {"Condition": {"HttpErrorCodeReturnedEquals": "403"}, "Redirect": {"HostName": "example.com", "Protocol": "https", "ReplaceKeyWith": "gone", "HttpRedirectCode": "307"}},
        {"Condition": {"HttpErrorCodeReturnedEquals": "404"}, "Redirect": {"HostName": "example.com", "Protocol": "https", "ReplaceKeyWith": "gone", "HttpRedirectCode": "307"}},
    ]
    s3.put_bucket_website(
        Bucket=bucket, WebsiteConfiguration={"IndexDocument": {"Suffix": "index.html"}, "RoutingRules": rules}
    )
    to = get("/docs/a")
    assert (to.status_code, to.headers["Location"]) == (301, f"http://{bucket}.s3-website.localhost:{node.port}/documents/a")
    to = get("/none")
    assert (to.status_code, to.headers["Location"]) == (307, "https://example.com/gone")
    s3.put_object(Bucket=bucket, Key="moved", Body=b"", WebsiteRedirectLocation="/elsewhere")
    to = get("/moved")
    assert (to.status_code, to.headers["Location"]) == (301, "/elsewhere")
    s3.put_bucket_website(Bucket=bucket, WebsiteConfiguration={"RedirectAllRequestsTo": {"HostName": "example.com"}})
    to = get("/a/b")
    assert (to.status_code, to.headers["Location"]) == (301, "http://example.com/a/b")


def test_a_deleted_page_is_back_when_its_delete_marker_goes(s3, site):
    bucket, get = site
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    s3.put_bucket_website(Bucket=bucket, WebsiteConfiguration={"IndexDocument": {"Suffix": "index.html"}})
    s3.put_object(Bucket=bucket, Key="index.html", Body=b"here", ContentType="text/html")
    assert get("/").text == "here"
    marker = s3.delete_object(Bucket=bucket, Key="index.html")
    assert marker["DeleteMarker"] is True
    assert get("/").status_code in (403, 404)
    s3.delete_object(Bucket=bucket, Key="index.html", VersionId=marker["VersionId"])
    assert get("/").text == "here"


def test_other_origins_ask_and_are_answered(node, s3, name):
    bucket = name("cors")
    s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    url = f"{node.endpoint}/{bucket}/k"

    def preflight(origin="https://a.example.com", method="PUT", headers=None):
        given = {"Origin": origin, "Access-Control-Request-Method": method}
        if headers:
            given["Access-Control-Request-Headers"] = headers
        return requests.options(url, headers=given, timeout=10)

    refused = preflight()
    assert refused.status_code == 403 and "CORS is not enabled" in refused.text
    rules = [
        {"AllowedOrigins": ["https://*.example.com"], "AllowedMethods": ["PUT", "GET"], "AllowedHeaders": ["x-amz-*"], "ExposeHeaders": ["ETag"], "MaxAgeSeconds": 60},
        {"AllowedOrigins": ["*"], "AllowedMethods": ["GET"]},
    ]
    s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": rules})
    answer = preflight(headers="X-Amz-Date, x-amz-acl")
    assert answer.status_code == 200
    expected = {
        "Access-Control-Allow-Origin": "https://a.example.com",
        "Access-Control-Allow-Methods": "PUT, GET",
        "Access-Control-Allow-Headers": "x-amz-date, x-amz-acl",
        "Access-Control-Expose-Headers": "ETag",
        "Access-Control-Max-Age": "60",
        "Access-Control-Allow-Credentials": "true",
    }
    assert {key: answer.headers.get(key) for key in expected} == expected
    assert preflight(headers="authorization").status_code == 403
    assert preflight(origin="http://other").status_code == 403
    assert preflight(origin="http://other", method="GET").headers["Access-Control-Allow-Origin"] == "*"
    assert preflight(method="NONE").status_code == 400
    signed = node.client("s3", signature_version="s3v4").generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "k"})
    answer = requests.get(signed, headers={"Origin": "https://a.example.com"}, timeout=10)
    assert answer.status_code == 200
    assert answer.headers["Access-Control-Allow-Origin"] == "https://a.example.com"
    answer = requests.get(url, headers={"Origin": "http://other"}, timeout=10)
    assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (403, "*")
    assert "Access-Control-Allow-Origin" not in requests.get(signed, timeout=10).headers


@browser.needs_chromium
def test_a_browser_sees_the_site(node, s3, site, tmp_path):
    bucket, _ = site
    s3.put_bucket_website(
        Bucket=bucket, WebsiteConfiguration={"IndexDocument": {"Suffix": "index.html"}, "ErrorDocument": {"Key": "oops.html"}}
    )
    files = {
        "index.html": ("<link rel=stylesheet href=/style.css><p id=p>not yet</p><script src=/app.js></script>", "text/html"),
        "app.js": ("document.getElementById('p').textContent = 'seen ' + getComputedStyle(p).color", "text/javascript"),
        "style.css": ("p { color: rgb(1, 2, 3) }", "text/css"),
        "oops.html": ("<p>no such page</p>", "text/html"),
    }
    for key, (body, kind) in files.items():
        s3.put_object(Bucket=bucket, Key=key, Body=body.encode(), ContentType=kind)

    def seen(path):
        url = f"http://{bucket}.s3-website.localhost:{node.port}{path}"
        command = browser.command(tmp_path, "--virtual-time-budget=5000", "--dump-dom", url)
        return subprocess.run(command, capture_output=True, text=True, timeout=60).stdout

    assert "seen rgb(1, 2, 3)" in seen("/")
    assert "no such page" in seen("/none")
