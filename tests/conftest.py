"""What holds for all tests of one process."""

from orchestrator.runners.ray_setup import prepare_environment

# Ray reads its environment while it is imported, and some test modules import it when collected.
prepare_environment(local=True)
