"""A thread that owns a resource."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from translatekit_tools.backends.tensorrt.worker import WorkerThread


class Resource:
    def __init__(self) -> None:
        self.threads = [threading.get_ident()]
        self.order: list[int] = []
        self.freed = threading.Event()


def open_resource(made: list[Resource]) -> WorkerThread[Resource]:
    @contextmanager
    def make() -> Iterator[Resource]:
        resource = Resource()
        made.append(resource)
        yield resource
        resource.threads.append(threading.get_ident())
        resource.freed.set()

    return WorkerThread(make, "test")


def use(resource: Resource, number: int) -> int:
    resource.threads.append(threading.get_ident())
    resource.order.append(number)
    return number


def test_one_thread_makes_uses_and_frees() -> None:
    made: list[Resource] = []
    worker = open_resource(made)
    futures = [worker.submit(lambda resource, number=number: use(resource, number)) for number in range(20)]
    assert [future.result() for future in futures] == list(range(20))
    worker.close()
    worker.close()
    assert made[0].freed.is_set()
    assert made[0].order == list(range(20))
    assert len(set(made[0].threads)) == 1
    assert threading.get_ident() not in made[0].threads
    with pytest.raises(RuntimeError, match="closed"):
        worker.submit(len)  # type: ignore[arg-type]


def test_a_failure_goes_to_who_asked_and_the_thread_lives_on() -> None:
    worker = open_resource([])
    failed = worker.submit(lambda resource: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        failed.result()
    assert worker.submit(lambda resource: use(resource, 3)).result() == 3
    worker.close()


def test_a_failure_to_make_is_raised() -> None:
    @contextmanager
    def make() -> Iterator[None]:
        raise OSError("nothing to make")
        yield

    with pytest.raises(OSError, match="nothing to make"):
        WorkerThread(make, "test")


def test_what_is_forgotten_is_freed() -> None:
    made: list[Resource] = []
    worker = open_resource(made)
    worker.submit(lambda resource: use(resource, 1)).result()
    del worker
    gc.collect()
    assert made[0].freed.wait(5)
    assert len(set(made[0].threads)) == 1


def test_a_program_may_end_without_closing() -> None:
    script = """
from contextlib import contextmanager
from translatekit_tools.backends.tensorrt.worker import WorkerThread
@contextmanager
def make():
    yield 1
    print("freed")
worker = WorkerThread(make, "test")
print(worker.submit(lambda one: one + 1).result())
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30)
    assert (done.stdout, done.returncode) == ("2\nfreed\n", 0)
