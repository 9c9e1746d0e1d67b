"""uvicorn's websocket protocol, which also answers a handshake that cannot be read.

A request line or header of more than 8 KB, or too many headers, is refused by the parser; uvicorn (0.54) then neither sends the
refusal nor closes, and the client waits for ever.
"""

from __future__ import annotations

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol


class WebSocketProtocol(WebSocketsSansIOProtocol):
    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.handshake_exc is not None and not self.handshake_initiated:
            self.transport.write(b"".join(self.conn.data_to_send()))
            self.transport.close()
