"""A table's settings beside keys and indexes, as CreateTable and UpdateTable ask for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from dstore.api.dynamodb.errors import validation
from dstore.api.dynamodb.key_schemas import INVALID
from dstore.model.table_settings import BillingMode, Throughput, UnitPair

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dstore.api.dynamodb.action import Members

CAPACITY_UNITS_MAX: Final = 1_000_000_000_000  # AWS's own bound of a request; dynalite recorded it
ON_DEMAND_READS_WARM: Final = 12_000  # what an on-demand table starts with, a second
ON_DEMAND_WRITES_WARM: Final = 4_000
MANAGED_KEY: Final = "alias/aws/dynamodb"

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
    pair = _pair(given, "MaxReadRequestUnits", "MaxWriteRequestUnits")
    for name, units in _named(pair, "MaxReadRequestUnits", "MaxWriteRequestUnits"):
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
    pair = _pair(given, "ReadUnitsPerSecond", "WriteUnitsPerSecond")
    if pair is None:
        return None
    least = warm_at_start(billing, provisioned)
    _check_warm(pair, least, is_on_demand=billing is BillingMode.PAY_PER_REQUEST, where=where)
    return UnitPair(
        read_units=least.read_units if pair.read_units is None else pair.read_units,
        write_units=least.write_units if pair.write_units is None else pair.write_units,
    )


def warm_at_start(billing: BillingMode, provisioned: Throughput) -> UnitPair:
    """Tell the warm throughput of a table or an index that was not asked to have another."""
    if billing is BillingMode.PAY_PER_REQUEST:
        return UnitPair(read_units=ON_DEMAND_READS_WARM, write_units=ON_DEMAND_WRITES_WARM)
    return UnitPair(read_units=provisioned.read_units, write_units=provisioned.write_units)


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
    if key is not None and not key.endswith(MANAGED_KEY):
        raise validation(
            f"KMS validation error: Key '{key}' does not exist: dStore has no KMS; it encrypts "
            "every table with its own keys. Leave KMSMasterKeyId out"
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
        ("ReadUnitsPerSecond", pair.read_units, least.read_units, "ReadCapacityUnits"),
        ("WriteUnitsPerSecond", pair.write_units, least.write_units, "WriteCapacityUnits"),
    ):
        assert bound is not None
        if asked is not None and asked < bound:
            floor = _INITIAL if is_on_demand else f"{capacity} of ProvisionedThroughput"
            raise validation(
                f"{INVALID}Requested {name} for WarmThroughput for {where} is lower than {floor}"
            )


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
