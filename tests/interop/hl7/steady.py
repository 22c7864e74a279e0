# Sends messages one after the other, with the package hl7, until its standard input ends or has a line.
#
#   steady.py PORT PREFIX BYTES PAUSE_MS
#
# It writes `sent ID BYTES SHA256` when a message is sent for the first time, and `acknowledged ID CODE` after
# its acknowledgement. Like a real sender it connects again where the connection was closed: `closed` if that
# was between two messages, `again ID ERROR` if the acknowledgement of a message was due, which is then sent
# once more. A refused connection is no such case: the script writes `refused` and ends, as after TRIES attempts.
import asyncio
import sys
import threading

import hl7
import hl7.mllp

from sender import Sender, say

TRIES = 5


class Steady(Sender):
    async def deliver(self, port, name, size):
        if self.reader.at_eof():
            say("closed")
            await self.connect(port)
        for attempt in range(TRIES):
            try:
                await (self.put if attempt == 0 else self.repeat)(name, size)
                return await self.take()
            except (ConnectionError, asyncio.IncompleteReadError) as error:
                say("again", name, type(error).__name__)
                self.writer.close()
                await self.connect(port)
        raise ConnectionError(f"{name} is not acknowledged after {TRIES} attempts")


async def main(port, prefix, size, pause):
    stop = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.readline(), stop.set()), daemon=True).start()
    sender, number = Steady(), 0
    try:
        await sender.connect(port)
        while not stop.is_set():
            await sender.deliver(port, f"{prefix}{number}", size)
            number += 1
            # Also lets the end of the connection arrive.
            await asyncio.sleep(pause)
        await sender.close()
        say("complete")
    except OSError as error:
        say("refused", error)


asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]) / 1000))
