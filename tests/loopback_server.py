"""A file server on the loopback that can be told to misbehave."""

import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server:
    """Serves ``files``; ``faults`` holds by path what to do instead, once for each entry in its list.

    A fault is "truncate" (a shorter body under a header that tells so), "drop" (the connection ends in the middle),
    "corrupt" (one byte changed), "longer" (a byte too many) or a status code.
    """

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files, self.faults, self.requests = files, {}, Counter()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer._answer(self)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self.url = f"http://127.0.0.1:{self.server.server_port}/"

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def _answer(self, request):
        path = request.path.lstrip("/")
        self.requests[path] += 1
        faults = self.faults.get(path, [])
        fault = faults.pop(0) if faults else None
        if path not in self.files or isinstance(fault, int):
            request.send_error(fault or 404)
            return
        body = self.files[path]
        length = len(body)
        if fault == "truncate":
            body = body[: length // 2]
            length = len(body)
        elif fault == "drop":
            body = body[: length // 2]
        elif fault == "corrupt":
            body = body[:-1] + bytes([body[-1] ^ 1])
        elif fault == "longer":
            body += b"x"
            length += 1
        request.send_response(200)
        request.send_header("Content-Length", str(length))
        request.end_headers()
        request.wfile.write(body)
