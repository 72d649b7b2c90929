"""Starting the worker processes of one machine, and turning what happens to them into one line and an exit status.

Started plainly, `mglm train` checks everything and then starts its workers here, with torch's elastic launcher, the one
under torchrun. Started by torchrun itself (on a cluster), each process is a worker at once.

Exit status: 0 trained to the end (or done before), 2 a mistake or a failed worker, 128 + signal after SIGTERM, SIGINT,
SIGUSR1 or SIGUSR2; the line before says whether the state was saved. A worker that dies takes the others with it; none
outlives its launcher.
"""

import contextlib
import logging
import os
import signal
import sys
import tempfile
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from core.errors import MGLMError
from core.log import get_logger
from core.manifest import MANIFEST_NAME
from core.processes import end_with_parent
from model.checkpoint_meta import complete_checkpoints, read_meta
from train.config import TrainingConfig
from train.job import CHECKPOINTS, Job, summary
from train.signals import STOP_SIGNALS

_OURS = "MGLM_LAUNCHED"  # set for workers started here: they leave the telling of errors to their parent
_NO_MEMORY = ("out of memory", "can't allocate memory", "MemoryError")  # of CUDA, torch on the CPU, Python
_SAVE_TIMEOUT_S = 600  # how long workers may take to save after a signal before they are killed
_ERROR, _SAVED = "error.json", "saved"  # what a worker leaves its launcher: torch's report, and our note


