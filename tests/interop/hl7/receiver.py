# Receives messages with the package hl7, and says of each what it was.
#
#   receiver.py PORT
#
# It acknowledges every message with AA, but those whose control id begins with HOLD. It writes
# `connected`, `received ID OCTETS SHA256`, and at the end of a connection `ended` or, where that was in
# the middle of a message, `cut OCTETS`.
import asyncio
import hashlib
import sys

import hl7
import hl7.mllp


def say(*words):
    print(*words, flush=True)


async def serve(reader, writer):
    say("connected")
    try:
        while True:
            block = await reader.readblock()
            message = hl7.parse(block.decode("utf-8"))
            name = str(message.segment("MSH")[10])
            say("received", name, len(block), hashlib.sha256(block).hexdigest())
            if not name.startswith("HOLD"):
                writer.writemessage(message.create_ack("AA"))
                await writer.drain()
    except asyncio.IncompleteReadError as end:
        say("cut", len(end.partial)) if end.partial else say("ended")
    except ConnectionError:
        say("reset")
    finally:
        writer.close()


async def main():
    port = int(sys.argv[1])
    server = await hl7.mllp.start_hl7_server(
        serve, "127.0.0.1", port, limit=64 << 20, encoding="utf-8"
    )
    async with server:
        await server.serve_forever()


asyncio.run(main())
