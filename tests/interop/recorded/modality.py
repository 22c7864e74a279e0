# Asks for associations with an archive in pynetdicom, and says what it was told.
#
#   modality.py HOME PORT SCENARIO... [PORT SCENARIO...]...
#
# It listens on HOME under the title HOME for what a C-MOVE brings and for reports of storage commitment, and
# asks PORT for one association for each scenario: a function of this program with that name, and behind a
# colon its number and the PDU length that the modality takes, as in `find:100:4096`. It calls by the name of
# the scenario in capitals, and writes for each
#
#   told SCENARIO {"C-STORE": {"requests": COUNT, "success": COUNT, ...}, ..., "objects": COUNT, "octets": COUNT,
#     "accepted": COUNT, "rejected": COUNT}
#
# with the requests that it sent and their answers, and behind ` by the acceptor` those that the archive sent
# in the same association. `told home` is of an association that the archive asked for. Objects are those
# stored with success or a warning, octets those of their data sets, as they went out or came in. What
# was accepted and rejected are presentation contexts.
import json
import sys
import threading
import time
from collections import Counter
from io import BytesIO

from pydicom.dataset import Dataset
from pynetdicom import AE, build_role, evt
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.dsutils import encode
from pynetdicom.pdu_primitives import (
    AsynchronousOperationsWindowNegotiation,
    UserIdentityNegotiation,
)
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
from pynetdicom.status import code_to_category

from common import CLASSES, MARKER, hasten, image, say, status_of

COMMITMENT = "1.2.840.10008.1.20.1.1"
REPORTED = threading.Event()


class Told:
    def __init__(self):
        self.commands = {}
        self.contexts = {}
        self.stored = Counter()

    def request(self, name):
        self.commands.setdefault(name, Counter())["requests"] += 1

    def status(self, name, status):
        self.commands[name][code_to_category(status).lower()] += 1

    def answers(self, name, statuses):
        self.request(name)
        for answer in statuses:
            if "Status" in answer:
                self.status(name, answer.Status)

    def store(self, status, octets):
        if code_to_category(status) in ("Success", "Warning"):
            self.stored["objects"] += 1
            self.stored["octets"] += octets

    def write(self, scenario):
        stored = {"objects": self.stored["objects"], "octets": self.stored["octets"]}
        said = self.commands | self.contexts | stored
        say("told", scenario, json.dumps(said, sort_keys=True))


def echo(association, told, count):
    for _ in range(count):
        told.answers("C-ECHO", [association.send_c_echo()])


def store(association, told, count):
    for number in range(count):
        status = {3: 0xA700, 5: 0xB000}.get(number % 7, 0)
        octets = 10 if number % 2 else 700 * number
        send(association, told, image(number % len(CLASSES), status, octets))


def send(association, told, data):
    sent = association.sent[:]
    status = association.send_c_store(data)
    octets = sum(association.sent) - sum(sent)
    told.answers("C-STORE", [status])
    if "Status" in status:
        told.store(status.Status, octets)


def pipeline(association, told, count):
    """Sends them all before it looks at an answer, with message identifiers that wrap around."""
    association._reactor_checkpoint.clear()
    while not association._is_paused:
        time.sleep(0.001)
    context = association._get_valid_context(
        CLASSES[0][0], CLASSES[0][1][0], "scu", allow_conversion=False
    )
    octets = {}
    for number in range(count):
        data = image(0, {3: 0xA700}.get(number, 0), 40 * number)
        request = C_STORE()
        request.MessageID = (65_530 + number) % 65_536
        request.AffectedSOPClassUID = data.SOPClassUID
        request.AffectedSOPInstanceUID = data.SOPInstanceUID
        request.Priority = 2
        encoded = encode(data, True, True)
        octets[request.MessageID] = len(encoded)
        request.DataSet = BytesIO(encoded)
        association.dimse.send_msg(request, context.context_id)
    for _ in range(count):
        _, response = association.dimse.get_msg(block=True)
        answer = Dataset()
        answer.Status = response.Status
        told.answers("C-STORE", [answer])
        told.store(response.Status, octets[response.MessageIDBeingRespondedTo])
    association._reactor_checkpoint.set()


def keys(count):
    identifier = Dataset()
    identifier.QueryRetrieveLevel = "STUDY"
    identifier.PatientName = f"{MARKER}^TEST"
    identifier.PatientID = ""
    identifier.NumberOfStudyRelatedInstances = count
    return identifier


def find(association, told, count, model=StudyRootQueryRetrieveInformationModelFind):
    answers = association.send_c_find(keys(count), model)
    told.answers("C-FIND", [status for status, _ in answers])


def fail(association, told, count):
    find(association, told, -1)


def worklist(association, told, count):
    find(association, told, count, ModalityWorklistInformationFind)


def cancel(association, told, count):
    model = StudyRootQueryRetrieveInformationModelFind
    identifier = keys(10)
    identifier.PatientID = "wait"
    statuses = []
    for status, _ in association.send_c_find(identifier, model):
        statuses.append(status)
        if len(statuses) == 3:
            association.send_c_cancel(1, query_model=model)
    told.answers("C-FIND", statuses)


def get(association, told, count):
    model = StudyRootQueryRetrieveInformationModelGet
    answers = association.send_c_get(keys(count), model)
    told.answers("C-GET", [status for status, _ in answers])


def move(association, told, count, destination="HOME"):
    model = StudyRootQueryRetrieveInformationModelMove
    answers = association.send_c_move(keys(count), destination, model)
    told.answers("C-MOVE", [status for status, _ in answers])


