"""A headless Chromium, to look at a page as a person would: what it logs, asks for, and how it is laid out.

Spoken to over a pipe with the DevTools protocol, so that no port is opened. Only the standard library is used.
"""

import base64
import json
import os
import pathlib
import shutil
import subprocess
import tempfile

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser")
PATIENCE = 120

# The last ones keep it from asking for anything on its own.
OPTIONS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars", "--no-first-run",
           "--disable-quic", "--disable-background-networking", "--disable-component-update", "--disable-sync")


class Chromium:
    """One page at a time; `with` ends it."""

    def __init__(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="vmad-chromium-"))
        from_us, self.commands = os.pipe()
        self.replies, to_us = os.pipe()
        # It reads from descriptor 3 and writes to 4.
        self.process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "timeout", "--kill-after=5", str(PATIENCE), "sh", "-c", f'exec 3<&{from_us} 4>&{to_us}; exec "$@"', "sh",
             PROGRAM, *OPTIONS, f"--user-data-dir={self.directory}", "--remote-debugging-pipe", "about:blank"],
            pass_fds=(from_us, to_us), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env={**os.environ, "HOME": str(self.directory)})
        os.close(from_us)
        os.close(to_us)
        self.buffer = b""
        self.count = 0
        self.events = []
        self.session = None
        target = next(info for info in self.call("Target.getTargets")["targetInfos"] if info["type"] == "page")
        self.session = self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self.commands)
        os.close(self.replies)
        self.process.terminate()
        self.process.wait(PATIENCE)
        shutil.rmtree(self.directory, ignore_errors=True)

    def receive(self):
        while b"\0" not in self.buffer:
            block = os.read(self.replies, 1 << 20)
            if not block:
                raise AssertionError("Chromium has ended")
            self.buffer += block
        message, _, self.buffer = self.buffer.partition(b"\0")
        return json.loads(message)

    def call(self, method, **parameters):
        self.count += 1
        message = {"id": self.count, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.commands, json.dumps(message).encode() + b"\0")
        while (reply := self.receive()).get("id") != self.count:
            self.events.append(reply)
        if "error" in reply:
            raise AssertionError(f"{method}: {reply['error']}")
        return reply["result"]

    def set_width(self, width):
        """In CSS pixels; a narrow one is a phone's."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=600, deviceScaleFactor=1,
                  mobile=width < 600)

    def open(self, url, width=800, dark=False):
        """Loads a page. What happened before is forgotten."""
        self.set_width(width)
        self.call("Emulation.setEmulatedMedia", media="screen",
                  features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])
        self.events.clear()
        self.call("Page.navigate", url=url)
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self.events.append(self.receive())

    def evaluate(self, expression):
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in result:
            raise AssertionError(result["exceptionDetails"])
        return result["result"].get("value")

    def parameters_of(self, *methods):
        return [event["params"] for event in self.events if event.get("method") in methods]

    def messages(self):
        """What a person would see on the console."""
        return self.parameters_of("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")

    def requests(self):
        return [event["request"]["url"] for event in self.parameters_of("Network.requestWillBeSent")]

    def screenshot(self, path):
        """Of the whole page."""
        image = self.call("Page.captureScreenshot", captureBeyondViewport=True)["data"]
        pathlib.Path(path).write_bytes(base64.b64decode(image))