def is_worker() -> bool:
    """Whether this process is one of torchrun's or ours."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def started_workers() -> int:
    """Number of workers, as torchrun or we have started them."""
    return int(os.environ["WORLD_SIZE"])


def gpus() -> int:
    """Number of CUDA devices of this machine."""
    import torch

    return torch.cuda.device_count()


def processes(nproc: int | None, split: int) -> int:
    """Number of workers: as given, else one per GPU, else as many as the model is split over.

    Raises:
        MGLMError: more than there are GPUs, where there are any, or less than one.
    """
    available = gpus()
    if nproc is None:
        return available or split
    if nproc < 1 or (available and nproc > available):
        raise MGLMError(
            f"--nproc {nproc}",
            expected=f"1 to {available}, the GPUs of this machine" if available else "at least 1",
            action="use torchrun on each machine for more",
        )
    return nproc


def launch(arguments: Sequence[str], nproc: int, output: Path) -> None:
    """Runs `python -m mglm ARGUMENTS` in `nproc` workers on this machine and waits for them to finish `output`.

    Raises:
        MGLMError: a worker failed, after a signal too; its own message is in the line.
        SystemExit: the workers stopped after a signal; the status is 128 + the signal.
    """
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # failures are told below, in one line
    with tempfile.TemporaryDirectory(prefix="mglm-workers-") as logs, _environment(nproc), _handlers_kept():
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=nproc,
            run_id=uuid.uuid4().hex,
            rdzv_backend="c10d",
            rdzv_endpoint="127.0.0.1:0",  # a free port; torchrun --standalone asks for a host name that resolves
            local_addr="127.0.0.1",
            max_restarts=0,
            logs_specs=DefaultLogsSpecs(log_dir=logs),
            signals_to_handle=",".join(number.name for number in STOP_SIGNALS),
        )
        try:
            elastic_launch(config, sys.executable)("-m", "mglm", *arguments)
        except SignalException as stopped:
            if (output / MANIFEST_NAME).exists():  # it came when all was done
                return
            if failures := _reported(Path(logs)):
                raise _explain(*_cause(failures)) from None
            _stop(int(stopped.sigval), saved=any(Path(logs).rglob(_SAVED)))
        except ChildFailedError as failed:
            rank, failure = _cause(failed.failures)
            if failure.exitcode - 128 in STOP_SIGNALS:  # the workers got the signal and we did not
                _stop(failure.exitcode - 128, saved=True)
            raise _explain(rank, failure) from None


def work(prepare: Callable[[int], Job], *, overwrite: bool) -> None:
    """The life of a worker: check, join the others, train, leave.

    `prepare(world_size)` checks everything. The first process does it, and claims the output, before it meets the
    others, so that a mistake is told once; they wait for it and then do the same.
    """
    as_worker(lambda: _work(prepare, overwrite))


def as_worker(train: Callable[[], int]) -> None:
    """Runs `train`, which returns the signal that stopped it or 0, and leaves with what the launcher understands."""
    from torch.distributed.elastic.multiprocessing.errors import get_error_handler

    errors = get_error_handler()
    errors.initialize()
    try:
        stopped_by = train()
    except MGLMError as error:
        errors.record_exception(error)
        if _OURS in os.environ:
            _leave(2)
        raise
    except Exception as error:
        errors.record_exception(error)
        if _lost_another(str(error)):
            print(f"process {os.environ['RANK']} lost another: {str(error).splitlines()[0]}", file=sys.stderr)
            _leave(1)
        raise
    if stopped_by:
        if _OURS in os.environ:
            with contextlib.suppress(OSError):
                Path(os.environ["TORCHELASTIC_ERROR_FILE"]).with_name(_SAVED).touch()
        _leave(128 + stopped_by)


def _work(prepare: Callable[[int], Job], overwrite: bool) -> int:
    """Trains, or finds the work done; returns the signal that stopped it, 0 otherwise."""
    end_with_parent()  # no worker trains on unseen
    rank, world_size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    job = prepare(world_size) if rank == 0 else None
    stage = job.claim(overwrite=overwrite) if job is not None else None
    _quieten()
    import torch
    import torch.distributed as dist

    from model.cpu import cpu_runtime
    from model.parallel import Topology, initialize, shut_down
    from train.loop import run

    with cpu_runtime():
        initialize(Topology(), 0)  # waits for all
        done = torch.tensor(int(stage is not None and stage.done), device=torch.cuda.current_device())
        dist.broadcast(done, src=0)
        stopped_by = 0
        if not done:
            job = job or prepare(world_size)
            model, init = job.model.model_dump(), job.init and job.init.name
            check_same(job.config, job.inputs, steps=job.steps, model=model, init=init, first_step=job.first_step)
            initialize(job.topology, job.config.seed)
            stopped_by = run(job, then_ends=True)
        shut_down()
    if stage is not None and job is not None and not stage.done and not stopped_by:
        # Files of checkpoints were hashed as they were written; a cluster need not wait while one process reads them.
        known = {
            f"{step.relative_to(stage.output).as_posix()}/{name}": entry
            for step in complete_checkpoints(stage.output / CHECKPOINTS)
            for name, entry in read_meta(step).get("files", {}).items()
        }
        stage.finish(facts=summary(job), known=known)
    return stopped_by


def check_same(config: TrainingConfig, inputs: Mapping[str, str], **more: Any) -> None:
    """Whether all processes are about to do the same work. Each has read configuration and inputs for itself: hosts may
    hold other copies of them, and a run that is continued from while it still trains another last checkpoint now. Where
    the inputs lie may differ. To be called by all processes.

    Raises:
        MGLMError: on all processes, the first that differs from process 0, and in what.
    """
    import torch.distributed as dist

    mine = {**config.identity(), **config.whereabouts(), **more}
    mine |= {f"input {name}": value for name, value in inputs.items()}
    told: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(told, mine)
    for rank, other in enumerate(told):
        if differing := [name for name in mine if other.get(name) != told[0].get(name)]:
            raise MGLMError(
                f"training process {rank}",
                found=f"another {', another '.join(differing)} than process 0",
                expected="one configuration and the same inputs on all hosts",
                action="put the same files there; give --continue-from a step directory while that run goes on",
            )


def _quieten() -> None:
    """megatron-core and torch warn of their own deprecations at every import; nothing a user could act on."""
    warnings.filterwarnings("ignore")
    for name in ("megatron", "torch", "root"):
        logging.getLogger(name).setLevel(logging.ERROR)


def _leave(status: int) -> None:
    """Ends this worker with a status that is no error of Python's."""
    sys.stderr.flush()
    raise SystemExit(status)


