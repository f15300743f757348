"""Records without their speed."""


def without_speed(record):
    """Return a record's numbers that do not depend on the machine."""
    return {
        name: value
        for name, value in record.items()
        if name != "images_per_second" and not name.startswith("speed/")
    }
