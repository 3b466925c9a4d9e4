"""rude.py with small numbers."""
import os

import rude

ALONE = True  # See run.


def test_hundreds_of_rude_peers_beside_producers(world):
    tool = os.path.join(os.path.dirname(world.binary), "floe_crowd")
    rude.run(world, tool, {"produce": 40, "silent": 200, "drip": 200, "half": 100}, 4)