def _stop(number: int, *, saved: bool) -> None:
    name, when = signal.Signals(number).name, "after saving" if saved else "before it had saved"
    get_logger("train").info("stopped by %s %s: run the same command again to continue", name, when)
    raise SystemExit(128 + number)


def _reported(logs: Path) -> dict[int, Any]:
    """The failures that workers reported, which nobody tells a launcher that got a signal itself.

    Not of those that lost another: while they start, some end at the signal and the others lose these.
    """
    from torch.distributed.elastic.multiprocessing.errors import ProcessFailure

    found = {}
    for path in logs.rglob(_ERROR):
        if path.stat().st_size:
            failure = ProcessFailure(local_rank=int(path.parent.name), pid=0, exitcode=1, error_file=str(path))
            if not _lost_another(_words(failure)):
                found[failure.local_rank] = failure
    return found


def _cause(failures: Mapping[int, Any]) -> tuple[int, Any]:
    """The failure that the others follow from: what a worker said was wrong, else one that was killed, else the first.

    Workers that lost another, or were told by the launcher to end, come last.
    """

    def order(item: tuple[int, Any]) -> tuple[int, int]:
        failure = item[1]
        if _words(failure).startswith(MGLMError.__name__):
            return 0, failure.timestamp
        if failure.exitcode < 0:
            return 1 if failure.exitcode != -signal.SIGTERM else 3, failure.timestamp
        return 3 if _lost_another(_words(failure)) else 2, failure.timestamp

    return min(failures.items(), key=order)


def _lost_another(words: str) -> bool:
    """Whether an error says that the process at the other end of a connection has gone."""
    signs = ("closed by peer", "reset by peer", "Broken pipe", "gloo/transport", "remote process exited", "NCCL error")
    return any(sign in words for sign in signs)


def _words(failure: Any) -> str:
    message = failure.message
    return str(message.get("message", "") if isinstance(message, dict) else message)


def _explain(rank: int, failure: Any) -> MGLMError:
    """One line from a failed worker: its own words when it is a user's mistake, else what ended it."""
    text = _words(failure)
    kind, _, words = text.partition(": ")
    if kind == MGLMError.__name__:
        return MGLMError(words)
    if failure.exitcode < 0:
        found = f"killed by {signal.Signals(-failure.exitcode).name}"
        hint = "if memory ran out, lower micro_batch_size; run the same command again to continue"
        if failure.exitcode == -signal.SIGBUS:
            hint = (
                "a file of the shards was cut short, or the disk fails; run the same command again: it names the file"
            )
        return MGLMError(f"training process {rank}", found=found, action=hint)
    hint = "its own report stands above; run the same command again to continue"
    if any(sign in text for sign in _NO_MEMORY):
        hint = "lower micro_batch_size or head_chunk, or set recompute=full; run the command again to continue"
    return MGLMError(
        f"training process {rank}",
        found=text.splitlines()[-1] if text else f"exit status {failure.exitcode}",
        action=hint,
    )


@contextlib.contextmanager
def _environment(nproc: int) -> Iterator[None]:
    """What workers inherit: cores shared between them, gloo on the loopback, our mark; values set by the user win."""
    threads = max(1, len(os.sched_getaffinity(0)) // nproc)
    wanted = {"OMP_NUM_THREADS": str(threads), "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": str(_SAVE_TIMEOUT_S)}
    wanted["GLOO_SOCKET_IFNAME"] = "lo"  # else gloo looks up the host's name, which need not resolve; GPUs use it too
    root = str(Path(__file__).resolve().parents[1])
    former = dict(os.environ)
    try:
        for key, value in wanted.items():
            os.environ.setdefault(key, value)
        os.environ[_OURS] = "1"
        os.environ["PYTHONPATH"] = os.pathsep.join([root, *filter(None, [former.get("PYTHONPATH")])])
        yield
    finally:
        os.environ.clear()
        os.environ.update(former)


@contextlib.contextmanager
def _handlers_kept() -> Iterator[None]:
    """Puts back the signal handlers that the launcher replaces."""
    former = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
