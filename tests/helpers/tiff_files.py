"""Writing small TIFF files of any numbers, in the many ways in which such files lie on disks."""

import struct
import zlib

import numpy as np

_FORMATS = {"b": 1, "u": 1, "i": 2, "f": 3}


def tiff_bytes(
    values, *, tile=None, rows=None, separate=False, compressed=False, predictor=1, big_endian=False, large=False,
    photometric=1, extra=None, nodata=None, orientation=None, description=None, pages=(), page_kind=0,
):  # fmt: skip
    """The bytes of a TIFF.

    Args:
        values: (H, W) or (H, W, bands).
        tile: Height and width of tiles; None for strips.
        rows: Of a strip; None for all.
        separate: Band after band.
        compressed: By Deflate.
        predictor: 1 none, 2 differences, 3 that of floating numbers (compressed, in strips).
        big_endian: The order of bytes.
        large: BigTIFF.
        photometric: 0 white is zero, 1 black is zero, 2 RGB.
        extra: What the bands beyond are: 0 unspecified, 2 transparency.
        nodata: Text of GDAL's tag.
        orientation: As in EXIF.
        description: Text.
        pages: Further pages, (H, W) or (H, W, bands).
        page_kind: Of these: 1 reduced, 0 pages of a stack.
    """
    order = ">" if big_endian else "<"
    body = bytearray((b"MM" if big_endian else b"II") + struct.pack(f"{order}H", 43 if large else 42))
    body += struct.pack(f"{order}HHQ", 8, 0, 0) if large else struct.pack(f"{order}I", 0)
    link = 8 if large else 4
    for number, page in enumerate([values, *pages]):
        page = np.asarray(page)
        page = page[..., None] if page.ndim == 2 else page
        height, width, bands = page.shape
        offsets, counts = [], []
        for plane in [page[..., band : band + 1] for band in range(bands)] if separate else [page]:
            for piece in _pieces(plane, tile, rows or height):
                data = _packed(piece, order, compressed, predictor)
                offsets.append(len(body))
                counts.append(len(data))
                body += data + b"\0" * (len(data) % 2)
        tags = {254: page_kind if number else 0, 256: width, 257: height, 258: [8 * page.dtype.itemsize] * bands}
        tags |= {259: 8 if compressed else 1, 262: photometric, 277: bands, 284: 2 if separate else 1}
        tags |= {339: [_FORMATS[page.dtype.kind]] * bands, 317: predictor}
        tags |= {322: tile[1], 323: tile[0], 324: offsets, 325: counts} if tile else {}
        tags |= {} if tile else {273: offsets, 278: rows or height, 279: counts}
        tags |= {338: extra} if extra is not None else {}
        tags |= {42113: nodata.encode() + b"\0"} if nodata is not None else {}
        tags |= {274: orientation} if orientation else {}
        tags |= {270: description.encode() + b"\0"} if description else {}
        place, directory = _directory(tags, len(body), order, large)
        body[link : link + (8 if large else 4)] = struct.pack(f"{order}{'Q' if large else 'I'}", place)
        body += directory
        link = place + (8 + 20 * len(tags) if large else 2 + 12 * len(tags))
    return bytes(body)


def _pieces(plane, tile, rows):
    height, width = plane.shape[:2]
    if tile is None:
        return [plane[start : start + rows] for start in range(0, height, rows)]
    padded = np.pad(plane, ((0, -height % tile[0]), (0, -width % tile[1]), (0, 0)))
    return [
        padded[top : top + tile[0], left : left + tile[1]]
        for top in range(0, height, tile[0])
        for left in range(0, width, tile[1])
    ]


def _packed(piece, order, compressed, predictor):
    if predictor == 2:
        whole = piece.view(f"u{piece.dtype.itemsize}")
        piece = np.diff(whole, axis=1, prepend=np.zeros_like(whole[:, :1]))
    elif predictor == 3:
        height, width, bands = piece.shape
        planes = np.ascontiguousarray(piece.astype(piece.dtype.newbyteorder(">"))).view(np.uint8)
        planes = planes.reshape(height, width * bands, -1).swapaxes(1, 2).reshape(height, -1, bands)
        piece = np.diff(planes, axis=1, prepend=np.zeros_like(planes[:, :1]))
    data = np.ascontiguousarray(piece.astype(piece.dtype.newbyteorder(order))).tobytes()
    return zlib.compress(data) if compressed else data


def _directory(tags, place, order, large):
    slot, pointer = (8, "Q") if large else (4, "I")
    head = struct.pack(f"{order}{'Q' if large else 'H'}", len(tags))
    ending = place + len(head) + len(tags) * (20 if large else 12) + slot
    entries, after = b"", b""
    for tag, value in sorted(tags.items()):
        if isinstance(value, bytes):
            kind, count, data = 2, len(value), value
        else:
            numbers = value if isinstance(value, list) else [value]
            kind, count, data = 4, len(numbers), struct.pack(f"{order}{len(numbers)}I", *numbers)
        if len(data) > slot:
            data, after = struct.pack(f"{order}{pointer}", ending + len(after)), after + data
        entries += struct.pack(f"{order}HH{pointer}", tag, kind, count) + data.ljust(slot, b"\0")
    return place, head + entries + b"\0" * slot + after
