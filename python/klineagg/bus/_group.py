"""Groups of users by name or number."""

from __future__ import annotations

from klineagg import errors
from klineagg._options import invalid, is_integer

__all__ = ["group_number"]


def group_number(group: str | int | None) -> int:
    """As the core takes it: -1 for none."""
    if group is None:
        return -1
    if isinstance(group, str):
        import grp

        try:
            return grp.getgrnam(group).gr_gid
        except KeyError:
            text = f"there is no group {group!r}"
            raise errors.make("invalid_option", text, option="group", group=group) from None
    if not is_integer(group) or group < 0:
        raise invalid("group", group, "the name or the number of a group")
    return int(group)
