"""A real Chromium without a window, driven by its DevTools protocol over a websocket."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import time
from contextlib import ExitStack

from websockets.sync.client import connect

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
_FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
    "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--remote-debugging-port=0", "--force-color-profile=srgb", "--lang=en",
)  # fmt: skip
_KEYS = {"Tab": 9, "Enter": 13, "Space": 32}


class Browser:
    """A browser with one page."""

    def __init__(self, profile):
        command = [PROGRAM, *_FLAGS, f"--user-data-dir={profile}", "about:blank"]
        self._number, self._session, self._open = 0, None, ExitStack()
        with self._open as cleanup:
            process = cleanup.enter_context(
                subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            )
            cleanup.callback(process.terminate)
            address = next(
                found.group() for line in process.stderr if (found := re.search(r"ws://\S+", line))
            )
            self._socket = cleanup.enter_context(connect(address, max_size=None, compression=None))
            self._open = cleanup.pop_all()
        self.events = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method, **params):
        """Call a method of the protocol; events that come meanwhile are kept."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        self._socket.send(json.dumps(message))
        while True:
            answer = json.loads(self._socket.recv(timeout=30))
            if answer.get("id") == self._number:
                assert "error" not in answer, answer["error"]
                return answer["result"]
            self.events.append(answer)

    def open(self, url):
        """Go to a page as a new visitor would."""
        self.events.clear()
        self.call("Page.navigate", url=url)
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self.events.append(json.loads(self._socket.recv(timeout=30)))

    def run(self, script):
        """Return what a script evaluates to."""
        params = {"returnByValue": True, "awaitPromise": True, "userGesture": True}
        answer = self.call("Runtime.evaluate", expression=script, **params)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait(self, script, seconds=20):
        """Wait until a script says something true, and return it."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if value := self.run(script):
                return value
            self.run("new Promise(requestAnimationFrame)")
        raise AssertionError(f"not within {seconds} s: {script}\n{self.text('body')}")

    def text(self, selector):
        """Return the text that a user sees in an element."""
        return self.run(f"document.querySelector({json.dumps(selector)}).innerText")

    def press(self, key):
        """Press a key."""
        code = _KEYS[key]
        text = {"Enter": "\r", "Space": " "}.get(key)
        name = " " if key == "Space" else key
        down = {
            "type": "keyDown" if text else "rawKeyDown",
            "windowsVirtualKeyCode": code,
            "key": name,
            "code": key,
        }
        self.call("Input.dispatchKeyEvent", **down, **({"text": text} if text else {}))
        self.call("Input.dispatchKeyEvent", type="keyUp", windowsVirtualKeyCode=code, key=name, code=key)

    def type(self, text):
        """Replace what stands in the field that has the focus."""
        self.run("document.activeElement.select?.()")
        self.call("Input.insertText", text=text)

    def focus(self, label):
        """Put the focus into the field with this label."""
        script = f"""(() => {{
            const label = [...document.querySelectorAll('label')].find((each) => each.innerText === {json.dumps(label)});
            document.getElementById(label.htmlFor).focus();
        }})()"""
        self.run(script)

    def size(self, width, height, *, phone=False):
        """Take the size of a screen."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=phone,
        )

    def look(self, scheme):
        """Prefer light or dark."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", features=features)

    def shoot(self, path):
        """Keep a picture of the whole page."""
        self.run("scrollTo(0, 0)")
        width, height = self.run("[innerWidth, document.documentElement.scrollHeight]")
        # as high as the page, or what sticks to the screen's edge would stand in its middle
        self.size(width, height)
        self.run("Promise.all(document.getAnimations().map((each) => each.finished)).then(() => true)")
        answer = self.call("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(answer["data"]))

    def complaints(self):
        """Return what went wrong on the page: exceptions, and what a policy forbade."""
        self.run("1")
        kinds = {"Runtime.exceptionThrown", "Log.entryAdded"}
        return [event["params"] for event in self.events if event["method"] in kinds]

    def requests(self):
        """Return the addresses that the page asked."""
        sent = [event for event in self.events if event["method"] == "Network.requestWillBeSent"]
        return [event["params"]["request"]["url"] for event in sent]

    def close(self):
        """End the browser."""
        self._open.close()
