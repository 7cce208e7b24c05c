#!/usr/bin/env python3
"""AWS's own protocol tests, run backwards through `pileus probe`.

botocore's source distribution carries tests for every protocol, made for clients: a request that an input must become
(here: that must decode to that input), and a response with the output that it means (here: that the output must become).
Responses are compared by structure: JSON, XML and CBOR values, and the headers that the test names.

    tests/protocol_suite.py [--probe "target/release/pileus probe"] [--sdist FOLDER] [-v]

Without --sdist the pinned source distribution is fetched with pip into target/protocol-suite.
Prints one line per failure, then `N passed, N failed, N skipped`; exits with 1 if any failed.
"""

import argparse
import base64
import json
import math
import pathlib
import shlex
import struct
import subprocess
import sys
import tarfile
import xml.etree.ElementTree as ET

ROOT = pathlib.Path(__file__).resolve().parent.parent

# Cases that only a client can meet, with the reason.
SKIPPED = {
    # What a client must accept, but a server never sends: other spellings of the error code.
    "FooErrorUsingXAmznErrorTypeWithUri": "a server sends the plain code",
    "FooErrorUsingXAmznErrorTypeWithUriAndNamespace": "a server sends the plain code",
    "FooErrorUsingCode": "a server sends `__type` or the header, not `code`",
    "FooErrorUsingCodeAndNamespace": "a server sends `__type` or the header, not `code`",
    "FooErrorUsingCodeUriAndNamespace": "a server sends `__type` or the header, not `code`",
    "FooErrorWithDunderTypeUriAndNamespace": "a server sends the code or namespace and code",
    "FooErrorWithDunderTypeAndNamespace": "the model names no namespace",
    "FooErrorWithDunderType": "restJson1 sends the header",
}
for name in ("NegativeOffset", "PositiveOffset"):
    for prefix in ("", "RestJson", "RestXml", "AwsJson11", "AwsJson10", "AwsQuery", "Ec2Query"):
        SKIPPED[f"{prefix}DateTimeWith{name}"] = "a server writes UTC"
for name in ("awsJson1_0", "awsJson1_1", "awsQuery", "ec2Query", "restJson1", "restXml"):
    for prefix in ("SDKAppliedContentEncoding", "SDKAppendsGzipAndIgnoresHttpProvidedEncoding"):
        SKIPPED[f"{prefix}_{name}"] = "the test names no body"
    SKIPPED[f"SDKAppendedGzipAfterProvidedEncoding_{name}"] = "the test names no body"
SKIPPED |= {
    "QueryIdempotencyTokenAutoFill": "the client makes the token up",
    "QueryProtocolIdempotencyTokenAutoFill": "the client makes the token up",
    "Ec2EmptyQueryLists": "the client sends nothing of the empty list",
    "QueryEmptyQueryMaps": "the client sends nothing of the empty map",
    "HttpPrefixHeadersAreNotPresent": "the client sends nothing of the empty map",
    "OmitsEmptyListQueryValues": "the client sends nothing of the empty list",
    "QueryParamsStringListMap": "a server's map holds all parameters",
    "Ec2ProtocolIdempotencyTokenAutoFill": "the client makes the token up",
    "QueryPrecedence": "the client drops what its own map says twice",
    "RestXmlQueryPrecedence": "the client drops what its own map says twice",
    "FooErrorUsingXAmznErrorType": "awsJson sends `__type`; of restJson1 the Uri-less case stays",
    "DeserializeIgnoreType": "what a client must pass over",
    "handles_unexpected_json_output": "what a client must pass over",
    "HandlesUnexpectedJsonOutput": "what a client must pass over",
    "RpcV2CborExtraFieldsInTheBodyShouldBeSkippedByClients": "what a client must pass over",
    "RpcV2CborPayloadWithUnsetUnion": "the body belongs to another operation",
    "Ec2ComplexError": "the message is in the body alone",
    "ComplexError@rest-xml": "the message is in the body alone",
    "InvalidGreetingError@rest-xml": "a member that the model does not have is in the body alone",
}


