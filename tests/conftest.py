"""What tests share: where the project and the real data lie."""

from pathlib import Path

import pytest
from hypothesis import settings

# Deadlines measure the machine, not the code; the same examples every time keep CI calm.
settings.register_profile("mien", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("mien")

ROOT = Path(__file__).resolve().parents[1]
REAL = ROOT.parent / "shared" / "data"


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Real data beside the project; absent on most machines."""
    if not REAL.is_dir():
        pytest.skip(f"no real data: {REAL.name}/ is not beside the project")
    return REAL
