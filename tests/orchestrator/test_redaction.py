import io
import json
import logging

import pytest

from orchestrator import redaction
from orchestrator.logs import JsonLines
from orchestrator.redaction import conceal, redact, redacted_logs


@pytest.fixture(autouse=True)
def _nothing_concealed(monkeypatch):
    monkeypatch.setattr(redaction, "_concealed", set())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "postgresql+psycopg://mpn:secret@127.0.0.1:5432/db is away",
            "postgresql+psycopg://***@127.0.0.1:5432/db is away",
        ),
        ("http://me:pa/ss:w?rd@h:1/x, and mail a@b.c", "http://***@h:1/x, and mail a@b.c"),
        ("mysql://me:one@two@h/x", "mysql://***@h/x"),
        ("https://a/b https://t0ken@e/f\nhttps://g/h", "https://a/b https://***@e/f\nhttps://g/h"),
        ("HTTP://Me:Secret@h", "HTTP://***@h"),
        ("get https://h/p?x=1&token=t0p&y=2", "get https://h/p?x=1&token=***&y=2"),
        ("https://b/k?X-Amz-Signature=ab%3D&e=1", "https://b/k?X-Amz-Signature=***&e=1"),
        ("host=h password=abc dbname=x", "host=h password=*** dbname=x"),
        ("{'secret_key': 'abc', 'x': 1}", "{'secret_key': '***', 'x': 1}"),
        ('{"sslpassword": "abc"}', '{"sslpassword": "***"}'),
    ],
)
def test_credentials_are_taken_out_and_nothing_else(text, expected):
    assert redact(text, {}) == expected


@pytest.mark.parametrize(
    "text",
    [
        "no http://127.0.0.1:5000/x?page=3 here",
        'password authentication failed for user "mpn"',
        "tokenizer: xlm-roberta, 12 tokens, max_tokens=3, sigma=0.5",
        '{"place": "http://h/x", "mail": "me@there.org"}',
        "Anna <anna@b.c> wrote to https://h/x",
        "",
    ],
)
def test_what_is_no_credential_stays(text):
    assert redact(text, {}) == text


def test_redacting_twice_changes_nothing_more():
    once = redact("a://b:cdef@g?password=hijkl", {})
    assert redact(once, {}) == once == "a://***@g?password=***"


def test_secrets_of_the_environment_are_known_by_their_value():
    environment = {"AWS_SECRET_ACCESS_KEY": "abc/def+g", "PGPASSWORD": "x1"}
    assert redact("got abc/def+g and x1", environment) == "got *** and x1"  # too short to look for


def test_a_concealed_password_is_found_without_its_uri():
    assert conceal("http://me:p%40ss-word@h/x") == "http://me:p%40ss-word@h/x"
    assert redact("sent 'p@ss-word', or p%40ss-word", {}) == "sent '***', or ***"


def test_json_stays_json():
    content = {"a": "http://u:pw@h/x", "b": ["x@y", 'a "quote"'], "password": "abc"}
    read = json.loads(redact(json.dumps(content), {}))
    assert read == {"a": "http://***@h/x", "b": ["x@y", 'a "quote"'], "password": "***"}


def logged(formatter=None):
    """What a handler of a library's own writes of a message, its arguments and an exception."""
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    handler.setFormatter(formatter)
    log = logging.Logger("a library's")
    log.addHandler(handler)
    try:
        raise ValueError("cannot reach http://u:hidden@h")
    except ValueError:
        log.exception("no %s", "a://u:hidden@h", stack_info=True)
    return text.getvalue()


def test_nothing_that_is_logged_holds_a_credential():
    assert "hidden" in logged()
    with redacted_logs():
        found = logged()
    assert "no a://***@h" in found and "ValueError: cannot reach http://***@h" in found
    assert "hidden" not in found
    assert "hidden" in logged()


def test_structured_logs_hold_no_credential_in_any_process():
    line = json.loads(logged(JsonLines()))
    assert line["message"] == "no a://***@h"
    assert "ValueError: cannot reach http://***@h" in line["exception"]
    assert "hidden" not in str(line)
