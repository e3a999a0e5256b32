"""What a hostile client can do to the connection itself: the server answers 4xx or hangs up, and the next request is served."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator

import httpx
import pytest

from tests.support.api_server import ApiServer
from tests.support.eventually import PATIENCE_S
from tests.support.labeling import a_project, a_task

pytestmark = pytest.mark.redis
CLAIM = b"POST /v1/projects/pets/tasks:claim HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
GET = b"GET /v1/me HTTP/1.1\r\nHost: x\r\n"

WIRES = {
    "both lengths": CLAIM + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "two lengths": CLAIM + b"Content-Length: 2\r\nContent-Length: 4\r\n\r\n{}{}",
    "negative length": CLAIM + b"Content-Length: -1\r\n\r\n{}",
    "bad chunk size": CLAIM + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    "endless chunk size": CLAIM + b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 5000 + b"\r\n",
    "HTTP/1.0": b"GET /v1/me HTTP/1.0\r\n\r\n",
    "no host": b"GET /v1/me HTTP/1.1\r\nConnection: close\r\n\r\n",
    "h2c upgrade": GET + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n\r\n",
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "64 KB header": GET + b"X-Long: " + b"x" * 65536 + b"\r\n\r\n",
    "1 MB token": GET + b"Authorization: Bearer " + b"x" * 2**20 + b"\r\n\r\n",
    "header without a colon": GET + b"nonsense\r\n\r\n",
    "folded header": GET + b"Authorization: Bearer\r\n tb_x\r\n\r\n",
    "NUL in the path": b"GET /v1/me\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
    "absolute target": b"GET http://evil.example/v1/me HTTP/1.1\r\nHost: x\r\n\r\n",
    "CONNECT": b"CONNECT evil.example:443 HTTP/1.1\r\nHost: x\r\n\r\n",
    "TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "pipelined": GET + b"\r\n" + GET + b"\r\n",
}


@pytest.fixture(scope="module")
def api(redis_server) -> Iterator[ApiServer]:  # type: ignore[no-untyped-def]  # the session's server
    with ApiServer(a_project("wire"), redis_server.url) as server:
        yield server


@pytest.mark.parametrize("wire", WIRES.values(), ids=list(WIRES))
def test_odd_bytes_get_a_refusal_and_harm_nobody(api: ApiServer, wire: bytes) -> None:
    """No 2xx, no 5xx, no hang; the connection after it is served as ever."""
    host, port = httpx.URL(api.url).host, httpx.URL(api.url).port
    with socket.create_connection((host, port), timeout=PATIENCE_S) as connection:
        connection.sendall(wire)
        connection.shutdown(socket.SHUT_WR)
        answer = bytearray()
        while len(answer) < 65536 and (piece := _read(connection)):
            answer += piece
    codes = [line.split()[1] for line in answer.split(b"\r\n") if line.startswith(b"HTTP/1.")]
    assert all(code.startswith(b"4") for code in codes), codes
    assert httpx.get(f"{api.url}/v1/me", timeout=PATIENCE_S).status_code == 401


def _read(connection: socket.socket) -> bytes:
    try:
        return connection.recv(65536)
    except ConnectionResetError:
        return b""


def test_three_hundred_idle_connections_keep_nobody_out(api: ApiServer) -> None:
    """They send half a request and wait: others are served meanwhile."""
    host, port = httpx.URL(api.url).host, httpx.URL(api.url).port
    idle = [socket.create_connection((host, port), timeout=PATIENCE_S) for _ in range(300)]
    try:
        for connection in idle:
            connection.sendall(GET)
        assert httpx.get(f"{api.url}/v1/me", timeout=PATIENCE_S).status_code == 401
    finally:
        for connection in idle:
            connection.close()


@pytest.mark.parametrize("same_key", [True, False])
def test_fifty_submits_at_once_are_one_answer(api: ApiServer, same_key: bool) -> None:
    """Under one key all get the same answer; under fifty keys one is accepted and the others are told so: one revision either way."""
    name = f"ann-{same_key}"
    headers = {"authorization": f"Bearer {api.token(name)}"}
    api.offer(a_task(100 + same_key, "wire"))

    async def storm() -> list[httpx.Response]:
        async with httpx.AsyncClient(base_url=api.url, headers=headers, timeout=PATIENCE_S) as client:
            claimed = (await client.post("/v1/projects/wire/tasks:claim", json={})).json()
            (task,) = claimed["tasks"]
            body = {"lease_token": task["lease"]["token"], "value": "cat"}
            path = f"/v1/tasks/{task['task_id']}/annotations"
            keys = ["k" if same_key else f"k{i}" for i in range(50)]
            return await asyncio.gather(
                *(client.post(path, json=body, headers={"idempotency-key": key}) for key in keys)
            )

    answers = asyncio.run(storm())
    accepted = [a for a in answers if a.status_code == 201]
    assert {a.status_code for a in answers} <= ({201} if same_key else {201, 409})
    assert len(accepted) == (50 if same_key else 1)
    assert len({json.dumps(a.json() | {"undo_s": 0}, sort_keys=True) for a in accepted}) == 1
    votes = {(a.annotation_id, a.revision) for a in api.call(api.office.annotations()) if a.annotator == name}
    assert len(votes) == 1


def test_repeated_keys_in_a_body_are_refused(api: ApiServer) -> None:
    """Readers of JSON take the last one and say nothing; here nothing is taken, and the key is named."""
    headers = {"authorization": f"Bearer {api.token('dup')}", "content-type": "application/json"}
    answer = httpx.post(
        f"{api.url}/v1/projects/wire/tasks:claim", content=b'{"max": 99, "max": 1}', headers=headers, timeout=PATIENCE_S
    )
    assert (answer.status_code, answer.json()["errors"]) == (422, [{"field": "body.max", "problem": "given_twice"}])


def test_claims_sent_in_a_row_on_one_connection_are_answered_one_by_one_and_the_last_one_closes_it(
    api: ApiServer,
) -> None:
    """Pipelined hot requests: an answer each, in order, with the headers of every answer; `Connection: close` is obeyed."""
    token, url = api.token("pia"), httpx.URL(api.url)
    api.offer(a_task(1, project="wire"))
    ask = CLAIM.replace(b"pets", b"wire") + f"Authorization: Bearer {token}\r\n".encode() + b"Content-Length: 2\r\n"
    with socket.create_connection((url.host, url.port), timeout=PATIENCE_S) as connection:
        connection.sendall(2 * (ask + b"\r\n{}") + ask + b"Connection: close\r\n\r\n{}")
        answer = bytearray()
        while piece := _read(connection):
            answer += piece
    heads, tasks = [], []
    while answer:
        head, _, rest = bytes(answer).partition(b"\r\n\r\n")
        lines = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:])
        length = int(lines.pop(b"content-length"))
        heads.append((head.split(b"\r\n")[0], sorted(lines)))
        tasks += [task["task_id"] for task in json.loads(rest[:length])["tasks"]]
        answer = bytearray(rest[length:])
    assert [status for status, _ in heads] == [b"HTTP/1.1 200 OK"] * 3
    assert heads[0] == heads[1]
    assert set(heads[2][1]) - set(heads[0][1]) == {b"connection"}
    assert {b"date", b"content-security-policy", b"cache-control"} < set(heads[0][1])
    assert len(tasks) == 3
    assert len(set(tasks)) == 1
