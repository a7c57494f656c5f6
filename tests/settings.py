"""Settings of the tests: a home of their own, a fast hasher, and the database that TEST_DATABASE names."""

import atexit
import os
import shutil
import tempfile

_home = os.environ.get("TEST_HOME")
if not _home:
    _home = tempfile.mkdtemp(prefix="eltsite-test-home-")
    os.chmod(_home, 0o755)
    os.environ["TEST_HOME"] = _home
    atexit.register(shutil.rmtree, _home, ignore_errors=True)
for _name in [name for name in os.environ if name.startswith("ELTSITE_")]:
    del os.environ[_name]
_worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
os.environ["ELTSITE_HOME"] = os.path.join(_home, _worker)
os.environ["ELTSITE_SLOTS"] = "2"
# One for all processes of a parallel run: an environment is built once.
os.environ["ELTSITE_ENVIRONMENTS"] = os.path.join(_home, "environments")

from eltsite.settings import *  # noqa: E402, F403
from eltsite.settings import DATABASES, ELTSITE_HOME  # noqa: E402

TEST_DATABASE = os.environ.get("TEST_DATABASE", "sqlite")
if TEST_DATABASE == "postgres":
    import dj_database_url

    DATABASES["default"] = dj_database_url.parse(os.environ["TEST_POSTGRES_URL"])
else:
    # A file, not memory, and where an installation with this home has it: threads of the tests share it, and so
    # does a real worker that a test starts.
    DATABASES["default"]["TEST"] = {"NAME": str(ELTSITE_HOME / "eltsite.sqlite3")}

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
ALLOWED_HOSTS = ["*"]
