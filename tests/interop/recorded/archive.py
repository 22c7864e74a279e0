# An archive in pynetdicom that has whatever it is asked for, and says what it was sent.
#
#   archive.py HOME PORT:PDU...
#
# It listens on each PORT, where it takes PDUs of up to PDU octets (0: of any length) under the title ARCHIVE.
# HOME is the port where the destination HOME of a C-MOVE takes objects and a report of storage commitment goes.
#
# - C-STORE is answered with the last component of the SOP instance UID as its status; `abort` as PatientID
#   aborts instead.
# - C-FIND, C-GET and C-MOVE have as many matches as NumberOfStudyRelatedInstances says; -1 is a failure. With `wait`
#   as PatientID, C-FIND waits after three of them until it is cancelled.
# - Storage commitment is reported within the association where the transaction is 2.25.9.1, else in one
#   of its own.
#
# It writes `closed CALLING {"C-STORE": COUNT, ..., "octets": COUNT}` for each association, octets being those
# of data sets of C-STORE.
import json
import sys
import threading
import time
from collections import Counter

from pydicom.dataset import Dataset
from pynetdicom import AE, build_role, evt
from pynetdicom.sop_class import (
    BasicFilmSession,
    ModalityWorklistInformationFind,
    Printer,
    StorageCommitmentPushModel,
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
    Verification,
)

from common import CLASSES, MARKER, hasten, image, say, status_of

SERVICES = (
    Verification,
    BasicFilmSession,
    Printer,
    StorageCommitmentPushModel,
    ModalityWorklistInformationFind,
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
)
HOME = int(sys.argv[1])
TOLD = {}


def count(event, what, octets=0):
    told = TOLD.setdefault(event.assoc, Counter())
    told[what] += 1
    told["octets"] += octets


def closed(event):
    told = TOLD.pop(event.assoc, Counter())
    title = event.assoc.requestor.ae_title.strip()
    say("closed", title, json.dumps(told, sort_keys=True))


def simple(name):
    def handler(event):
        count(event, name)
        return 0x0000

    return handler


def noted(name):
    def handler(event):
        count(event, name)
        return 0x0000, None

    return handler


def store(event):
    count(event, "C-STORE", len(event.request.DataSet.getvalue()))
    if b"abort" in event.request.DataSet.getvalue():
        event.assoc.abort()
    return status_of(event.request.AffectedSOPInstanceUID)


def matches(event):
    return int(event.identifier.NumberOfStudyRelatedInstances)


def find(event):
    count(event, "C-FIND")
    if matches(event) < 0:
        failure = Dataset()
        failure.Status = 0xC001
        failure.ErrorComment = MARKER
        yield failure, None
        return
    for number in range(matches(event)):
        if event.identifier.get("PatientID") == "wait" and number == 3:
            while not event.is_cancelled:
                time.sleep(0.01)
            yield 0xFE00, None
            return
        match = Dataset()
        match.PatientName = event.identifier.get("PatientName", "")
        match.PatientID = f"{MARKER}{number}"
        yield (0xFF01 if number % 2 else 0xFF00), match


def images(event):
    for number in range(matches(event)):
        # Of every seven one is refused, and one is taken with a warning.
        status = {3: 0xA700, 5: 0xB000}.get(number % 7, 0)
        yield 0xFF00, image(number % len(CLASSES), status, 300 + number)


def get(event):
    count(event, "C-GET")
    yield max(matches(event), 0)
    if matches(event) < 0:
        yield 0xC001, None
    yield from images(event)


def move(event):
    count(event, "C-MOVE")
    if event.move_destination.strip() != "HOME":
        yield None, None
        return
    entity = AE(ae_title="ARCHIVE")
    for name, syntaxes in CLASSES:
        entity.add_requested_context(name, syntaxes[0])
    yield "127.0.0.1", HOME, {
        "contexts": entity.requested_contexts,
        "ae_title": "HOME",
    }
    yield matches(event)
    yield from images(event)


def action(event):
    count(event, "N-ACTION")
    if event.request.RequestedSOPClassUID == StorageCommitmentPushModel:
        asked = event.action_information
        threading.Thread(target=report, args=(event.assoc, asked)).start()
    return 0x0000, None


def report(association, asked):
    own = asked.TransactionUID == "2.25.9.1"
    if not own:
        entity = AE(ae_title="ARCHIVE")
        entity.acse_timeout = entity.dimse_timeout = 30
        entity.add_requested_context(StorageCommitmentPushModel)
        role = build_role(StorageCommitmentPushModel, scp_role=True)
        association = entity.associate("127.0.0.1", HOME, ae_title="HOME", ext_neg=[role])
    result = Dataset()
    result.TransactionUID = asked.TransactionUID
    result.ReferencedSOPSequence = asked.ReferencedSOPSequence
    status, _ = association.send_n_event_report(
        result, 1, StorageCommitmentPushModel, "1.2.840.10008.1.20.1.1"
    )
    say("reported", f"{status.Status:#06x}")
    if not own:
        association.release()


def serve(port, pdu):
    entity = AE(ae_title="ARCHIVE")
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 60
    entity.require_called_aet = True
    entity.maximum_pdu_size = pdu
    entity.maximum_associations = 100
    for name in SERVICES:
        entity.add_supported_context(name)
    for name, syntaxes in CLASSES:
        entity.add_supported_context(name, syntaxes, scu_role=True, scp_role=True)
    handlers = [
        (evt.EVT_CONN_OPEN, hasten),
        (evt.EVT_CONN_CLOSE, closed),
        (evt.EVT_ASYNC_OPS, lambda event: (3, 2)),
        (evt.EVT_USER_ID, lambda event: (True, None)),
        (evt.EVT_C_ECHO, simple("C-ECHO")),
        (evt.EVT_C_STORE, store),
        (evt.EVT_C_FIND, find),
        (evt.EVT_C_GET, get),
        (evt.EVT_C_MOVE, move),
        (evt.EVT_N_ACTION, action),
        (evt.EVT_N_CREATE, noted("N-CREATE")),
        (evt.EVT_N_SET, noted("N-SET")),
        (evt.EVT_N_GET, noted("N-GET")),
        (evt.EVT_N_DELETE, simple("N-DELETE")),
    ]
    entity.start_server(("127.0.0.1", port), block=False, evt_handlers=handlers)


def main():
    for place in sys.argv[2:]:
        port, _, pdu = place.partition(":")
        serve(int(port), int(pdu))
    threading.Event().wait()


main()
