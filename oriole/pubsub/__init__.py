"""`oriole pub` and `oriole sub`: one message, a stream of lines, or what others publish, over MQTT and CoAP."""

from oriole.pubsub.main import main_pub, main_sub

__all__ = ["main_pub", "main_sub"]
