# Asks for one association with pynetdicom, and says what becomes of it.
#
#   requestor.py PORT CALLING CALLED [ACTION...]
#
# An action is `echo`, `store`, `find` or `get`, with `*COUNT` behind it where it is done several times, or
# `hold`: wait for a line on standard input, or for the end of the association. After the last one the
# association is released, if there still is one.
#
# It writes `accepted`; `rejected RESULT SOURCE REASON` and `aborted SOURCE REASON` for what the other
# side sent, in the numbers of PS3.8; `echo STATUS` and so on for each answer, `-` where none came; and
# last `ended`, how pynetdicom sees it, and after how many milliseconds.
import sys
import threading
import time

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ImplicitVRLittleEndian, generate_uid
from pynetdicom import AE, build_role, evt
from pynetdicom.pdu import A_ABORT_RQ, A_ASSOCIATE_RJ
from pynetdicom.sop_class import (
    CTImageStorage,
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    Verification,
)

CLASSES = (
    Verification,
    CTImageStorage,
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
)

START = time.monotonic()


def say(*words):
    sys.stdout.write(" ".join(str(word) for word in words) + "\n")
    sys.stdout.flush()


def hear(event):
    pdu = event.pdu
    if isinstance(pdu, A_ASSOCIATE_RJ):
        say("rejected", pdu.result, pdu.source, pdu.reason_diagnostic)
    elif isinstance(pdu, A_ABORT_RQ):
        say("aborted", pdu.source, pdu.reason_diagnostic)


def image():
    data = Dataset()
    data.SOPClassUID = CTImageStorage
    data.SOPInstanceUID = generate_uid()
    data.PatientName = "WARDGATE^TEST"
    data.PatientID = "WGT-1"
    data.StudyInstanceUID = "2.25.2"
    data.SeriesInstanceUID = "2.25.3"
    data.PixelData = bytes(40_000)
    data["PixelData"].VR = "OW"
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    return data


def stored(event):
    say("stored")
    return 0x0000


def query():
    keys = Dataset()
    keys.QueryRetrieveLevel = "STUDY"
    keys.PatientID = "WGT-1"
    keys.StudyInstanceUID = ""
    return keys


def hold(association):
    told = threading.Event()

    def listen():
        sys.stdin.readline()
        told.set()

    threading.Thread(target=listen, daemon=True).start()
    while association.is_established and not told.is_set():
        time.sleep(0.01)


def act(association, what):
    if what == "hold":
        return hold(association)
    if what == "echo":
        answers = [association.send_c_echo()]
    elif what == "store":
        answers = [association.send_c_store(image())]
    elif what == "find":
        model = StudyRootQueryRetrieveInformationModelFind
        answers = [status for status, _ in association.send_c_find(query(), model)]
    elif what == "get":
        model = StudyRootQueryRetrieveInformationModelGet
        answers = [status for status, _ in association.send_c_get(query(), model)]
    else:
        raise ValueError(what)
    for status in answers:
        say(what, f"{status.Status:#06x}" if "Status" in status else "-")


def main():
    port, calling, called, *actions = sys.argv[1:]
    entity = AE(ae_title=calling)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 30
    for name in CLASSES:
        entity.add_requested_context(name, ImplicitVRLittleEndian)
    association = entity.associate(
        "127.0.0.1",
        int(port),
        ae_title=called,
        ext_neg=[build_role(CTImageStorage, scu_role=True, scp_role=True)],
        evt_handlers=[(evt.EVT_PDU_RECV, hear), (evt.EVT_C_STORE, stored)],
    )
    if association.is_established:
        say("accepted")
    for action in actions:
        what, _, count = action.partition("*")
        for _ in range(int(count or 1)):
            if association.is_established:
                act(association, what)
    if association.is_established:
        association.release()
    if association.is_alive():
        association.join(timeout=10)
    for how in ("rejected", "aborted", "released"):
        if getattr(association, f"is_{how}"):
            say("ended", how, round(1000 * (time.monotonic() - START)))


main()
