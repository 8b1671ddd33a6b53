"""Reading ahead: the next item is made in a thread while the caller works on the current one."""

from collections.abc import Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

_Item = TypeVar("_Item")


def one_ahead(items: Iterable[_Item]) -> Generator[_Item]:
    """The same items in the same order; while the caller has one, a thread makes the next.

    Errors surface where the item would have come. One item at most is made in advance, so memory use does not depend
    on the number of items. When the iterator is closed, no item is being made any more.

    Examples:
        >>> list(one_ahead("abc"))
        ['a', 'b', 'c']
    """
    source = iter(items)

    def make() -> list[_Item]:
        return list(islice(source, 1))  # empty at the end: a StopIteration cannot be a thread's result

    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="reading-ahead") as reader:
        made = reader.submit(make)
        while item := made.result():
            made = reader.submit(make)
            yield item[0]
