# What both applications know: SOP classes, and objects of them.
import os
import socket
import sys

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
)
from pynetdicom import register_uid
from pynetdicom.sop_class import (
    CTImageStorage,
    DigitalMammographyXRayImageStorageForPresentation,
    EncapsulatedPDFStorage,
    MRImageStorage,
    SecondaryCaptureImageStorage,
)
from pynetdicom.service_class import StorageServiceClass

# What stands for the patient.
MARKER = os.environ.get("MARKER", "WARDGATE")
# A class of a vendor's own.
PRIVATE = "1.3.6.1.4.1.5962.301.9"
register_uid(PRIVATE, "PrivateStorage", StorageServiceClass)
# Each SOP class with the transfer syntaxes in which it is stored here.
CLASSES = (
    (CTImageStorage, [ImplicitVRLittleEndian]),
    (MRImageStorage, [ExplicitVRLittleEndian]),
    (SecondaryCaptureImageStorage, [ExplicitVRBigEndian]),
    (EncapsulatedPDFStorage, [DeflatedExplicitVRLittleEndian]),
    (DigitalMammographyXRayImageStorageForPresentation, [JPEGBaseline8Bit]),
    (PRIVATE, [ImplicitVRLittleEndian, ExplicitVRLittleEndian]),
)
COUNT = 0


def say(*words):
    sys.stdout.write(" ".join(str(word) for word in words) + "\n")
    sys.stdout.flush()


def hasten(event):
    """Lets small pieces go out at once: each object would take two delayed acknowledgements."""
    connection = event.assoc.dul.socket.socket
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def status_of(uid):
    return int(str(uid).rpartition(".")[2])


def image(number, status, octets):
    """An object of the class of this number, with so many octets of pixels or so."""
    global COUNT
    COUNT += 1
    name, syntaxes = CLASSES[number]
    data = Dataset()
    data.SOPClassUID = name
    data.SOPInstanceUID = f"2.25.77.{COUNT}.{status}"
    data.PatientName = f"{MARKER}^TEST"
    data.PatientID = MARKER
    data.StudyInstanceUID = "2.25.2"
    data.SeriesInstanceUID = "2.25.3"
    pixels = bytes(index * 7 % 251 for index in range(octets // 2 * 2))
    data.PixelData = pixels
    data["PixelData"].VR = "OW"
    if syntaxes[0].is_compressed and not syntaxes[0].is_deflated:
        data.PixelData = encapsulate([pixels])
        data["PixelData"].VR = "OB"
        data["PixelData"].is_undefined_length = True
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = syntaxes[0]
    return data
