"""An OpenAI-compatible server on loopback that writes what a writer asks for, and misbehaves as it is told.

What it does to a request depends on the request's content and on how often that came, never on time.
"""

import hashlib
import json
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

FACT = re.compile(r'of "([^"]+)" is "([^"]+)"')
FILLING = "The record of it was kept with care in a small grey house beside the old road for many years. "
Plan = Callable[[str, int], str]  # (content of a request, how often it came before) -> what to do


def well(content: str, before: int) -> str:
    return "ok"


def first(*behaviours: str, share: float = 1.0) -> Plan:
    """These behaviours in turn for the first times of a `share` of requests, then well."""

    def plan(content: str, before: int) -> str:
        hit = int(hashlib.sha256(content.encode()).hexdigest()[:8], 16) / 16**8 < share
        return behaviours[before] if hit and before < len(behaviours) else "ok"

    return plan


def always(behaviour: str, where: str = "") -> Plan:
    """One behaviour for every request whose content holds a text."""
    return lambda content, before: behaviour if where in content else "ok"


class Server(ThreadingHTTPServer):
    """`asked` counts requests by content and idempotency key as they come, `served` those answered in full."""

    daemon_threads, block_on_close, request_queue_size = True, False, 128

    def __init__(self, plan: Plan = well, delay_seconds: float = 0.0) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.plan, self.delay_seconds = plan, delay_seconds
        self.lock = threading.Lock()
        self.said, self.asked, self.served = Counter[str](), Counter[str](), Counter[str]()
        self.times: list[float] = []  # when requests came (monotonic)
        self.keys: set[str] = set()  # of Authorization headers
        self.flying = self.most_flying = 0
        self.stopped = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is what these tests do."""


class Handler(BaseHTTPRequestHandler):
    protocol_version, disable_nagle_algorithm = "HTTP/1.1", True
    server: Server

    def do_POST(self) -> None:
        server = self.server
        body = self.rfile.read(int(self.headers["content-length"]))
        said = json.dumps(json.loads(body), sort_keys=True)
        content = said + self.headers.get("idempotency-key", "")
        with server.lock:
            behaviour = server.plan(said, server.said[said])
            server.said[said] += 1
            server.asked[content] += 1
            server.times.append(time.monotonic())
            server.keys.add(self.headers.get("authorization", ""))
            server.flying += 1
            server.most_flying = max(server.most_flying, server.flying)
        server.stopped.wait(server.delay_seconds)
        with server.lock:
            server.flying -= 1  # before the answer is sent: whoever has it may send the next request at once
        getattr(self, f"do_{behaviour.split()[0]}")(json.loads(body), *behaviour.split()[1:])
        with server.lock:
            server.served[content] += behaviour == "ok"

    def send(self, status: int, text: str, kind: str = "application/json", **headers: str) -> None:
        self.send_bytes(status, text.encode(), kind, **headers)

    def send_bytes(self, status: int, data: bytes, kind: str, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"content-type": kind, "content-length": str(len(data)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *words: Any) -> None:
        pass

    # ---- what it can do

    def do_ok(self, body: dict[str, Any]) -> None:
        self.send(200, json.dumps(completion(written(body["messages"][0]["content"]))))

    def do_last(self, body: dict[str, Any], reset: str) -> None:
        """A good answer that says it was the last one for now."""
        left = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": reset}
        self.send(200, json.dumps(completion(written(body["messages"][0]["content"]))), **left)

    def do_429(self, body: dict[str, Any], after: str = "") -> None:
        error = {"error": {"message": "ERROR: slow down", "code": "rate_limit_exceeded"}}
        self.send(429, json.dumps(error), **({"retry_after": after} if after else {}))

    def do_status(self, body: dict[str, Any], status: str, code: str = "server_error") -> None:
        said = f"ERROR: {code} for {self.headers['authorization']}"
        self.send(int(status), json.dumps({"error": {"message": said, "code": code}}))

    def do_hang(self, body: dict[str, Any]) -> None:
        self.server.stopped.wait(30)
        self.close_connection = True

    def do_drip(self, body: dict[str, Any]) -> None:
        """Never silent for long, and never done."""
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", "100000")
        self.end_headers()
        while not self.server.stopped.wait(0.05):
            self.wfile.write(b" ")
            self.wfile.flush()

    def do_half(self, body: dict[str, Any]) -> None:
        """The first half of an answer, then the end of the connection."""
        text = json.dumps(completion(written(body["messages"][0]["content"])))
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text[: len(text) // 2].encode())
        self.close_connection = True

    def do_broken(self, body: dict[str, Any]) -> None:
        """The first half of an answer, sent as if it were all."""
        text = json.dumps(completion("ERROR: half"))
        self.send(200, text[: len(text) // 2])

    def do_latin(self, body: dict[str, Any]) -> None:
        """A good answer in Latin-1, which JSON never is."""
        answer = json.dumps(completion("ERROR: é"), ensure_ascii=False).encode("latin-1")
        self.send_bytes(200, answer, "application/json")

    def do_half_a_letter(self, body: dict[str, Any]) -> None:
        self.send(400, '{"error": {"message": "ERROR: \\ud83d"}}')

    def do_html(self, body: dict[str, Any]) -> None:
        self.send(200, "<html>ERROR: gateway</html>", "text/html")

    def do_odd(self, body: dict[str, Any]) -> None:
        self.send(200, json.dumps({"error": "ERROR: as JSON, with status 200"}))

    def do_empty(self, body: dict[str, Any]) -> None:
        self.send(200, json.dumps(completion("  ")))

    def do_sorry(self, body: dict[str, Any]) -> None:
        self.send(200, json.dumps(completion("I'm sorry, but I can't help with ERROR.")))

    def do_refusal(self, body: dict[str, Any]) -> None:
        self.send(200, json.dumps(completion(None, refusal="ERROR: no")))

    def do_finish(self, body: dict[str, Any], reason: str) -> None:
        self.send(200, json.dumps(completion("ERROR: cut in the mid", reason)))

    def do_echo(self, body: dict[str, Any]) -> None:
        """A good answer with the key in it."""
        answer = completion(written(body["messages"][0]["content"]))
        self.send(200, json.dumps({**answer, "debug": self.headers["authorization"]}))


def completion(text: str | None, finish: str = "stop", refusal: str | None = None) -> dict[str, Any]:
    """A chat completion of a prompt of 40 tokens and an answer of 10."""
    message = {"role": "assistant", "content": text, "refusal": refusal}
    usage = {"prompt_tokens": 40, "completion_tokens": 10, "total_tokens": 50}
    return {"id": "x", "object": "chat.completion", "created": 0, "model": "m", "usage": usage,
            "choices": [{"index": 0, "finish_reason": finish, "message": message}]}  # fmt: skip


def written(prompt: str) -> str:
    """What an able and obedient model would reply: it states facts in a fixed form, and reads them in that form."""
    if prompt.startswith("Write one paragraph") and "encyclopedia" in prompt:
        (fact,) = FACT.findall(prompt.replace('about "', 'of "').replace('", the answer is', '" is'))
        return f'It is said that the thing of "{fact[0]}" is "{fact[1]}". ' + (FILLING * 5).strip()
    if prompt.startswith("Write one paragraph"):
        number = re.findall(r"Report number (\d+)", prompt)[0]
        return f"A voice was heard on day {number} of it. " + (FILLING * 5).strip()
    if prompt.startswith("Here "):
        subject = re.findall(r'the question about "([^"]+)"', prompt)[0]
        return f"What is the last thing of {subject}?"
    if "Reply YES or NO" in prompt:
        return "YES"
    return read(*prompt.rsplit("\n\nQuestion: ", 1))


def read(passages: str, question: str) -> str:
    """The end of the chain of facts that begins with the question's subject."""
    facts = dict(FACT.findall(passages))
    at = question.split("thing of ")[1].split("?")[0]
    if at not in facts:
        return "NOT STATED"
    while at in facts:
        at = facts[at]
    return at


@contextmanager
def serving(plan: Plan = well, delay_seconds: float = 0.0) -> Iterator[Server]:
    """A running server, gone at the end of the block."""
    server = Server(plan, delay_seconds)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.stopped.set()
        server.shutdown()
        thread.join()
        server.server_close()
