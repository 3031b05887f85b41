"""What holds for all tests of one process."""

from hypothesis import settings

from orchestrator.runners.ray_setup import prepare_environment

# Ray reads its environment while it is imported, and some test modules import it when collected.
prepare_environment(local=True)

# The same examples every time: a rare one that fails should not hold up somebody else's change.
# `make test-all` looks for new ones.
settings.register_profile("repeatable", derandomize=True)
settings.load_profile("repeatable")
