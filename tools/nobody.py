"""A copy of this Python, with what tenth's core needs, that a user without privileges can run.

    python tools/nobody.py FOLDER        # as root; prints the interpreter

Root's Python often lies where nobody else can read it. Used by tests and benchmarks that ask whether all of it holds
for an ordinary user, too.
"""

from __future__ import annotations

import shutil
import site
import subprocess
import sys
import sysconfig
from pathlib import Path

import tenth

NOBODY = "65534"
NEEDED = ("cryptography", "rfc8785", "tomli_w", "cffi", "_cffi_backend*", "pycparser", "bcrypt", "click", "*.dist-info")


def copy_python(home: Path) -> Path:
    """Into this folder; returns the interpreter."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    library = home / "lib" / version
    (home / "bin").mkdir()
    python = home / "bin" / version
    shutil.copy(Path(sys.executable).resolve(), python)
    left_out = shutil.ignore_patterns("test", "tests", "__pycache__", "site-packages", "idlelib", "tkinter", "config-*")
    shutil.copytree(sysconfig.get_path("stdlib"), library, ignore=left_out)
    shared = Path(sysconfig.get_config_var("LIBDIR") or "", sysconfig.get_config_var("LDLIBRARY") or "")
    for found in shared.parent.glob("libpython*.so*"):
        shutil.copy(found, home / "lib")
    packages = library / "site-packages"
    packages.mkdir()
    for folder in {*site.getsitepackages(), sysconfig.get_path("platlib")}:
        for pattern in NEEDED:
            for found in Path(folder).glob(pattern):
                target = packages / found.name
                shutil.copytree(found, target, dirs_exist_ok=True) if found.is_dir() else shutil.copy(found, target)
    shutil.copytree(Path(tenth.__file__).parent, packages / "tenth", ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run(["chmod", "-R", "a+rX", str(home)], check=True)
    return python


def become(python: Path, path: str = "/usr/bin:/bin") -> list[str]:
    """Words before a command that make it nobody's, in an environment that says nothing of ours."""
    words = ["setpriv", "--reuid", NOBODY, "--regid", NOBODY, "--clear-groups", "--inh-caps=-all"]
    return [*words, "env", "-i", f"PATH={path}", "HOME=/", f"LD_LIBRARY_PATH={python.parents[1] / 'lib'}"]


if __name__ == "__main__":
    print(copy_python(Path(sys.argv[1])))
