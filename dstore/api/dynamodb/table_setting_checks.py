"""A table's settings beside keys and indexes, as CreateTable and UpdateTable ask for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from dstore.api.dynamodb.errors import validation
from dstore.api.dynamodb.key_schemas import INVALID, listed
from dstore.api.dynamodb.shape_values import shown
from dstore.model.table_settings import BillingMode, TableClass, Throughput, UnitPair

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dstore.api.dynamodb.action import Members

CAPACITY_UNITS_MAX: Final = 1_000_000_000_000  # AWS's own bound of a request; dynalite recorded it
ON_DEMAND_READS_WARM: Final = 12_000  # what an on-demand table starts with, a second
ON_DEMAND_WRITES_WARM: Final = 4_000
LIFTED: Final = -1  # what an update says to have no on-demand maximum
MANAGED_KEY: Final = "alias/aws/dynamodb"

_MAXIMA: Final = ("MaxReadRequestUnits", "MaxWriteRequestUnits")
_WARM: Final = ("ReadUnitsPerSecond", "WriteUnitsPerSecond")

_INITIAL: Final = (
    "initial throughput for OnDemand. See: https://docs.aws.amazon.com/amazondynamodb/latest/"
    "developerguide/on-demand-capacity-mode.html#on-demand-capacity-mode-initial"
)
_UNOFFERED: Final = {
    "ResourcePolicy": "resource policies; leave ResourcePolicy out",
    "GlobalTableSourceArn": "global tables; leave GlobalTableSourceArn out",
    "GlobalTableSettingsReplicationMode": "global tables; leave it out",
    "ReplicaUpdates": "global tables; leave ReplicaUpdates out",
    "GlobalTableWitnessUpdates": "global tables; leave GlobalTableWitnessUpdates out",
    "MultiRegionConsistency": "global tables; leave MultiRegionConsistency out",
    "DisassociationProtectionEnabled": "global tables; leave it out",
    "VectorIndexes": "vector indexes; leave VectorIndexes out",
    "VectorIndexUpdates": "vector indexes; leave VectorIndexUpdates out",
}


def refuse_unoffered(members: Members) -> None:
    """Refuse what dStore would have to keep without doing it.

    Raises: AwsError: a ValidationException that names the member.
    """
    for name, sentence in _UNOFFERED.items():
        if members.get(name) is not None:
            raise validation(f"{INVALID}{name}: dStore does not offer {sentence}")


def check_billing(billing: BillingMode, throughput: Mapping[str, int] | None) -> None:
    """Check that throughput is stated if, and only if, it is provisioned."""
    if billing is BillingMode.PAY_PER_REQUEST:
        if throughput is not None:
            raise validation(
                f"{INVALID}Neither ReadCapacityUnits nor WriteCapacityUnits can be specified when "
                "BillingMode is PAY_PER_REQUEST"
            )
        return
    if throughput is None:
        raise validation(
            f"{INVALID}ReadCapacityUnits and WriteCapacityUnits must both be specified when "
            "BillingMode is PROVISIONED"
        )
    check_units(throughput)


def check_units(throughput: Mapping[str, int]) -> None:
    """Check provisioned units against AWS's upper bound; the shape has checked the lower one."""
    for name in ("ReadCapacityUnits", "WriteCapacityUnits"):
        if throughput[name] > CAPACITY_UNITS_MAX:
            raise validation(f"Given value {throughput[name]} for {name} is out of bounds")


def check_changes(before: Throughput, given: Mapping[str, int], *, what: str) -> None:
    """Refuse provisioned units that are as they were; `what` is "table" or "index <name>"."""
    reads, writes = given["ReadCapacityUnits"], given["WriteCapacityUnits"]
    if (reads, writes) != (before.read_units, before.write_units):
        return
    of = what.partition(" ")[0]
    raise validation(
        f"The provisioned throughput for the {what} will not change. The requested value equals "
        f"the current value. Current ReadCapacityUnits provisioned for the {of}: {reads}. "
        f"Requested ReadCapacityUnits: {reads}. Current WriteCapacityUnits provisioned for the "
        f"{of}: {writes}. Requested WriteCapacityUnits: {writes}. Refer to the Amazon DynamoDB "
        "Developer Guide for current limits and how to request higher limits."
    )


