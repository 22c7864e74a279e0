"""Clients of the LAN: clients.py SECONDS ADDRESS...

From each address, one association stays open and sends a C-ECHO after another, and others are made one after another.
At the end, each line says what became of them. ADDRESS alone (SECONDS is 0) makes one association.
"""
import socket
import struct
import sys
import threading
import time

SERVICE = ("10.20.0.5", 11112)
# The deadline of a client for each answer, in seconds.
DEADLINE = 8


def pdu(kind, body):
    return bytes([kind, 0]) + struct.pack(">I", len(body)) + body


def item(kind, body):
    return bytes([kind, 0]) + struct.pack(">H", len(body)) + body


def request():
    syntaxes = item(0x30, b"1.2.840.10008.1.1") + item(0x40, b"1.2.840.10008.1.2")
    user = item(0x51, struct.pack(">I", 16384)) + item(0x52, b"1.2.3.4")
    titles = b"ARCHIVE         MODALITY        "
    context = item(0x10, b"1.2.840.10008.3.1.1.1") + item(0x20, bytes([1, 0, 0, 0]) + syntaxes)
    return pdu(1, bytes([0, 1, 0, 0]) + titles + bytes(32) + context + item(0x50, user))


def element(tag, value):
    return struct.pack("<HHI", 0, tag, len(value)) + value


def echo_request(number):
    """PS3.7 section 9.3.5.1."""
    fields = element(2, b"1.2.840.10008.1.1\0")
    for tag, value in ((0x100, 0x30), (0x110, number), (0x800, 0x101)):
        fields += element(tag, struct.pack("<H", value))
    command = element(0, struct.pack("<I", len(fields))) + fields
    return pdu(4, struct.pack(">I", len(command) + 2) + bytes([1, 3]) + command)


def read(stream, length):
    data = b""
    while len(data) < length:
        more = stream.recv(length - len(data))
        if not more:
            raise OSError("closed")
        data += more
    return data


def exchange(stream, sent, expected):
    stream.sendall(sent)
    head = read(stream, 6)
    read(stream, struct.unpack(">I", head[2:])[0])
    if head[0] != expected:
        raise OSError(f"PDU {head[0]}")


def association(address, deadline):
    stream = socket.create_connection(SERVICE, deadline, (address, 0))
    stream.settimeout(deadline)
    exchange(stream, request(), 2)
    return stream


def one(address, deadline):
    with association(address, deadline) as stream:
        exchange(stream, echo_request(1), 4)
        exchange(stream, pdu(5, bytes(4)), 6)


def hold(address, begun, end, results):
    number = 0
    try:
        with association(address, DEADLINE) as stream:
            while time.time() < end:
                number += 1
                exchange(stream, echo_request(number), 4)
                time.sleep(0.2)
        results.append(f"{address} open: went on to the end, {number} echoes")
    except OSError as error:
        after = time.time() - begun
        results.append(f"{address} open: {error!r} after {after:.2f} s, {number} echoes")


def repeat(address, end, results):
    last, gap, failed, good = time.time(), 0, 0, 0
    while time.time() < end:
        try:
            one(address, 2)
            gap, last, good = max(gap, time.time() - last), time.time(), good + 1
        except OSError:
            failed += 1
        time.sleep(0.1)
    gap = max(gap, time.time() - last)
    results.append(f"{address} new: {good} good, {failed} failed, longest gap {gap:.2f} s")


def main():
    seconds, addresses = float(sys.argv[1]), sys.argv[2:]
    if seconds == 0:
        one(addresses[0], DEADLINE)
        return
    begun, results = time.time(), []
    end = begun + seconds
    threads = []
    for address in addresses:
        threads.append(threading.Thread(target=hold, args=(address, begun, end, results)))
        threads.append(threading.Thread(target=repeat, args=(address, end, results)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print("\n".join(sorted(results)))


main()
