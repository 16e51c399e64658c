"""Ordered work in threads, held up and let go by events."""

import threading
from collections.abc import Iterator

import pytest

from sightline.core.parallel import map_ordered

PATIENCE = 30


def counted(pulled: list[int], count: int = 1000) -> Iterator[int]:
    for item in range(count):
        pulled.append(item)
        yield item


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_results_come_in_the_order_of_the_items(workers: int) -> None:
    assert list(map_ordered(lambda item: item * item, range(200), workers)) == [item * item for item in range(200)]
    assert not list(map_ordered(str, [], workers))


def test_the_first_result_comes_first_though_it_is_ready_last() -> None:
    others_done = threading.Barrier(2)

    def work(item: int) -> int:
        if item in (0, 3):
            others_done.wait(PATIENCE)
        return item

    assert list(map_ordered(work, range(4), 2)) == [0, 1, 2, 3]


def test_items_are_worked_on_at_the_same_time() -> None:
    together = threading.Barrier(3)
    assert sorted(map_ordered(lambda _: together.wait(PATIENCE), range(3), 3)) == [0, 1, 2]


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_no_more_than_four_items_a_worker_are_pulled_ahead(workers: int) -> None:
    pulled: list[int] = []
    results = map_ordered(lambda item: item, counted(pulled), workers)
    assert not pulled
    for taken in range(1, 50):
        next(results)
        assert len(pulled) - taken < 4 * workers
    results.close()


def test_without_workers_nothing_is_pulled_ahead_and_no_thread_is_started() -> None:
    pulled: list[int] = []
    threads = set(map_ordered(lambda _: threading.get_ident(), range(5), 0))
    assert threads == {threading.get_ident()}
    results = map_ordered(lambda item: item, counted(pulled), 0)
    next(results)
    assert pulled == [0]


@pytest.mark.parametrize("workers", [0, 2])
def test_an_exception_comes_out_in_its_place(workers: int) -> None:
    results = map_ordered(lambda item: 6 // (item - 3), range(10), workers)
    assert [next(results) for _ in range(3)] == [-2, -3, -6]
    with pytest.raises(ZeroDivisionError):
        next(results)


@pytest.mark.parametrize("workers", [0, 2])
def test_an_exception_of_the_items_comes_out(workers: int) -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise OSError("the list ends here")

    with pytest.raises(OSError, match="the list ends here"):
        list(map_ordered(lambda item: item, broken(), workers))


def test_who_stops_early_leaves_no_thread_and_no_work_behind() -> None:
    before = threading.active_count()
    done: list[int] = []
    results = map_ordered(done.append, range(1000), 2)
    next(results)
    results.close()
    assert len(done) <= 8
    assert threading.active_count() == before
