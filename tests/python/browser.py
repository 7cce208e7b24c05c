"""A headless Chromium, used as somebody at a keyboard would use it.

It is driven by the protocol of its developer tools, one WebSocket of JSON messages.

Source: Chrome DevTools Protocol, "Page", "Runtime", "Input", "Log".
"""

import base64
import itertools
import json
import os
import pathlib
import shutil
import subprocess
import time

import pytest
import requests
import websocket

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
# Everywhere but where somebody relies on the answer, a machine without a browser is no fault.
IS_REQUIRED = bool(os.environ.get("PILEUS_REQUIRE_CHROMIUM"))

needs_chromium = pytest.mark.skipif(not PROGRAM and not IS_REQUIRED, reason="there is no Chromium (scripts/chromium.sh installs it)")


def command(profile, *args):
    """Chromium without a window, with a profile of its own. Its sandbox refuses root, as which tests run in containers."""
    assert PROGRAM, "there is no Chromium: scripts/chromium.sh installs it"
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking"]
    return [PROGRAM, *flags, f"--user-data-dir={profile}", *args]


class NotYet(Exception):
    """The page is on its way to another."""


class Browser:
    """One page of a browser. What its scripts throw, and what it cannot load, is kept in `faults`."""

    def __init__(self, profile: pathlib.Path):
        self.process = subprocess.Popen(
            command(profile, "--remote-debugging-port=0", "--window-size=1000,900", "about:blank"),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            self.socket = self.connect(profile / "DevToolsActivePort")
        except BaseException:
            self.process.kill()
            raise
        self.numbers = itertools.count(1)
        self.faults = []
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def connect(self, place: pathlib.Path):
        port = wait(lambda: place.exists() and place.read_text().split("\n")[0], 60, "Chromium does not start")

        def page():
            pages = requests.get(f"http://127.0.0.1:{port}/json/list", timeout=10).json()
            return next((page["webSocketDebuggerUrl"] for page in pages if page["type"] == "page"), None)

        return websocket.create_connection(wait(page, 30, "Chromium has no page"), timeout=60, suppress_origin=True)

    def close(self):
        self.socket.close()
        self.process.terminate()
        self.process.wait(timeout=30)

    def call(self, method, **params):
        number = next(self.numbers)
        self.socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            message = json.loads(self.socket.recv())
            if message.get("id") == number:
                if "error" in message:
                    raise NotYet(message["error"]["message"])
                return message["result"]
            self.hear(message.get("method"), message.get("params", {}))

    def hear(self, method, params):
        if method == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.faults.append(details.get("exception", {}).get("description", details["text"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.faults.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")

    def run(self, script):
        """The value of an expression in the page."""
        answer = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise NotYet(answer["exceptionDetails"]["text"])
        return answer["result"].get("value")

    def see(self, script, seconds=30):
        """Waits until an expression is true in the page; its value."""

        def look():
            try:
                return self.run(script)
            except NotYet:
                return None

        return wait(look, seconds, f"the page never shows {script}; {self.faults}")

    def go(self, url):
        self.call("Page.navigate", url=url)
        self.see(f"location.href === {json.dumps(url)} && document.readyState === 'complete'")

    def text(self, selector):
        return self.run(f"document.querySelector({json.dumps(selector)}).innerText")

    def type(self, selector, text):
        self.click(selector)
        self.call("Input.insertText", text=text)

    def click(self, selector):
        """Clicks where the element is: one that is hidden or covered is not clicked."""
        element = f"document.querySelector({json.dumps(selector)})"
        middle = "const at = element.getBoundingClientRect(); return [at.x + at.width / 2, at.y + at.height / 2];"
        place = self.see(f"((element) => {{ element.scrollIntoView({{ block: 'center' }}); {middle} }})({element})")
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=place[0], y=place[1], button="left", clickCount=1)

    def picture(self) -> bytes:
        """What is seen now, as a PNG."""
        return base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])


def wait(ask, seconds, complaint):
    deadline = time.monotonic() + seconds
    while not (answer := ask()):
        assert time.monotonic() < deadline, complaint
        time.sleep(0.05)
    return answer
