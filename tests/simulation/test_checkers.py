"""The other checkers, each with a history that is right and with one that is not."""

from __future__ import annotations

from dstore.model.errors import Corrupt, Unavailable, UnavailableKind, Unknown, invalid
from dstore.model.hashing import HASH_MAX
from dstore.replication.peers.errors import unreachable
from tests.simulation.checkers import Log, Primaries, diverged, lost_writes, misplaced, unconserved
from tests.simulation.history import Add, Fate, History, Put, Read, fate_of
from tests.simulation.linearizability import violations


def _history(*fates: Fate) -> History:
    history = History()
    for number, fate in enumerate(fates):
        history.end(history.invoke("c", f"k{number}", Put(number)), fate)
    return history


def test_errors_become_fates() -> None:
    """Only what says that nothing was written may be counted as not written."""
    assert fate_of(unreachable("is away")) is Fate.FAILED
    assert fate_of(Unavailable(UnavailableKind.NO_SPACE, "full")) is Fate.FAILED
    assert fate_of(invalid("no")) is Fate.FAILED
    assert fate_of(Unknown("perhaps")) is Fate.UNKNOWN
    assert fate_of(Corrupt("rot", file="f", where="page 1")) is Fate.UNKNOWN
    assert fate_of(RuntimeError()) is Fate.UNKNOWN


def test_acknowledged_writes_are_present() -> None:
    """An acknowledged write that is gone is told, and a failed one that is there."""
    history = _history(Fate.OK, Fate.FAILED, Fate.UNKNOWN)
    assert lost_writes(history, {"k0": 0, "k1": None, "k2": None}) == []
    assert lost_writes(history, {"k0": 0, "k1": None, "k2": 2}) == []
    assert len(lost_writes(history, {"k0": None, "k1": None, "k2": None})) == 1
    assert len(lost_writes(history, {"k0": 0, "k1": 1, "k2": 2})) == 1


def test_sums_are_conserved() -> None:
    """Counters hold what was added to them, neither less nor twice."""
    history = History()
    for fate in (Fate.OK, Fate.OK, Fate.FAILED, Fate.UNKNOWN):
        history.end(history.invoke("c", "a", Add(10)), fate)
    assert unconserved(history, {"a": 20}) == []
    assert unconserved(history, {"a": 30}) == []
    assert len(unconserved(history, {"a": 10})) == 1
    assert len(unconserved(history, {"a": 40})) == 1


def test_ranges_cover_everything_once() -> None:
    """I8: a gap or an overlap between ranges is told, with its hashes."""
    assert misplaced([(0, 9), (10, HASH_MAX)]) == []
    assert misplaced([(0, 9), (11, HASH_MAX)]) == ["nobody has 0xa to 0xa"]
    assert misplaced([(0, 9), (9, HASH_MAX)]) == ["more than one has 0x9 to 0x9"]
    assert misplaced([(0, 9)]) == ["nobody has 0xa and beyond"]
    assert misplaced([]) == ["nobody has 0x0 and beyond"]
    assert len(misplaced([(0, HASH_MAX), (5, 6)])) == 1


def test_one_primary_acknowledges_in_an_epoch() -> None:
    """I6: a second one in the same epoch is told; in the next epoch it may."""
    primaries = Primaries()
    assert primaries.acknowledged("r", 1, "a") == []
    assert primaries.acknowledged("r", 1, "a") == []
    assert primaries.acknowledged("r", 2, "b") == []
    assert len(primaries.acknowledged("r", 1, "b")) == 1


def test_committed_logs_agree() -> None:
    """I5: at one position all replicas have one record; a log has no hole and no epoch back."""
    log = [(1, 1, b"a"), (1, 2, b"b"), (2, 3, b"c")]
    assert diverged({"x": Log(log), "y": Log(log[1:]), "z": Log(log[:2])}) == []
    other = Log([(1, 1, b"a"), (1, 2, b"other")])
    assert diverged({"x": Log(log), "y": other}) == ["x and y differ at 2"]
    assert len(diverged({"x": Log([(1, 1, b"a"), (1, 3, b"c")])})) == 1
    assert len(diverged({"x": Log([(2, 1, b"a"), (1, 2, b"b")])})) == 1


def test_a_log_lacks_what_was_left_out_and_nothing_else() -> None:
    """Its end is marked, so that what follows has no hole before it."""
    rest = [(1, 1, b"a"), (1, 5, b"e"), (1, 6, b"f")]
    assert diverged({"x": Log(rest, left_out_seq=5)}) == []
    assert len(diverged({"x": Log(rest, left_out_seq=4)})) == 1
    assert len(diverged({"x": Log([rest[0], rest[2]], left_out_seq=5)})) == 1
    assert len(diverged({"x": Log([*rest, (1, 8, b"h")], left_out_seq=5)})) == 1
    assert diverged({"x": Log(rest, left_out_seq=5), "y": Log([(1, 5, b"x")])}) == [
        "x and y differ at 5"
    ]


def test_a_violation_shows_its_operations() -> None:
    """Who reads the report sees what the clients were told, and which key it was."""
    history = _history(Fate.OK)
    history.end(history.invoke("c", "k0", Read()), Fate.OK, 7)
    (told,) = violations(history)
    assert "k0 is illegal" in told
    assert "Put(value=0) ok" in told
    assert "Read() ok 7" in told
