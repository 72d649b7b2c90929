import os
import re
import shutil
import signal
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from core.errors import MGLMError
from mglm.cli import main
from model.summarizer import Summarizer, SummaryRequest
from serve.config import ServeConfig
from serve.engine import LEAVES_WITHIN_S
from serve.run import exported_most_tokens, listen
from serve.server import FLUSH_S
from tests.serve.running import ROOT, Service
from tests.serve.test_app import refused, wait_for_metric
from tests.serve.tiny_model import article, write_model

TOKEN, OTHER = "a-token-of-some-length", "another-token-of-length"
WEIGHTS = "model.safetensors"
SITE = "https://news.example"


def test_the_life_of_a_service(tmp_path: Path) -> None:
    """One service for all of it: each worker that starts costs seconds."""
    first, second = write_model(tmp_path / "first"), write_model(tmp_path / "second", seed=1)
    former, after = (Summarizer.from_pretrained(directory, device="cpu") for directory in (first, second))
    model = tmp_path / "model"
    shutil.copytree(first, model)
    tokens = tmp_path / "tokens"
    tokens.write_text(f"# ours\n{TOKEN}\n", "utf-8")
    service = Service(
        model, environment={"MGLM_SERVE_TOKENS": OTHER}, token=TOKEN, device="cpu", host="0.0.0.0",
        token_file=str(tokens), cors_origins=[SITE], deadline_s=600.0,
    )  # fmt: skip
    try:
        tokens_decide(service)
        only_named_sites_are_let_in(service)
        service.ready()
        a_killed_worker_is_replaced(service, former)
        shutil.copyfile(second / WEIGHTS, model / WEIGHTS)  # over the file that the running model was read from
        new_weights_take_over(service, former, after)
        broken_weights_do_not(service, model, after)
        what_was_accepted_is_finished(service, after)
        assert service.process.wait(60) == 0
        assert service.events("stopped")
    finally:
        service.stop()


