"""A Varlink client that knows nothing of vmad: what any other program would do with its socket."""

import json
import socket
import struct


class VarlinkError(Exception):
    def __init__(self, name, parameters):
        super().__init__(f"{name} {parameters}")
        self.name = name
        self.parameters = parameters


class VarlinkClient:
    def __init__(self, path, timeout=10):
        self.socket = socket.socket(socket.AF_UNIX)
        self.buffer = b""
        # A connect that waits for room in the backlog: with a timeout of Python's own it would fail at once.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", timeout, 0))
        try:
            self.socket.connect(str(path))
            self.socket.settimeout(timeout)
        except OSError:
            self.socket.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, method, more=False, **parameters):
        message = {"method": method, "parameters": parameters}
        if more:
            message["more"] = True
        self.socket.sendall(json.dumps(message).encode() + b"\0")

    def receive(self):
        """The next reply; EOFError when the other side has closed."""
        while b"\0" not in self.buffer:
            part = self.socket.recv(65536)
            if not part:
                raise EOFError
            self.buffer += part
        message, self.buffer = self.buffer.split(b"\0", 1)
        reply = json.loads(message)
        if "error" in reply:
            raise VarlinkError(reply["error"], reply.get("parameters"))
        return reply

    def call(self, method, **parameters):
        self.send(method, **parameters)
        return self.receive()["parameters"]

    def call_more(self, method, **parameters):
        """The parameters of all replies."""
        self.send(method, more=True, **parameters)
        replies = []
        while True:
            reply = self.receive()
            replies.append(reply["parameters"])
            if not reply.get("continues"):
                return replies

    def is_closed(self):
        """Waits for the end of the stream, whatever comes before it."""
        try:
            while self.socket.recv(65536):
                pass
        except ConnectionResetError:
            pass
        except TimeoutError:
            return False
        return True
