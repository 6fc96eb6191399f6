"""The life of what a cluster holds for its tenants."""

from enum import StrEnum


class ResourceStatus(StrEnum):
    """The life of a tenant, a table or a range; what is deleted is not there any more."""

    CREATING = "creating"
    ACTIVE = "active"
    UPDATING = "updating"
    DELETING = "deleting"
