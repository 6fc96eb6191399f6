"""The network between machines: links that delay, drop, repeat and part, and heal again.

It carries closures: whoever sends says what is to happen at the other side. Nothing else knows of
links, so the faults are the same for calls between components and for the coordinator's.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import Context
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable
    from random import Random

    from tests.simulation.loop import SimLoop
    from tests.simulation.trace import Trace

SILENCE_S: Final = (4.0, 5.0)  # until a connection over a link that was cut counts as lost


@dataclass(slots=True, kw_only=True)
class Weather:
    """How messages fare; probabilities are of one message, times in seconds."""

    delay_s: tuple[float, float] = (0.000_2, 0.002)
    spike: float = 0.0
    spike_s_max: float = 1.5
    drop: float = 0.0
    repeat: float = 0.0  # of a message that may be repeated at all

    def calm(self) -> None:
        """Let nothing happen to messages any more but ordinary delay."""
        self.spike = self.drop = self.repeat = 0.0


class Network:
    """All links. A link is named by two machines and has a direction."""

    def __init__(self, loop: SimLoop, *, random: Random, trace: Trace) -> None:
        """Connect everybody with everybody."""
        self._loop = loop
        self._random = random
        self._trace = trace
        self._cut: dict[tuple[str, str], int] = {}  # how many reasons each link is cut for
        self._slow: dict[tuple[str, str], float] = {}
        self._context = Context()
        self._watchers: list[Callable[[str, str], None]] = []
        self.weather = Weather()
        self.messages = 0

    # ------------------------------------------------------------------------------- faults

    def cut(self, source: str, target: str) -> None:
        """Let nothing pass from one machine to another any more; may be done for many reasons."""
        self._cut[source, target] = self._cut.get((source, target), 0) + 1
        self._trace.event("link_cut", f"{source}>{target}")
        for told in self._watchers:
            self._loop.call_later(
                self._random.uniform(*SILENCE_S), self._silent, told, source, target,
                context=self._context,
            )  # fmt: skip

    def mend(self, source: str, target: str) -> None:
        """Take one reason away; the link works again when none is left."""
        left = self._cut.get((source, target), 0) - 1
        if left > 0:
            self._cut[source, target] = left
        else:
            self._cut.pop((source, target), None)
        self._trace.note(f"link_mended {source}>{target}")

    def part(self, some: Iterable[str], others: Iterable[str], *, one_way: bool = False) -> Parting:
        """Cut every link from `some` to `others`, and back unless `one_way`; undo with `mend`."""
        links = [(a, b) for a in some for b in others if a != b]
        if not one_way:
            links += [(b, a) for a, b in links]
        for source, target in links:
            self.cut(source, target)
        return Parting(self, tuple(links))

    def slow(self, source: str, target: str, *, extra_s: float) -> None:
        """Delay everything on a link by so much more; 0.0: no more than others."""
        self._slow[source, target] = extra_s

    def heal(self) -> None:
        """Undo every fault of the network."""
        self._cut.clear()
        self._slow.clear()
        self.weather.calm()
        self._trace.note("network_healed")

    def is_open(self, source: str, target: str) -> bool:
        """Tell whether messages pass from one machine to another now."""
        return (source, target) not in self._cut

    # ------------------------------------------------------------------------------- messages

    def send(
        self,
        source: str,
        target: str,
        arrive: Callable[..., None],
        *args: Any,
        may_repeat: bool = False,
    ) -> None:
        """Call `arrive` when the message has got through, if it does, twice if it is repeated.

        `arrive` runs in no process; it hands over with `Process.call_soon`.
        """
        weather, random = self.weather, self._random
        self.messages += 1
        if (source, target) in self._cut or (weather.drop and random.random() < weather.drop):
            self._trace.event("message_dropped", f"{source}>{target}")
            return
        self._send_once(source, target, arrive, args)
        if may_repeat and weather.repeat and random.random() < weather.repeat:
            self._trace.event("message_repeated", f"{source}>{target}")
            self._send_once(source, target, arrive, args)

    def draw_delay_s(self, source: str, target: str) -> float:
        """Draw how long a message takes."""
        weather, random = self.weather, self._random
        delay_s = random.uniform(*weather.delay_s) + self._slow.get((source, target), 0.0)
        if weather.spike and random.random() < weather.spike:
            self._trace.event("message_delayed", f"{source}>{target}")
            delay_s += random.uniform(0.0, weather.spike_s_max)
        return delay_s

    def on_silence(self, told: Callable[[str, str], None]) -> None:
        """Call `told` with a link that has been cut for so long that connections are given up."""
        self._watchers.append(told)

    def _send_once(
        self, source: str, target: str, arrive: Callable[..., None], args: tuple[Any, ...]
    ) -> None:
        self._loop.call_later(
            self.draw_delay_s(source, target),
            self._arrive,
            (source, target),
            arrive,
            args,
            context=self._context,
        )

    def _arrive(
        self, link: tuple[str, str], arrive: Callable[..., None], args: tuple[Any, ...]
    ) -> None:
        if link in self._cut:  # since it was sent
            self._trace.event("message_dropped", f"{link[0]}>{link[1]}")
            return
        arrive(*args)

    def _silent(self, told: Callable[[str, str], None], source: str, target: str) -> None:
        if (source, target) in self._cut:
            told(source, target)


class Parting:
    """A partition that can be undone."""

    def __init__(self, network: Network, links: tuple[tuple[str, str], ...]) -> None:
        """Know the links that were cut."""
        self._network = network
        self._links = links

    def mend(self) -> None:
        """Let messages pass again; fine if it was done already."""
        links, self._links = self._links, ()
        for source, target in links:
            self._network.mend(source, target)
