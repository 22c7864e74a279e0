# Sends messages with the package hl7, as the lines of its standard input say, each behind a number:
#
#   connect PORT
#   send ID OCTETS         a message, and wait for its acknowledgement
#   put ID OCTETS          a message, and go on
#   half ID OCTETS         the first half of a message
#   take                   wait for the next acknowledgement
#   row PREFIX COUNT OCTETS   so many messages, each behind the acknowledgement of the one before
#   close
#
# It writes `sent ID OCTETS SHA256` ahead of a message and `acknowledged ID CODE` behind its
# acknowledgement; when a command is through, `done NUMBER`, or `failed NUMBER ERROR` where the connection
# was refused, reset, or ended while an acknowledgement was due.
import asyncio
import hashlib
import random
import sys

import hl7
import hl7.mllp


def say(*words):
    print(*words, flush=True)


def text(name, octets):
    report = random.Random(name).randbytes(octets // 2).hex()
    return (
        f"MSH|^~\\&|RIS|A|PACS|B|20260101120000||ORU^R01^ORU_R01|{name}|P|2.5.1|||||GBR|UNICODE UTF-8\r"
        f"PID|1||4711^^^A||Ünal^Çağla||19700101|F\rOBR|1\rOBX|1|ED|PDF||^^^^{report}||||||F\r"
    ).encode("utf-8")


class Sender:
    async def connect(self, port):
        self.reader, self.writer = await hl7.mllp.open_hl7_connection(
            "127.0.0.1", int(port), limit=64 << 20, encoding="utf-8"
        )

    async def put(self, name, octets):
        block = text(name, int(octets))
        say("sent", name, len(block), hashlib.sha256(block).hexdigest())
        self.writer.writeblock(block)
        await self.writer.drain()

    async def repeat(self, name, octets):
        self.writer.writeblock(text(name, int(octets)))
        await self.writer.drain()

    async def take(self):
        answer = (await self.reader.readmessage()).segment("MSA")
        say("acknowledged", answer[2], answer[1])

    async def send(self, name, octets):
        await self.put(name, octets)
        await self.take()

    async def half(self, name, octets):
        block = text(name, int(octets))
        self.writer.write(b"\x0b" + block[: len(block) // 2])
        await self.writer.drain()

    async def row(self, prefix, count, octets):
        for number in range(int(count)):
            await self.send(f"{prefix}{number}", octets)

    async def close(self):
        self.writer.close()
        await self.writer.wait_closed()


async def main():
    sender = Sender()
    while line := await asyncio.to_thread(sys.stdin.readline):
        number, command, *arguments = line.split()
        try:
            await getattr(sender, command)(*arguments)
            say("done", number)
        except (ConnectionError, asyncio.IncompleteReadError) as error:
            say("failed", number, type(error).__name__)


if __name__ == "__main__":
    asyncio.run(main())
