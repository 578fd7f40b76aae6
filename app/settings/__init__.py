"""All settings, typed: read once per process, by the code that builds the process."""

from app.settings.fields import PREFIX, Settings
from app.settings.kinds import split, split_keys, split_webhook_keys
from app.settings.loading import SettingsError, load

__all__ = ["PREFIX", "Settings", "SettingsError", "load", "split", "split_keys", "split_webhook_keys"]
