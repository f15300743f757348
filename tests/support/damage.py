"""A checkpoint that is damaged."""


def damage(folder, step, how):
    """Damage the largest file of a checkpoint, or its metrics."""
    place = folder / "checkpoints" / str(step)
    if how.startswith("metrics"):
        files = [place / "metrics" / "metrics"]
    elif how.startswith("description"):
        files = [place / "_CHECKPOINT_METADATA"]
    else:
        files = sorted((p for p in place.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    path, content = files[-1], bytearray(files[-1].read_bytes())
    if how.endswith("flipped"):
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    elif how.endswith("gone"):
        path.unlink()
    else:
        path.write_bytes(content[: 0 if how.endswith("emptied") else len(content) // 2])