def main():
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("--probe", default=str(ROOT / "target/debug/pileus") + " probe")
    arguments.add_argument("--sdist", type=pathlib.Path)
    arguments.add_argument("--case", help="only the case with this id")
    arguments.add_argument("-v", "--verbose", action="store_true")
    options = arguments.parse_args()
    folder = (options.sdist or fetch()) / "tests/unit/protocols"
    questions, checks, skipped = [], [], 0
    for path in sorted(folder.glob("*put/*.json")):
        for suite in json.loads(path.read_text(encoding="utf-8")):
            cases = suite.pop("cases")
            for at, case in enumerate(cases):
                name = f"{path.parent.name}/{path.stem}/{case.get('id', suite['description'] + str(at))}"
                if options.case and case.get("id") != options.case:
                    continue
                reason = skip(case, path.stem)
                if reason:
                    skipped += 1
                    if options.verbose:
                        print(f"skipped {name}: {reason}")
                    continue
                question, check = (decode if path.parent.name == "input" else encode)(suite, case, path.stem)
                questions.append({"id": name, **question})
                checks.append(check)
    answers = ask(options.probe, questions)
    failed = 0
    for question, answer, check in zip(questions, answers, checks):
        problem = answer["error"] if "error" in answer else check(answer["ok"])
        if problem:
            failed += 1
            print(f"FAILED {question['id']}: {problem}")
            if options.verbose:
                print(json.dumps(question)[:4000])
    print(f"{len(questions) - failed} passed, {failed} failed, {skipped} skipped")
    sys.exit(1 if failed or not questions else 0)


def fetch():
    """The unpacked source distribution."""
    target = ROOT / "target/protocol-suite"
    target.mkdir(parents=True, exist_ok=True)
    if not list(target.glob("botocore-*/tests")):
        pip = [sys.executable, "-m", "pip", "download", "-q", "--no-binary", ":all:", "--no-deps"]
        subprocess.run([*pip, "botocore==1.44.5", "-d", str(target)], check=True)
        archive = max(target.glob("botocore-*.tar.gz"))
        with tarfile.open(archive) as tar:
            wanted = [m for m in tar.getmembers() if "/tests/unit/protocols/" in m.name and ".." not in m.name]
            tar.extractall(target, members=wanted)
    return max(path for path in target.glob("botocore-*") if path.is_dir())


def ask(command, questions):
    lines = "".join(json.dumps(question) + "\n" for question in questions)
    done = subprocess.run(shlex.split(command), input=lines, capture_output=True, text=True, check=True)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    if [a["id"] for a in answers] != [q["id"] for q in questions]:
        sys.exit("the probe did not answer every question in order")
    return answers


def skip(case, protocol):
    identifier = case.get("id", "")
    if identifier == "RestJsonFooErrorUsingXAmznErrorType":
        return None
    plain = identifier
    for prefix in ("RestJson", "AwsJson10", "AwsJson11"):
        plain = plain.removeprefix(prefix)
    return SKIPPED.get(identifier) or SKIPPED.get(plain) or SKIPPED.get(f"{plain}@{protocol}")


def model(suite, case):
    keys = ("metadata", "shapes", "clientEndpoint")
    document = {key: suite[key] for key in keys if key in suite}
    document["operations"] = {case["given"]["name"]: case["given"]}
    return document


def decode(suite, case, protocol):
    sent = case["serialized"]
    body = sent.get("body", "")
    encoded = body if "cbor" in protocol else base64.b64encode(body.encode()).decode()
    headers = dict(sent.get("headers", {}))
    question = {
        "kind": "decode",
        "protocol": protocol,
        "model": model(suite, case),
        "operation": case["given"]["name"],
        "request": {
            "method": sent.get("method", "POST"),
            "uri": sent.get("uri", "/"),
            "headers": headers,
            "body_b64": encoded,
        },
    }
    return question, lambda got: differ(prune(case["params"]), prune(got), "params")


def encode(suite, case, protocol):
    wanted = case["response"]
    question = {
        "kind": "encode",
        "protocol": protocol,
        "model": model(suite, case),
        "operation": case["given"]["name"],
        "status": wanted.get("status_code", 200),
    }
    if "error" in case:
        question["failure"] = {
            "error": case["given"]["errors"][0]["shape"] if case["given"].get("errors") else case["errorCode"],
            "message": case.get("errorMessage", ""),
            "members": case["error"],
        }
    else:
        question["result"] = case.get("result", {})
    return question, lambda got: check_response(wanted, got, protocol, "error" in case)


def check_response(wanted, got, protocol, is_error):
    if got["status"] != wanted.get("status_code", 200):
        return f"status {got['status']}, not {wanted.get('status_code', 200)}"
    headers = {name.lower(): value for name, value in got["headers"].items()}
    for name, value in wanted.get("headers", {}).items():
        if name.lower() in ("content-length", "x-amzn-requestid", "x-amz-target"):
            continue
        have = headers.get(name.lower())
        if have is None or plain_header(have) != plain_header(value):
            return f"header {name}: {have!r}, not {value!r}"
    for name in wanted.get("forbidHeaders", []):
        if name.lower() in headers:
            return f"header {name} is there"
    if "body" not in wanted:
        return None
    body = base64.b64decode(got["body_b64"])
    if "cbor" in protocol:
        want = prune(cbor(base64.b64decode(wanted["body"])))
        have = prune(cbor(body))
        if is_error:
            want.pop("__type", None), have.pop("__type", None)
        return differ(want, have, "body")
    text, want = body.decode(), wanted["body"]
    if text.strip() == want.strip():
        return None
    if "json" in protocol:
        try:
            want, have = json.loads(want or "{}"), json.loads(text or "{}")
            if is_error:
                # The model of a test names no namespace.
                want = {k: v.split("#")[-1] if k == "__type" else v for k, v in want.items()}
            return differ(prune(want), prune(have), "body")
        except ValueError:
            return f"body {text!r}, not {want!r}"
    try:
        return differ_xml(without_namespace(ET.fromstring(want)), without_namespace(ET.fromstring(text)))
    except ET.ParseError as error:
        return f"body {text!r}, not {want!r}: {error}"