def tokens_decide(service: Service) -> None:
    with service.client(headers={}) as client:
        for path in ("/v1/models", "/metrics", "/v1/nothing"):
            for given in (None, "Bearer wrong", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x", "Bearer"):
                response = client.get(path, headers={"authorization": given} if given else {})
                refused(response, 401, "token")
                assert response.headers["www-authenticate"] == "Bearer"
        for token in (TOKEN, OTHER):
            assert client.get("/v1/models", headers={"authorization": f"Bearer {token}"}).status_code == 200
        for path in ("/", "/healthz", "/openapi.json"):
            assert client.get(path).status_code == 200


def only_named_sites_are_let_in(service: Service) -> None:
    preflight = {"access-control-request-method": "POST", "access-control-request-headers": "authorization"}
    with service.client(headers={}) as client:
        named = client.options("/v1/summaries", headers={**preflight, "origin": SITE})
        assert named.headers["access-control-allow-origin"] == SITE
        other = client.options("/v1/summaries", headers={**preflight, "origin": "https://elsewhere.example"})
        assert "access-control-allow-origin" not in other.headers


def summaries(service: Service, *numbers: int) -> list[str]:
    with service.client() as client:
        answer = client.post("/v1/summaries", json={"text": [article(number) for number in numbers]})
    return [item["summary"] for item in answer.raise_for_status().json()["summaries"]]


def wanted(summarizer: Summarizer, number: int) -> str:
    return summarizer.summarize_batch([SummaryRequest(article(number))])[0].text


def a_killed_worker_is_replaced(service: Service, summarizer: Summarizer) -> None:
    service.pause_worker()
    with ThreadPoolExecutor(1) as clients:
        answer = clients.submit(summaries, service, 1, 2)
        wait_for_metric(service, "mglm_running_texts", 2)
        os.kill(service.worker_pid, signal.SIGKILL)
        service.wait_for("worker died")
        assert service.metric("mglm_ready") == 0
        assert answer.result() == [wanted(summarizer, 1), wanted(summarizer, 2)]
    assert service.metric("mglm_worker_deaths_total") == 1


def new_weights_take_over(service: Service, former: Summarizer, after: Summarizer) -> None:
    """A request under way is finished by the former weights, one that waits gets the new ones."""
    with service.client() as client, ThreadPoolExecutor(2) as clients:
        (before,) = client.get("/v1/models").json()["data"]
        starts = len(service.events("worker ready"))
        old_pid = service.worker_pid
        service.pause_worker()
        running = clients.submit(summaries, service, 1)
        wait_for_metric(service, "mglm_running_texts", 1)
        reloaded: Future[Any] = clients.submit(client.post, "/v1/models/reload")
        service.wait_for("worker ready", times=starts + 1)
        assert not reloaded.done()
        os.kill(old_pid, signal.SIGCONT)
        assert running.result() == [wanted(former, 1)]
        told = reloaded.result().raise_for_status().json()
    assert told["revision"] != before["revision"]
    assert summaries(service, 1) == [wanted(after, 1)] != [wanted(former, 1)]


def broken_weights_do_not(service: Service, model: Path, before: Summarizer) -> None:
    (model / WEIGHTS).write_bytes(b"broken")
    with service.client() as client:
        problem = refused(client.post("/v1/models/reload"), 500, "reload_failed")
    assert "former weights keep working" in problem["detail"]
    assert summaries(service, 3) == [wanted(before, 3)]


def what_was_accepted_is_finished(service: Service, summarizer: Summarizer) -> None:
    service.pause_worker()
    with ThreadPoolExecutor(2) as clients, service.client() as client:
        running = clients.submit(summaries, service, 1)
        wait_for_metric(service, "mglm_running_texts", 1)
        queued = clients.submit(summaries, service, 2)
        wait_for_metric(service, "mglm_queue_texts", 1)
        service.process.send_signal(signal.SIGTERM)
        os.kill(service.worker_pid, signal.SIGTERM)  # as systemd does
        service.wait_for("draining")
        refused(client.post("/v1/summaries", json={"text": article(3)}), 503, "draining")
        assert client.get("/readyz").json()["why"] == "draining"
        assert client.get("/healthz").status_code == 200
        service.resume_worker()
        assert running.result() == [wanted(summarizer, 1)]
        assert queued.result() == [wanted(summarizer, 2)]


def test_a_worker_that_stops_answering_is_killed_and_replaced(model: Path, summarizer: Summarizer) -> None:
    service = Service(model, device="cpu", stuck_after_s=1.0)
    try:
        service.ready().pause_worker()
        with service.client() as client:
            refused(client.post("/v1/summaries", json={"text": article(1), "deadline_s": 1}), 504, "deadline")
        assert service.wait_for("worker stopped answering")["tried_again"] == 0  # nobody waits for its text any more
        service.wait_for("worker ready", times=2)
        assert summaries(service, 2) == [wanted(summarizer, 2)]
    finally:
        service.stop()


def test_weights_that_do_not_load_end_the_start_with_one_line(model: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(model, broken)
    (broken / WEIGHTS).write_bytes(b"broken")
    done = subprocess.run(
        [sys.executable, "-m", "mglm", "serve", "--model", str(broken), "--port", "0"],
        capture_output=True, text=True, cwd=ROOT, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(f"error: model {broken}; found ")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "tokens", "words"),
    [
        (["--model", "NONE"], "", ["none", "no such directory", "mglm model convert"]),
        (["--model", "."], "", ["no config.json"]),
        (["--host", "0.0.0.0"], "", ["host 0.0.0.0", "no tokens", "--token-file", "--no-auth"]),
        (["--token-file", "NONE"], "", ["token file", "no such file"]),
        (["--no-auth"], TOKEN, ["--no-auth", "1 tokens"]),
        ([], "short", ["token 1 of 1", "5 characters"]),
        (["--host", "203.0.113.1", "--no-auth"], "", ["address 203.0.113.1:8000", "another --host"]),
        (["--set", "serve.max_texts=65"], "", ["max_texts (65)", "max_queue (64)"]),
        (["--set", "serve.batch=65"], "", ["serve.batch", "max_batch"]),
        (["--set", "serve.lid_model=NONE"], "", ["detector", "no such file"]),
    ],
)
def test_a_mistake_is_one_line_before_anything_slow(
    model: Path, tmp_path: Path, arguments: list[str], tokens: str, words: list[str],
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    given = [argument.replace("NONE", str(tmp_path / "none")) for argument in arguments]
    if "--model" not in given:
        given += ["--model", str(model)]
    monkeypatch.setenv("MGLM_SERVE_TOKENS", tokens)
    monkeypatch.setattr("sys.argv", ["mglm", "serve", *given])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    for word in words:
        assert word in line


def test_kubernetes_waits_longer_than_the_service_takes_to_end() -> None:
    text = (ROOT / "docker" / "kubernetes" / "serve.yaml").read_text("utf-8")
    (seconds,) = re.findall(r"terminationGracePeriodSeconds: (\d+)", text)
    assert int(seconds) > ServeConfig().drain_timeout_s + FLUSH_S + LEAVES_WITHIN_S


def test_an_address_that_is_taken_is_said() -> None:
    with listen("127.0.0.1", 0) as taken, pytest.raises(MGLMError, match="in use"):
        listen("127.0.0.1", taken.getsockname()[1])


@pytest.mark.parametrize("host", ["a..b", "x" * 70, "http://0.0.0.0"])
def test_a_host_that_is_none_is_said(host: str) -> None:
    with pytest.raises(MGLMError, match="Choose another --host"):
        listen(host, 0)


def test_the_export_says_how_long_a_summary_may_be(model: Path, tmp_path: Path) -> None:
    assert exported_most_tokens(model) == 24
    (tmp_path / "config.json").write_text("{}", "utf-8")
    assert exported_most_tokens(tmp_path) == 200
    (tmp_path / "generation_config.json").write_text("[]", "utf-8")
    with pytest.raises(MGLMError, match="no JSON object"):
        exported_most_tokens(tmp_path)
