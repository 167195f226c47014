"""How the tests run everywhere."""

import os

import torch
from hypothesis import settings

# The tests' networks are tiny: threads that wait for each other cost more than they compute.
torch.set_num_threads(1)
settings.register_profile("local", deadline=None)
# The same examples on every run, so that a landing is judged by its change alone.
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "local")
