"""What every test can ask for: `@pytest.mark.interop("mosquitto_pub", ...)`, programs of the operating system."""

import os
import shutil

import pytest
from hypothesis import settings

# In CI the same code gives the same result; new cases are found where somebody is there to look into them.
# A machine that is busy is no reason to fail: a test has its own limit of time.
settings.register_profile("oriole", deadline=None)
settings.load_profile("oriole")
settings.register_profile("ci", parent=settings.get_profile("oriole"), derandomize=True)
if os.environ.get("CI") == "true":
    settings.load_profile("ci")

# Debian puts mosquitto, the server, where only root looks.
os.environ["PATH"] += os.pathsep + "/usr/sbin"


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip an interop test whose programs are missing; fail it where they are promised, which is in CI."""
    wanted = [program for marker in item.iter_markers("interop") for program in marker.args]
    missing = [program for program in wanted if shutil.which(program) is None]
    if missing:
        packages = "mosquitto, mosquitto-clients, libcoap3-bin, socat, nodejs, npm"
        reason = f"needs {', '.join(missing)}: install Debian's {packages}"
        if os.environ.get("ORIOLE_REQUIRE_INTEROP") == "1" or os.environ.get("CI") == "true":
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
