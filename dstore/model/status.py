"""The life of what a cluster holds for its tenants."""

from enum import StrEnum


class ResourceStatus(StrEnum):
    """The life of a tenant, a table or a range; what is deleted is not there any more."""

    CREATING = "creating"
    ACTIVE = "active"
    UPDATING = "updating"
    DELETING = "deleting"

    @property
    def is_held(self) -> bool:
        """Whether nodes hold all of a table, which goes on: its ranges can be moved and split.

        The hidden table of an index is UPDATING while it is filled.
        """
        return self in {ResourceStatus.ACTIVE, ResourceStatus.UPDATING}
