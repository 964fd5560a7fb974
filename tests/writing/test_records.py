"""A request's name."""

import hashlib

from haymaker.writing.records import Request


def request(text: str = "hello", sample: int = 0, **parameters: object) -> Request:
    return Request("row", "passage", "m", ({"role": "user", "content": text},), {"max_tokens": 8} | parameters, sample)


def test_the_key_is_the_sha256_of_the_content_and_of_nothing_else() -> None:
    content = '{"messages":[{"content":"hello","role":"user"}],"model":"m","parameters":{"max_tokens":8},"sample":0}'
    assert request().key == hashlib.sha256(content.encode()).hexdigest()
    other_purpose = Request("else", "question", "m", request().messages, {"max_tokens": 8}, 0, "expected")
    assert other_purpose.key == request().key
    assert request(top_p=1, seed=2).key == request(seed=2, top_p=1).key
    assert len({r.key for r in (request(), request("hi"), request(sample=1), request(seed=1))}) == 4
