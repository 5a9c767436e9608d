"""The settings: the only reader of the environment and of .env, and the only place that knows their names.

table.py holds every setting with its default and meaning, values.py turns one text into its value, reading.py finds
the texts and says in one sentence what is wrong with them.
"""

from newsletter.settings.reading import load_settings
from newsletter.settings.table import Dkim, DomainLimit, Relay, SettingRow, Settings, Smtp, Web, describe_settings
from newsletter.settings.values import From

__all__ = [
    "Dkim",
    "DomainLimit",
    "From",
    "Relay",
    "SettingRow",
    "Settings",
    "Smtp",
    "Web",
    "describe_settings",
    "load_settings",
]