def astray(association, told, count):
    move(association, told, count, "NOWHERE")


def commit(association, told, count, transaction="2.25.9.1"):
    REPORTED.clear()
    request = Dataset()
    request.TransactionUID = transaction
    stored = Dataset()
    stored.ReferencedSOPClassUID = CLASSES[0][0]
    stored.ReferencedSOPInstanceUID = "2.25.7"
    request.ReferencedSOPSequence = [stored]
    status, _ = association.send_n_action(
        request, 1, StorageCommitmentPushModel, COMMITMENT
    )
    told.answers("N-ACTION", [status])
    REPORTED.wait(20)


def commit_apart(association, told, count):
    commit(association, told, count, "2.25.9.2")


def film(association, told, count):
    kind, uid = BasicFilmSession, "2.25.5"
    attributes = Dataset()
    attributes.NumberOfCopies = "1"
    told.answers("N-CREATE", [association.send_n_create(attributes, kind, uid)[0]])
    told.answers("N-SET", [association.send_n_set(attributes, kind, uid)[0]])
    told.answers("N-ACTION", [association.send_n_action(None, 1, kind, uid)[0]])
    told.answers("N-DELETE", [association.send_n_delete(kind, uid)])
    asked = [(0x2110, 0x0010)]
    status, _ = association.send_n_get(asked, Printer, "1.2.840.10008.5.1.1.17")
    told.answers("N-GET", [status])


def reject(association, told, count):
    raise AssertionError("the archive has another title")


def abort(association, told, count):
    echo(association, told, count)
    association.abort()


def aborted(association, told, count):
    data = image(0, 0, 5000)
    data.PatientID = "abort"
    send(association, told, data)


def everything(association, told, count):
    for what in (echo, store, find, get, worklist, commit, film, cancel, fail, astray):
        what(association, told, count)


def received(told, by=""):
    """Handlers of what the archive sends."""

    def stored(event):
        status = status_of(event.request.AffectedSOPInstanceUID)
        told.request("C-STORE" + by)
        told.status("C-STORE" + by, status)
        told.store(status, len(event.request.DataSet.getvalue()))
        return status

    def reported(event):
        told.request("N-EVENT-REPORT" + by)
        told.status("N-EVENT-REPORT" + by, 0x0000)
        threading.Timer(0.1, REPORTED.set).start()
        return 0x0000, None

    return [
        (evt.EVT_CONN_OPEN, hasten),
        (evt.EVT_C_STORE, stored),
        (evt.EVT_N_EVENT_REPORT, reported),
    ]


def home(port):
    told = Told()
    entity = AE(ae_title="HOME")
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 60
    for name, syntaxes in CLASSES:
        entity.add_supported_context(name, syntaxes)
    entity.add_supported_context(StorageCommitmentPushModel, scu_role=True, scp_role=True)

    def closed(event):
        told.write("home")
        told.__init__()

    handlers = received(told) + [(evt.EVT_CONN_CLOSE, closed)]
    entity.start_server(("127.0.0.1", port), block=False, evt_handlers=handlers)


def contexts(entity):
    for name in (
        Verification,
        BasicFilmSession,
        Printer,
        StorageCommitmentPushModel,
        ModalityWorklistInformationFind,
        StudyRootQueryRetrieveInformationModelFind,
        StudyRootQueryRetrieveInformationModelGet,
        StudyRootQueryRetrieveInformationModelMove,
    ):
        entity.add_requested_context(name)
    # Two that the archive does not take: a class, and a transfer syntax of one that it knows.
    entity.add_requested_context("1.2.3.4.5")
    entity.add_requested_context(CLASSES[0][0], "1.2.840.10008.1.2.4.201")
    for name, syntaxes in CLASSES:
        entity.add_requested_context(name, syntaxes)


def negotiation():
    roles = [build_role(name, scu_role=True, scp_role=True) for name, _ in CLASSES]
    window = AsynchronousOperationsWindowNegotiation()
    window.maximum_number_operations_invoked = 5
    window.maximum_number_operations_performed = 7
    identity = UserIdentityNegotiation()
    identity.user_identity_type = 2
    identity.primary_field = b"wardgate"
    identity.secondary_field = MARKER.encode()
    return roles + [window, identity]


def perform(port, scenario):
    name, count, pdu = (scenario.split(":") + ["1", "16382"])[:3]
    told = Told()
    entity = AE(ae_title=name.upper())
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 30
    entity.maximum_pdu_size = int(pdu)
    contexts(entity)
    sent = []

    def out(event):
        if type(event.message).__name__ == "C_STORE_RQ":
            sent.append(len(event.message.data_set.getvalue()))

    association = entity.associate(
        "127.0.0.1",
        port,
        ae_title="OTHER" if name == "reject" else "ARCHIVE",
        ext_neg=negotiation(),
        evt_handlers=received(told, " by the acceptor") + [(evt.EVT_DIMSE_SENT, out)],
    )
    association.sent = sent
    told.contexts = {
        "accepted": len(association.accepted_contexts),
        "rejected": len(association.rejected_contexts),
    }
    if association.is_established:
        globals()[name](association, told, int(count))
    if association.is_established:
        association.release()
    if association.is_alive():
        association.join(timeout=10)
    told.write(scenario)


def main():
    home(int(sys.argv[1]))
    port = None
    for argument in sys.argv[2:]:
        if argument.isdigit():
            port = int(argument)
        else:
            perform(port, argument)


main()