def plain_header(value):
    return value.replace(", ", ",").split(";charset")[0].strip()


def prune(value):
    """Nulls in structures mean absence."""
    if isinstance(value, dict):
        return {key: prune(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [prune(item) for item in value]
    if isinstance(value, bytes):
        return value.decode()
    return value


def differ(want, have, path):
    if isinstance(want, dict) and isinstance(have, dict):
        for key in sorted(set(want) | set(have)):
            if key not in have:
                return f"{path}.{key} is missing"
            if key not in want:
                return f"{path}.{key} = {have[key]!r} is too much"
            problem = differ(want[key], have[key], f"{path}.{key}")
            if problem:
                return problem
        return None
    if isinstance(want, list) and isinstance(have, list) and len(want) == len(have):
        return next(filter(None, (differ(w, h, f"{path}[{i}]") for i, (w, h) in enumerate(zip(want, have)))), None)
    if isinstance(want, float) or isinstance(have, float):
        if isinstance(want, (int, float)) and isinstance(have, (int, float)):
            same = want == have or (math.isnan(want) and math.isnan(have)) or abs(want - have) < 1e-6 * abs(want)
            return None if same else f"{path}: {have!r}, not {want!r}"
    if isinstance(want, bool) is isinstance(have, bool) and want == have:
        return None
    return f"{path}: {have!r}, not {want!r}"


# What differs from answer to answer, and what the model of a test cannot know.
IGNORED = {"RequestId", "requestId", "RequestID", "ResponseMetadata"}


def without_namespace(root):
    """The root's namespace is the service's, which the model of a test does not have."""
    namespace = root.tag.rsplit("}", 1)[0] + "}" if "}" in root.tag else "{}"
    for element in root.iter():
        element.tag = element.tag.removeprefix(namespace)
    return root


def name(element):
    return element.tag.rsplit("}", 1)[-1]


def differ_xml(want, have, path=""):
    path = f"{path}/{name(want)}"
    if want.tag != have.tag:
        return f"{path}: element {have.tag}, not {want.tag}"
    if want.attrib != have.attrib:
        return f"{path}: attributes {have.attrib}, not {want.attrib}"
    wants = [child for child in want if name(child) not in IGNORED]
    haves = [child for child in have if name(child) not in IGNORED]
    if not wants and not haves:
        if (want.text or "").strip() != (have.text or "").strip():
            return f"{path}: {have.text!r}, not {want.text!r}"
        return None
    for child in wants:
        problems = [differ_xml(child, other, path) for other in haves]
        if None not in problems:
            same = [p for p, other in zip(problems, haves) if name(other) == name(child)]
            return same[0] if same else f"{path}/{name(child)} is missing"
        haves.pop(problems.index(None))
    return f"{path}/{name(haves[0])} is too much" if haves else None


def cbor(data):
    """One CBOR item as Python values; timestamps as numbers."""
    at = 0

    def take(count):
        nonlocal at
        at += count
        return data[at - count : at]

    def item():
        nonlocal at
        first = take(1)[0]
        major, info = first >> 5, first & 31
        if major == 7:
            if info in (25, 26, 27):
                value = struct.unpack({25: ">e", 26: ">f", 27: ">d"}[info], take({25: 2, 26: 4, 27: 8}[info]))[0]
                return value if math.isfinite(value) else str(value)
            return {20: False, 21: True}.get(info)
        length = info if info < 24 else None if info == 31 else int.from_bytes(take(1 << (info - 24)), "big")

        def parts():
            nonlocal at
            count = 0
            while count != length:
                if length is None and data[at] == 0xFF:
                    at += 1
                    return
                count += 1
                yield

        if major == 0:
            return length
        if major == 1:
            return -1 - length
        if major == 6:
            return item()
        if major in (2, 3):
            whole = take(length) if length is not None else b"".join(cat(part) for part in (item() for _ in parts()))
            return whole.decode() if major == 3 else whole
        if major == 4:
            return [item() for _ in parts()]
        return {item(): item() for _ in parts()}

    def cat(part):
        return part if isinstance(part, bytes) else part.encode()

    return item() if data else {}


if __name__ == "__main__":
    main()
