"""members.py with small numbers."""
import os

import members

ALONE = True  # See run.


def test_forty_groups_go_on_when_the_server_is_killed(world):
    tool = os.path.join(os.path.dirname(world.binary), "floe_members")
    members.run(world, tool, members.parse([
        "--groups", "40", "--cycles", "3", "--session", "3000", "--heartbeat", "300", "--commit", "200",
        "--delay", "300ms", "--window", "0", "--churn", "0"]))
