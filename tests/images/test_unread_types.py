"""Files that are not read are counted by kind, with what converts them."""

from mien.images.unread_types import unread_notes


def test_each_kind_is_counted_with_its_remedy() -> None:
    """Endings in any case; what is read is not named."""
    files = ["a/1.HEIC", "a/2.heif", "b.mov", "c.CR2", "d.jpg", "e.txt"]
    assert list(unread_notes(files)) == [
        "HEIC pictures not readable here: 2 (first: a/1.HEIC). To use them, convert them with "
        "`heif-convert FILE FILE.jpg`.",
        "Videos not readable here: 1 (first: b.mov). To use them, take pictures out of them with "
        "`ffmpeg -i FILE frame-%05d.jpg`.",
        "Camera raw files not readable here: 1 (first: c.CR2). To use them, develop them to JPEG "
        "(`darktable-cli FILE FILE.jpg`).",
    ]
