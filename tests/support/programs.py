"""What other programs read of the XMP of an image, where they are installed."""

import shutil
import subprocess

READERS = {
    "exiftool": ["exiftool", "-a", "-G1", "-s", "-xmp:all"],
    "exiv2": ["exiv2", "-PXkv"],
}


def what_programs_say(path):
    """Yield what each of them prints; it must find no fault."""
    for program, command in READERS.items():
        if shutil.which(program):
            found = subprocess.run([*command, str(path)], capture_output=True, timeout=30)
            assert not found.stderr, found.stderr
            yield found.stdout.decode()
