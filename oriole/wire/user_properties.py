"""Names of the MQTT 5 user properties that carry a push's header facts (docs/push-envelope.md)."""

from typing import Final

ID: Final = "oriole-id"
"""Its presence makes a message a push."""
PRIORITY: Final = "oriole-priority"
COLLAPSE_KEY: Final = "oriole-collapse-key"
CREATED: Final = "oriole-created"
SENDER: Final = "oriole-sender"
EXTRA: Final = "oriole-extra"
PUSH: Final = (ID, PRIORITY, COLLAPSE_KEY, CREATED, SENDER, EXTRA)
