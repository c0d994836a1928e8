"""What systemd is to a service, as far as a service can tell: a socket that hears what it notifies."""

import socket


class ServiceManager:
    """Hears what is sent to NOTIFY_SOCKET."""

    def __init__(self, directory):
        self.path = directory / "notify"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(self.path))
        self.socket.settimeout(60)
        self.messages = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()
        self.path.unlink()

    @property
    def environment(self):
        return {"NOTIFY_SOCKET": str(self.path)}

    def hear(self, wanted):
        """Waits for a line; returns those that came before it and were not asked for yet."""
        before = []
        while True:
            while self.messages:
                line = self.messages.pop(0)
                if line == wanted or (callable(wanted) and wanted(line)):
                    return before
                before.append(line)
            self.messages.extend(self.socket.recv(65536).decode().splitlines())
