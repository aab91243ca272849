"""A SavedModel is a folder; a model asset's weights are a file: so it comes packed."""

import shutil
import stat
import tarfile
import zipfile
from pathlib import Path, PurePosixPath


def unpack(archive, folder):
    """Unpack a zip or tar archive into ``folder``, files and folders only.

    Raises ValueError where an entry lies outside of it, is a link or a device, or where the whole wouldn't fit.
    """
    packed = _zipped if zipfile.is_zipfile(archive) else _tarred
    left = shutil.disk_usage(folder).free
    try:
        for name, size, kind, open_entry in packed(archive):
            path = PurePosixPath(name.replace("\\", "/"))
            if path.is_absolute() or ".." in path.parts or ":" in path.parts[:1]:
                raise ValueError(f"{archive} has an entry outside of its folder: {name!r}", _MEND)
            if kind not in ("file", "folder"):
                raise ValueError(f"{archive} has an entry that is no file and no folder: {name!r}", _MEND)
            left -= size
            if left < 0:
                raise ValueError(f"{archive} unpacked is larger than the room left in {folder}", "set TMPDIR")
            target = Path(folder, *path.parts)
            if kind == "folder":
                target.mkdir(parents=True, exist_ok=True)
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            with open_entry() as source, target.open("wb") as sink:
                shutil.copyfileobj(source, sink)
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, OSError) as error:
        raise ValueError(f"{archive} can't be unpacked: {error}", _MEND) from error


_MEND = "pack the SavedModel's folder anew, with zip -r or tar -czf"


def _zipped(archive):
    """Name, size in bytes, kind and opener of each entry."""
    with zipfile.ZipFile(archive) as entries:
        for entry in entries.infolist():
            mode = stat.S_IFMT(entry.external_attr >> 16)
            plain = "folder" if entry.is_dir() else "file"
            kind = plain if mode in (0, stat.S_IFREG, stat.S_IFDIR) else "other"
            yield entry.filename, entry.file_size, kind, lambda entry=entry: entries.open(entry)


def _tarred(archive):
    with tarfile.open(archive) as entries:
        for entry in entries:
            kind = "file" if entry.isfile() else "folder" if entry.isdir() else "other"
            yield entry.name, entry.size, kind, lambda entry=entry: entries.extractfile(entry)
