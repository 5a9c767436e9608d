"""What holds for every test: no setting of the developer's shell reaches it, and no property is judged by its speed."""

import os

from hypothesis import settings

for name in [name for name in os.environ if name.upper().startswith("NEWSLETTER_")]:
    del os.environ[name]

settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")
