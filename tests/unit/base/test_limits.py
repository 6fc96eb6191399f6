"""The bounds agree with each other."""

from dstore.base import limits


def test_bounds_fit_into_each_other() -> None:
    """An item that may be stored must fit into a body, and a page must hold one."""
    assert limits.ITEM_BYTES_MAX < limits.V1_BODY_BYTES_MAX
    assert limits.ITEM_BYTES_MAX < limits.LIST_BYTES_MAX
    assert limits.LIST_LIMIT_DEFAULT <= limits.LIST_LIMIT_MAX
    assert limits.WRITE_BATCH_MAX <= limits.WRITE_QUEUE_DEPTH_MAX
    assert limits.V1_BODY_BYTES_MAX <= limits.BODY_BYTES_IN_FLIGHT_MAX
    assert limits.NUMBER_EXPONENT_MIN < 0 < limits.NUMBER_EXPONENT_MAX
