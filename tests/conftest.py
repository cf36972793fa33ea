"""What all tests share. In: nothing. Out: `import checks` works in every folder; hypothesis draws the same examples each time."""

from hypothesis import settings

settings.register_profile("tidegate", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("tidegate")