def throughput_of(given: Mapping[str, int] | None) -> Throughput:
    """Read ProvisionedThroughput; none is on demand, whose units read 0."""
    if given is None:
        return Throughput()
    return Throughput(
        read_units=given["ReadCapacityUnits"], write_units=given["WriteCapacityUnits"]
    )


def on_demand_units(
    given: Mapping[str, int] | None, *, billing: BillingMode, where: str = "table"
) -> UnitPair | None:
    """Read OnDemandThroughput at creation; `where` is "table" or "index : <name>"."""
    pair = _pair(given, *_MAXIMA)
    for name, units in _named(pair, *_MAXIMA):
        if billing is BillingMode.PROVISIONED:
            of = "" if where == "table" else f" for {where}"
            raise validation(
                f"{INVALID}{name} for OnDemandThroughput{of} cannot be specified when table "
                "BillingMode is PROVISIONED."
            )
        if units < 1:
            raise outside_range(name, where)
    return pair


def outside_range(name: str, where: str) -> Exception:
    """Make the complaint about an OnDemandThroughput that is no number of units."""
    return validation(
        f"{INVALID}Requested {name} for OnDemandThroughput for {where} is outside of valid range"
    )


def warm_units(
    given: Mapping[str, int] | None,
    *,
    billing: BillingMode,
    provisioned: Throughput,
    where: str = "table",
) -> UnitPair | None:
    """Read WarmThroughput at creation; what is not stated is what the table starts with."""
    pair = _pair(given, *_WARM)
    if pair is None:
        return None
    least = warm_at_start(billing, provisioned)
    _check_warm(pair, least, is_on_demand=billing is BillingMode.PAY_PER_REQUEST, where=where)
    return UnitPair(
        read_units=least.read_units if pair.read_units is None else pair.read_units,
        write_units=least.write_units if pair.write_units is None else pair.write_units,
    )


def new_maxima(
    before: UnitPair | None, given: Mapping[str, int] | None, *, billing: BillingMode, where: str
) -> UnitPair | None:
    """Read OnDemandThroughput of an update: -1 lifts a maximum, what is absent stays."""
    asked = _pair(given, *_MAXIMA)
    if asked is None:
        return before
    for name, units in _named(asked, *_MAXIMA):
        if billing is BillingMode.PROVISIONED:
            of = "" if where == "table" else f" for {where}"
            raise validation(
                f"{INVALID}{name} for OnDemandThroughput{of} cannot be specified when the table "
                "BillingMode is PROVISIONED"
            )
        if units < 1 and units != LIFTED:
            raise outside_range(name, where)
    old = before or UnitPair()
    after = UnitPair(
        read_units=_new_maximum(old.read_units, asked.read_units),
        write_units=_new_maximum(old.write_units, asked.write_units),
    )
    return None if after == UnitPair() else after


def raised_warm(
    before: UnitPair | None, given: Mapping[str, int] | None, *, least: UnitPair, where: str
) -> UnitPair | None:
    """Read WarmThroughput of an update, which cannot lower it; `least` is what it is if unset."""
    asked = _pair(given, *_WARM)
    if asked is None:
        return before
    now = before or least
    for name, units, current in (
        (_WARM[0], asked.read_units, now.read_units),
        (_WARM[1], asked.write_units, now.write_units),
    ):
        if units is not None and current is not None and units < current:
            raise validation(
                f"{INVALID}Requested {name} for WarmThroughput for {where} is lower than current "
                "WarmThroughput, decreasing WarmThroughput is not supported"
            )
    return UnitPair(
        read_units=now.read_units if asked.read_units is None else asked.read_units,
        write_units=now.write_units if asked.write_units is None else asked.write_units,
    )


