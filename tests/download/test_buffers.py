"""No more memory is taken than there is, and what is given back is taken again."""

from worker.download.buffers import Buffers

MIB = 1 << 20


def _take_all(buffers: Buffers, size: int) -> list[bytearray]:
    taken = []
    while (buffer := buffers.take(size)) is not None:
        taken.append(buffer)
    return taken


def test_buffers_fit_into_the_memory_and_come_back() -> None:
    buffers = Buffers(5 * MIB)
    taken = _take_all(buffers, MIB)
    assert len(taken) == 5
    buffers.give_back(taken[3])
    assert buffers.take(MIB) is taken[3]
    assert buffers.take(MIB) is None
    extra = buffers.take(MIB, beyond=True)
    assert extra is not None
    for buffer in [*taken, extra]:
        buffers.give_back(buffer)
    assert len(_take_all(buffers, 2 * MIB)) == 2, "memory of another size is free, too"


def test_there_are_two_at_least_and_eight_at_most() -> None:
    assert len(_take_all(Buffers(0), 12 * MIB)) == 2
    assert len(_take_all(Buffers(1 << 40), 1)) == 8


def test_a_quarter_of_what_is_taken_is_worth_to_be_freed() -> None:
    buffers = Buffers(8)
    _take_all(buffers, 1)
    assert [buffers.worth_freeing(count) for count in (1, 2, 3)] == [False, True, True]
    few = Buffers(0)
    _take_all(few, 1)
    assert few.worth_freeing(1)
