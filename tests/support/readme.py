"""The commands of README, as a reader would type them."""

import re

from commands import ROOT

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)


def commands(name="README.md"):
    """Return the commands of a page's plain blocks, each on one line and without comments."""
    found = []
    for kind, block in BLOCK.findall((ROOT / name).read_text(encoding="utf-8")):
        block = "" if kind else block  # of Python, say
        for line in re.sub(r" *\\\n *", " ", block).splitlines():
            line = re.sub(r"\s+# .*", "", line).strip()
            if line:
                found.append(line)
    return found