def warm_at_start(billing: BillingMode, provisioned: Throughput) -> UnitPair:
    """Tell the warm throughput of a table or an index that was not asked to have another."""
    if billing is BillingMode.PAY_PER_REQUEST:
        return UnitPair(read_units=ON_DEMAND_READS_WARM, write_units=ON_DEMAND_WRITES_WARM)
    return UnitPair(read_units=provisioned.read_units, write_units=provisioned.write_units)


def table_class_of(members: Members) -> TableClass | None:
    """Read TableClass, if the request has one."""
    given = members.get("TableClass")
    if given is None:
        return None
    if given not in list(TableClass):
        raise validation(
            "Invalid table-class parameter provided. Please try again with a valid table-class "
            f"value: {listed(TableClass)}."
        )
    return TableClass(given)


def sse_is_asked(given: Mapping[str, Any] | None) -> bool:
    """Read SSESpecification: whether encryption with AWS's managed key is asked for.

    Every table is encrypted, with keys of dStore's own. AWS's managed key is accepted as another
    name for that; a key of the customer's is not, since dStore could not hold to it.
    """
    given = given or {}
    sse_type, key = given.get("SSEType"), given.get("KMSMasterKeyId")
    if not given.get("Enabled", False):
        for name, value in (("SSEType", sse_type), ("KMSMasterKeyId", key)):
            if value is not None:
                raise validation(f"{INVALID}{name} can not be specified if Enabled is false")
        return False
    if sse_type == "AES256":
        raise validation(f"{INVALID}SSEType AES256 is not supported")
    if key is not None and sse_type is None:
        raise validation(f"{INVALID}SSEType KMS is required if KMSMasterKeyId is specified")
    if key is not None and not f":{key}".endswith(f":{MANAGED_KEY}"):
        raise validation(
            f"KMS validation error: Key '{shown([key])}' does not exist: dStore has no KMS; it "
            "encrypts every table with its own keys. Leave KMSMasterKeyId out"
        )
    return True


def check_stream(given: Mapping[str, Any] | None, *, is_new: bool) -> None:
    """Check a StreamSpecification, and refuse to enable what dStore does not have."""
    if given is None:
        return
    has_view = given.get("StreamViewType") is not None
    is_enabled = given["StreamEnabled"]
    if is_enabled and not has_view:
        raise validation(
            f"{INVALID}Table is being created with a stream enabled, UpdateViewType is required"
            if is_new
            else f"{INVALID}If stream is being enabled then UpdateViewType is required"
        )
    if not is_enabled and has_view:
        raise validation(
            f"{INVALID}Table is being created with a stream disabled, "
            "UpdateViewType should not be specified"
            if is_new
            else f"{INVALID}If stream is being disabled, then UpdateViewType must not be specified"
        )
    if is_enabled:
        raise validation(
            f"{INVALID}StreamSpecification: dStore does not offer streams; "
            "leave it out, or set StreamEnabled to false"
        )


def _check_warm(pair: UnitPair, least: UnitPair, *, is_on_demand: bool, where: str) -> None:
    for name, asked, bound, capacity in (
        (_WARM[0], pair.read_units, least.read_units, "ReadCapacityUnits"),
        (_WARM[1], pair.write_units, least.write_units, "WriteCapacityUnits"),
    ):
        assert bound is not None
        if asked is not None and asked < bound:
            floor = _INITIAL if is_on_demand else f"{capacity} of ProvisionedThroughput"
            raise validation(
                f"{INVALID}Requested {name} for WarmThroughput for {where} is lower than {floor}"
            )


def _new_maximum(before: int | None, asked: int | None) -> int | None:
    if asked is None:
        return before
    return None if asked == LIFTED else asked


def _pair(given: Mapping[str, int] | None, read: str, write: str) -> UnitPair | None:
    """Read a structure of two optional numbers; an empty one says nothing."""
    if not given:
        return None
    return UnitPair(read_units=given.get(read), write_units=given.get(write))


def _named(pair: UnitPair | None, read: str, write: str) -> list[tuple[str, int]]:
    if pair is None:
        return []
    both = ((read, pair.read_units), (write, pair.write_units))
    return [(name, units) for name, units in both if units is not None]
