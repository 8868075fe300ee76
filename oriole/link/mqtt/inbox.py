"""QoS 1 and 2 messages on their way in: acknowledged in order (MQTT 5.0 §4.6), QoS 2 taken once (§4.3.3)."""

from oriole.link.mqtt.events import MessageReceived
from oriole.wire.mqtt import ReasonCode


class Inbox:
    """What has arrived and is not settled. It says which acknowledgements are due, and sends nothing."""

    __slots__ = ("_due", "_taken_once")

    def __init__(self) -> None:
        self._due: dict[int, MessageReceived] = {}  # on this connection, in order of arrival
        # QoS 2 until PUBREL, over connections: the message while the application has not acknowledged it, then None
        self._taken_once: dict[int, MessageReceived | None] = {}

    def holds_more_than(self, count: int) -> bool:
        """Whether the server has more on the way than it may. [MQTT-3.3.4-9]"""
        return len(self._due) > count or len(self._taken_once) > count

    def receive(self, message: MessageReceived) -> bool:
        """Whether the message is new. A repeat of a QoS 2 message is only acknowledged again. [MQTT-4.3.3-10]"""
        identifier = message.packet_identifier
        if message.qos == 2:
            if identifier in self._taken_once:
                first = self._taken_once[identifier]
                if first is None:
                    message.acknowledged = ReasonCode.SUCCESS
                self._due[identifier] = first or message
                return False
            self._taken_once[identifier] = message
        self._due[identifier] = message
        return True

    def take_due(self) -> list[MessageReceived]:
        """The messages whose PUBACK or PUBREC is to be sent now: acknowledged, and all before them too.

        [MQTT-4.6.0-2] [MQTT-4.6.0-3]
        """
        taken: list[MessageReceived] = []
        for message in self._due.values():
            if message.acknowledged is None:
                break
            taken.append(message)
        for message in taken:
            del self._due[message.packet_identifier]
            if message.acknowledged and message.acknowledged >= ReasonCode.UNSPECIFIED_ERROR:
                self._taken_once.pop(message.packet_identifier, None)  # the next is a new one [MQTT-4.3.3-9]
            elif message.qos == 2:
                self._taken_once[message.packet_identifier] = None
        return taken

    def release(self, packet_identifier: int) -> bool:
        """PUBREL has come; False when the identifier is not known."""
        return self._taken_once.pop(packet_identifier, self) is not self

    def resume(self) -> None:
        """A new connection: what was not acknowledged on the last one is sent again by the server."""
        self._due.clear()

    def restart(self) -> None:
        """The server has lost the session."""
        self._due.clear()
        self._taken_once.clear()
