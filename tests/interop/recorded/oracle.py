# Tells of recorded associations what pynetdicom's own decoders read in them.
#
#   oracle.py FILE...
#
# A line of a file is what one side sent at a time: `R` or `A` (requestor, acceptor), a space, and its octets
# in hexadecimal, in the order in which they passed. For each file it writes a line of JSON with the keys of
# `told` in oracle.rs.
import json
import sys
from collections import Counter

from pynetdicom.dimse_messages import DIMSEMessage
from pynetdicom.pdu import (
    A_ABORT_RQ,
    A_ASSOCIATE_AC,
    A_ASSOCIATE_RJ,
    A_ASSOCIATE_RQ,
    A_RELEASE_RP,
    A_RELEASE_RQ,
    P_DATA_TF,
)
from pynetdicom.pdu_primitives import P_DATA
from pynetdicom.status import code_to_category

PDUS = {
    1: A_ASSOCIATE_RQ,
    2: A_ASSOCIATE_AC,
    3: A_ASSOCIATE_RJ,
    4: P_DATA_TF,
    5: A_RELEASE_RQ,
    6: A_RELEASE_RP,
    7: A_ABORT_RQ,
}
NAMES = {"R": "requestor", "A": "acceptor"}
OTHER = {"R": "A", "A": "R"}


def user(item):
    window = item.async_ops_window
    if window is not None:
        window = [
            window.maximum_number_operations_invoked,
            window.maximum_number_operations_performed,
        ]
    name = item.implementation_version_name
    return {
        "pdu_length_max": item.maximum_length,
        "implementation": name and str(name).strip(),
        "window": window,
    }


class Oracle:
    def __init__(self):
        self.octets = {"R": b"", "A": b""}
        self.messages = {"R": DIMSEMessage(), "A": DIMSEMessage()}
        self.told = {
            "calling": None,
            "called": None,
            "requestor": None,
            "acceptor": None,
            "ended": None,
        }
        self.contexts = {}
        self.counts = Counter()
        self.failures = Counter()
        self.classes = {}
        self.stores = {}
        self.destinations = []
        self.cancels = 0
        self.unmatched = 0
        self.waiting = {}
        self.released_by = None

    def take(self, by, octets):
        self.octets[by] += octets
        while len(self.octets[by]) >= 6:
            length = 6 + int.from_bytes(self.octets[by][2:6], "big")
            if len(self.octets[by]) < length:
                return
            whole, self.octets[by] = self.octets[by][:length], self.octets[by][length:]
            if self.told["ended"]:
                # What crosses an end on its way is of no worth.
                continue
            pdu = PDUS[whole[0]]()
            pdu.decode(whole)
            getattr(self, type(pdu).__name__)(by, pdu)

    def A_ASSOCIATE_RQ(self, by, pdu):
        self.told["calling"] = pdu.calling_ae_title.strip()
        self.told["called"] = pdu.called_ae_title.strip()
        self.told["requestor"] = user(pdu.user_information)
        for item in pdu.presentation_context:
            self.contexts[item.context_id] = [str(item.abstract_syntax), None]

    def A_ASSOCIATE_AC(self, by, pdu):
        self.told["acceptor"] = user(pdu.user_information)
        for item in pdu.presentation_context:
            self.contexts[item.context_id][1] = item.result

    def A_ASSOCIATE_RJ(self, by, pdu):
        codes = [pdu.result, pdu.source, pdu.reason_diagnostic]
        self.end("rejected", by, codes)

    def A_RELEASE_RQ(self, by, pdu):
        self.released_by = self.released_by or by

    def A_RELEASE_RP(self, by, pdu):
        self.end("released", self.released_by, [])

    def A_ABORT_RQ(self, by, pdu):
        self.end("aborted", by, [pdu.source, pdu.reason_diagnostic])

    def end(self, how, by, codes):
        self.told["ended"] = [how, NAMES[by], codes]

    def P_DATA_TF(self, by, pdu):
        for item in pdu.presentation_data_value_items:
            self.value(by, item)

    def value(self, by, item):
        primitive = P_DATA()
        primitive.presentation_data_value_list.append(
            [item.presentation_context_id, item.presentation_data_value]
        )
        # A request counts with its command set; what it stores, with its data set.
        message = self.messages[by]
        is_command = bool(item.presentation_data_value[0] & 1)
        is_whole = message.decode_msg(primitive)
        if is_command and item.presentation_data_value[0] & 2:
            self.command(by, message)
        if is_whole:
            octets = len(message.data_set.getvalue())
            if type(message).__name__ == "C_STORE_RQ":
                self.stores[by, message.command_set.MessageID]["octets"] = octets
            self.messages[by] = DIMSEMessage()

    def command(self, by, message):
        name, _, kind = type(message).__name__.rpartition("_")
        name = name.replace("_", "-")
        elements = message.command_set
        if name == "C-CANCEL":
            self.cancels += 1
        elif kind == "RQ":
            self.counts[name, by, "requests"] += 1
            self.waiting[by, elements.MessageID] = name
            if name == "C-STORE":
                uid = str(elements.AffectedSOPClassUID)
                self.stores[by, elements.MessageID] = {"class": uid, "octets": 0}
                self.of_class(uid)["requests"] += 1
            if name == "C-MOVE" and elements.MoveDestination not in self.destinations:
                self.destinations.append(elements.MoveDestination.strip())
        else:
            self.response(by, name, elements)

    def response(self, by, name, elements):
        asked_by, status = OTHER[by], elements.Status
        category = code_to_category(status)
        # PS3.7 annex C has no other kind than failures for the rest of its numbers.
        category = "Failure" if category == "Unknown" else category
        self.counts[name, asked_by, category.lower()] += 1
        if category == "Failure":
            self.failures[name, f"{status:04X}H"] += 1
        place = (asked_by, elements.MessageIDBeingRespondedTo)
        self.unmatched += self.waiting.get(place) != name
        if category != "Pending":
            self.waiting.pop(place, None)
        if name == "C-STORE":
            store = self.stores.pop(place)
            if category in ("Success", "Warning"):
                self.of_class(store["class"])["objects"] += 1
                self.of_class(store["class"])["octets"] += store["octets"]

    def of_class(self, uid):
        new = {"requests": 0, "objects": 0, "octets": 0}
        return self.classes.setdefault(uid, new)

    def finish(self):
        commands = {}
        for (name, by, what), count in self.counts.items():
            commands.setdefault(f"{name} by {NAMES[by]}", {})[what] = count
        failures = {" ".join(key): count for key, count in self.failures.items()}
        contexts = {str(number): value for number, value in self.contexts.items()}
        return self.told | {
            "contexts": contexts,
            "commands": commands,
            "failures": failures,
            "classes": self.classes,
            "destinations": self.destinations,
            "cancels": self.cancels,
            "unmatched": self.unmatched,
            "left out": 0,
        }


def main():
    for name in sys.argv[1:]:
        oracle = Oracle()
        with open(name, encoding="ascii") as file:
            for line in file:
                by, octets = line.split()
                oracle.take(by, bytes.fromhex(octets))
        print(json.dumps(oracle.finish()))


main()
