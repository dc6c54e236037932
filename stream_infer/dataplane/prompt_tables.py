"""Faust's manager of tables, without the second for which it holds up every start.

The group is joined when tables are registered. Faust gives agents a second to subscribe to their
topics first, since each later subscription is another rebalance. Whether they have can be seen.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

from faust.tables.manager import TableManager

SUBSCRIBE_SECONDS_MAX = 1.0
"""What Faust waits in any case. An agent that has not come so far by then joins later."""

LOOK_SECONDS = 0.002


class PromptTables(TableManager):
    """Registers tables as soon as every agent has subscribed."""

    async def on_start(self) -> None:
        """Wait for the agents, then do as Faust does."""
        until = asyncio.get_running_loop().time() + SUBSCRIBE_SECONDS_MAX
        while not self._is_over(until):  # noqa: ASYNC110 - no event says so
            await asyncio.sleep(LOOK_SECONDS)
        if not self.should_stop:
            await self._update_channels()
            await self.recovery.start()

    def _is_over(self, until: float) -> bool:
        is_late = asyncio.get_running_loop().time() >= until
        return self._have_subscribed() or self.should_stop or is_late

    def _have_subscribed(self) -> bool:
        app = cast("Any", self.app)
        wanted = {name for agent in app.agents.values() for name in agent.get_topic_names()}
        subscribed = {name for channel in app.topics._topics for name in channel.topics}  # noqa: SLF001 - no public way
        return wanted <= subscribed
