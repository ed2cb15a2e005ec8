"""Safetensors files of arrays and text.

They are written atomically and checked on reading. The header of a file contains the checksum of the whole file.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

# value of the checksum in the file of which it is computed
BLANK = "0" * 64
MAX_HEADER = 100 * 2**20  # bytes; the limit of safetensors


def write_archive(path: Path, metadata: Mapping[str, str], arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays and text to a file.

    If the process crashes, an existing file is unchanged. A temporary file that it leaves is deleted when another
    process writes to the same path.
    """
    if path.is_dir():
        raise IsADirectoryError(f"path must be that of a file, got the folder {path}")
    contiguous = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    content = save(contiguous, {**metadata, "checksum": BLANK})
    content = _with_checksum(content, BLANK, hashlib.sha256(content).hexdigest())
    check_folder(path)
    _clear(path)
    with _temporary_file(path) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


@contextlib.contextmanager
def _temporary_file(path: Path) -> Iterator[BinaryIO]:
    """Open a new file that replaces `path` at the end.

    It is locked until then, so that other processes do not take it for the rest of a process that was killed.
    """
    temporary, opened = _locked_file(path)
    try:
        with opened as file:
            yield file
            if fcntl is not None:
                temporary.replace(path)
        if fcntl is None:  # on Windows, an open file cannot be renamed
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _locked_file(path: Path) -> tuple[Path, BinaryIO]:
    """Create a locked file with a random name beside `path`."""
    while True:
        temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
        file = temporary.open("xb")
        _lock(file, wait=True)
        if temporary.exists():
            return temporary, file
        file.close()  # another process has deleted the file before it was locked


def _clear(path: Path) -> None:
    """Delete the temporary files of processes that were killed.

    The lock of a process ends with it. Files that cannot be locked are kept.
    """
    pattern = re.compile(re.escape(f".{path.name}.") + "[0-9a-f]{32}")
    for name in os.listdir(path.parent):
        if pattern.fullmatch(name):
            with contextlib.suppress(OSError), path.with_name(name).open("rb") as file:
                if _lock(file):
                    path.with_name(name).unlink()


def _lock(file: BinaryIO, wait: bool = False) -> bool:
    """Lock an open file; return whether this was possible.

    It is not if another process has locked the file, unless `wait`, or on systems and in folders without locks.
    """
    if fcntl is None:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        return False
    return True


def check_folder(path: Path, name: str = "path") -> None:
    """Raise a FileNotFoundError unless the folder exists.

    The message names the argument.
    """
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"{name} must be in an existing folder, got {path}; create the folder {path.parent} first"
        )


def read_archive(
    path: Path, is_checked: Callable[[Mapping[str, str]], bool]
) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    """Return the text and the arrays of a file.

    It was written by `write_archive`. `is_checked` is called with the text before the arrays are read. It raises a
    ValueError for files of other kinds, and returns whether the file has a checksum.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist or is not a file")
    with path.open("rb") as file:
        metadata = _metadata(path, file)
        with_checksum = is_checked(metadata)
        file.seek(0)
        content = file.read()
    try:
        arrays = load_arrays(content)
    except SafetensorError as error:
        raise ValueError(f"{path} is truncated or not a safetensors file: {error}") from error
    checksum = metadata.get("checksum", "")
    if with_checksum and hashlib.sha256(_with_checksum(content, checksum, BLANK)).hexdigest() != checksum:
        raise ValueError(f"{path} is damaged: its checksum is not that of its content; save or copy it again")
    return metadata, arrays


def _metadata(path: Path, file: BinaryIO) -> dict[str, str]:
    """Return the metadata in the header of a safetensors file.

    The header is JSON, and its length is in the first eight bytes. The arrays, which are not read, must have the sizes
    that the header declares.
    """
    n_bytes, length = os.fstat(file.fileno()).st_size, int.from_bytes(file.read(8), "little")
    try:
        if not n_bytes:
            raise ValueError("it is empty")
        if n_bytes < 8 or length > min(n_bytes - 8, MAX_HEADER):
            raise ValueError("its header is longer than the file or than the limit")
        header = json.loads(file.read(length))
        metadata = header["__metadata__"]
        ends = [array["data_offsets"][1] for name, array in header.items() if name != "__metadata__"]
        if 8 + length + max(ends, default=0) != n_bytes:
            raise ValueError("its size is not that of the arrays in its header")
        if not all(isinstance(value, str) for value in metadata.values()):
            raise TypeError("its metadata is not text")
        return dict(metadata)
    except KeyError:
        return {}
    except (ValueError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise ValueError(f"{path} is truncated or not a safetensors file: {error}") from error


def _with_checksum(content: bytes, old: str, new: str) -> bytes:
    """Replace the checksum in the header of a file."""
    return content.replace(f'"checksum":"{old}"'.encode(), f'"checksum":"{new}"'.encode(), 1)
