# Accepts every association with pynetdicom, answers C-ECHO, C-STORE and C-FIND with success and C-GET with
# one object, and says what it is sent.
#
#   provider.py PORT
#
# It writes `requested CALLING CALLED`; `C-STORE` and so on for each request; `released`; `aborted SOURCE
# REASON`, in the numbers of PS3.8, where the other side said so; and `closed` when the connection is gone.
import sys

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ImplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.pdu import A_ABORT_RQ, A_RELEASE_RQ
from pynetdicom.sop_class import (
    CTImageStorage,
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    Verification,
)

CLASSES = (
    Verification,
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
)


def say(*words):
    sys.stdout.write(" ".join(str(word) for word in words) + "\n")
    sys.stdout.flush()


def requested(event):
    request = event.assoc.requestor.primitive
    say("requested", request.calling_ae_title.strip(), request.called_ae_title.strip())


def hear(event):
    if isinstance(event.pdu, A_ABORT_RQ):
        say("aborted", event.pdu.source, event.pdu.reason_diagnostic)
    elif isinstance(event.pdu, A_RELEASE_RQ):
        say("released")


def answer(name):
    def handler(event):
        say(name)
        return 0x0000

    return handler


def find(event):
    say("C-FIND")
    yield 0x0000, None


def get(event):
    say("C-GET")
    image = Dataset()
    image.SOPClassUID = CTImageStorage
    image.SOPInstanceUID = "2.25.4"
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    yield 1
    yield 0xFF00, image


def main():
    entity = AE(ae_title="PROVIDER")
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 60
    for name in CLASSES:
        entity.add_supported_context(name, ImplicitVRLittleEndian)
    entity.add_supported_context(
        CTImageStorage, ImplicitVRLittleEndian, scu_role=True, scp_role=True
    )
    handlers = [
        (evt.EVT_REQUESTED, requested),
        (evt.EVT_PDU_RECV, hear),
        (evt.EVT_CONN_CLOSE, lambda event: say("closed")),
        (evt.EVT_C_ECHO, answer("C-ECHO")),
        (evt.EVT_C_STORE, answer("C-STORE")),
        (evt.EVT_C_FIND, find),
        (evt.EVT_C_GET, get),
    ]
    entity.start_server(
        ("127.0.0.1", int(sys.argv[1])), block=True, evt_handlers=handlers
    )


main()
