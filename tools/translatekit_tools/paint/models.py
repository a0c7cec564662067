"""The models of one page: those of a run's directions, each opened when it is first asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from translatekit.model_file import find_model, read_any_info
from translatekit.storage import local_copy
from translatekit_tools.bulk.options import RunOptions
from translatekit_tools.paint.batching import Batcher
from translatekit_tools.paint.examples import Examples


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """A model that can be asked.

    Attributes:
        batcher: the model itself.
        description: what ``GET /model`` says of it.
        examples: to start a drawing from; None where there are none.
    """

    batcher: Batcher
    description: dict[str, Any]
    examples: Examples | None = None


class Models:
    """The models that a page may switch between.

    Args:
        first: the one that is asked when no direction is named.
        openers: of the others, by direction; each may raise a `TranslatekitError`.
    """

    def __init__(
        self, first: LoadedModel, openers: Mapping[str, Callable[[], LoadedModel]] | None = None
    ) -> None:
        self.first = first
        self._opened = {first.batcher.predictor.info.direction: first}
        self._openers = dict(openers or {})
        self.directions = [*self._opened, *(name for name in self._openers if name not in self._opened)]
        self._opening = asyncio.Lock()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Models:
        await self._stack.enter_async_context(self.first.batcher)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    @property
    def translated(self) -> int:
        """Images that all models have translated."""
        return sum(model.batcher.translated for model in self._opened.values())

    async def get(self, direction: str | None) -> LoadedModel:
        """The model of a direction, or the first.

        Raises:
            KeyError: there is no such direction.
            TranslatekitError: the model cannot be opened.
        """
        if direction is None:
            return self.first
        async with self._opening:
            if direction not in self._opened:
                model = await asyncio.to_thread(self._openers[direction])
                await self._stack.enter_async_context(model.batcher)
                self._opened[direction] = model
        return self._opened[direction]


def find_directions(model: str | Path, options: RunOptions) -> dict[str, Path]:
    """The model files of a run's folder by their directions, the one that `options` means first.

    Raises:
        ModelFileError, OptionError: as `translatekit.model_file.find_model`.
    """
    folder = local_copy(model)
    main = find_model(folder, options.direction, best=options.best)
    if not folder.is_dir():
        return {"": main}
    pattern = f"{'best' if options.best else 'model'}*{main.suffix}"
    found = {read_any_info(main).direction: main}
    for path in sorted(folder.glob(pattern)):
        found.setdefault(read_any_info(path).direction, path)
    return found
