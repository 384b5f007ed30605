"""Forms (multipart/form-data): bad framing, odd names, bombs, and odd ones that are good."""

import base64
from collections.abc import Iterator

from . import corpus_files as files
from .corpus import BOUNDARY, CANARY, MEGABYTE, Case, Make, expects, form, picture, posted

GOOD, MALFORMED, TYPE, MEDIA, LARGE = 200, 422, 415, 415, 413
_NAME = f'form-data; name="file"; filename="{CANARY}.png"'
_MARK = CANARY.encode()
_KIND = "multipart/form-data; boundary="


def cases() -> Iterator[Case]:
    """Every case of forms."""
    for part in (_boundaries, _framing, _parts, _names, _headers, _bombs, _types):
        yield from part()


def _bad(name: str, make: Make) -> Case:
    return Case(f"form: {name}", make, expects(MALFORMED), "malformed-request")


def _good(name: str, make: Make) -> Case:
    return Case(f"form: {name}", make, expects(GOOD), like=lambda: picture(_png()))


def _open(name: str, make: Make, *statuses: int) -> Case:
    return Case(f"form: {name}", make, expects(*(statuses or (GOOD, MALFORMED))))


def _png() -> bytes:
    return files.plain()


def _of(boundary: str) -> bytes:
    """A good form with another boundary."""
    return form(_png()).replace(BOUNDARY.encode(), boundary.encode("latin-1"))


def _boundaries() -> Iterator[Case]:
    yield _bad("no boundary", lambda: posted(form(_png()), kind="multipart/form-data"))
    yield _bad("empty boundary", lambda: posted(form(_png()), kind=_KIND))
    yield _bad("empty quoted boundary", lambda: posted(form(_png()), kind=_KIND + '""'))
    yield _bad("wrong boundary", lambda: posted(form(_png()), kind=_KIND + CANARY))
    yield _bad("quote that is not closed", lambda: posted(form(_png()), kind=_KIND + f'"{CANARY}'))
    yield _bad("prefix of the boundary", lambda: posted(form(_png()), kind=_KIND + BOUNDARY[:-1]))
    yield _bad("boundary of another case", lambda: posted(_of(BOUNDARY.upper())))
    for length in (1, 69, 70):
        long = "b" * length
        yield _good(f"boundary of {length}", lambda long=long: posted(_of(long), kind=_KIND + long))
    for length in (71, 200, 500, 5000):
        long = "b" * length
        yield _open(f"boundary of {length}", lambda long=long: posted(_of(long), kind=_KIND + long))
    odd = "a'()+_,-./:=?b"
    yield _good("boundary of odd characters", lambda: posted(_of(odd), kind=f'{_KIND}"{odd}"'))
    yield _good("quoted boundary", lambda: posted(form(_png()), kind=f'{_KIND}"{BOUNDARY}"'))
    yield _good(
        "names of any case",
        lambda: posted(form(_png()), kind=f"Multipart/Form-Data; Boundary={BOUNDARY}"),
    )
    yield _good(
        "other parameters", lambda: posted(form(_png()), kind=f"{_KIND}{BOUNDARY}; charset=utf-8")
    )
    yield _open(
        "two boundaries", lambda: posted(form(_png()), kind=f"{_KIND}{BOUNDARY}; boundary={CANARY}")
    )
    yield _open("boundary of latin letters", lambda: posted(_of("\xe9"), kind=_KIND + "\xe9"))
    yield _open("boundary with a space at its end", lambda: posted(_of("b "), kind=_KIND + '"b "'))


def _framing() -> Iterator[Case]:
    end = f"\r\n--{BOUNDARY}--\r\n".encode()
    yield _bad("empty", lambda: posted(b""))
    yield _bad("no form at all", lambda: posted(_MARK * 9))
    yield _bad("only its end", lambda: posted(end[2:]))
    yield _bad("only its first line", lambda: posted(f"--{BOUNDARY}\r\n".encode()))
    yield _open("without its end", lambda: posted(form(_png())[: -len(end)]))
    yield _open("cut off in its end", lambda: posted(form(_png())[:-6]))
    yield _bad("cut off in a head", lambda: posted(form(b"")[:60]))
    yield _good("without the last line break", lambda: posted(form(_png())[:-2]))
    yield _open("lines of LF", lambda: posted(form(_png()).replace(b"\r\n", b"\n")))
    yield _bad("lines of CR", lambda: posted(form(b"x").replace(b"\r\n", b"\r")))
    yield _open("preamble", lambda: posted(b"preamble\r\n" + form(_png())))
    yield _open("preamble of 3 MB", lambda: posted(_padding() + b"\r\n" + form(_png())))
    yield _good("epilogue", lambda: posted(form(_png()) + _MARK))
    yield _good("epilogue of 3 MB", lambda: posted(form(_png()) + _padding()))
    yield _good("line break before it", lambda: posted(b"\r\n" + form(_png())))
    yield _open("spaces behind the boundary", lambda: posted(_spaced()))
    yield _bad("ended before it began", lambda: posted(end[2:] + form(_png())))
    yield _open("boundary within the picture", lambda: posted(_inside()), GOOD, 400, MALFORMED)


def _parts() -> Iterator[Case]:
    text = 'form-data; name="{}"'
    yield _bad("two files", lambda: posted(_several((_NAME, _png()), (_NAME, _png()))))
    yield _bad("1,000 parts", lambda: posted(_several(*[(text.format("a"), b"1")] * 1000)))
    yield _bad("1,000 files", lambda: posted(_several(*[(_NAME, b"1")] * 1000)))
    yield _good("two parts", lambda: posted(_several((text.format(CANARY), b"1"), (_NAME, _png()))))
    yield _bad("another field", lambda: posted(form(_png(), _NAME.replace("file", CANARY, 1))))
    yield _bad(
        "a field of another case", lambda: posted(form(_png(), _NAME.replace("file", "FILE", 1)))
    )
    yield _open("no file name", lambda: posted(form(_png(), text.format("file"))))
    yield _open(
        "text for a file", lambda: posted(form(_MARK, text.format("file"))), TYPE, MALFORMED
    )
    yield _open(
        "empty file name", lambda: posted(form(_png(), text.format("file") + '; filename=""'))
    )
    yield _bad("no file chosen", lambda: posted(form(b"", text.format("file") + '; filename=""')))
    yield _bad("no name", lambda: posted(form(_png(), f'form-data; filename="{CANARY}"')))
    yield _bad("empty name", lambda: posted(form(_png(), _NAME.replace('"file"', '""'))))
    yield _bad("name of an attachment", lambda: posted(form(_png(), "attachment; filename=a")))
    yield _bad("no disposition", lambda: posted(_bare(b"Content-Type: image/png\r\n\r\n" + _png())))
    yield _bad("no head", lambda: posted(_bare(b"\r\n" + _png())))
    yield _bad("no blank line", lambda: posted(_bare(_png())))
    yield _open("a form within", lambda: posted(form(form(_png()))), TYPE, MALFORMED)
    yield _open("multipart/mixed within", lambda: posted(_mixed()), TYPE, MALFORMED)
    yield _good(
        "_charset_",
        lambda: posted(_several((text.format("_charset_"), b"utf-16"), (_NAME, _png()))),
    )
    yield _open(
        "a large text beside the picture",
        lambda: posted(_several((text.format(CANARY), b"1" * MEGABYTE), (_NAME, _png()))),
        GOOD, LARGE, MALFORMED,
    )  # fmt: skip


def _names() -> Iterator[Case]:
    names = {
        "a path": "../../etc/passwd",
        "a DriftWindows path": "C:\\\\DriftWindows\\\\a.png",
        "other letters": "f\u00e4ce \u624b.png",
        "an emoji": "\U0001f600.png",
        "right to left": "\u202egnp.exe",
        "no UTF-8": "\udcff\udcfe.png",
        "a quote": 'a\\"b.png',
        "percent signs": "%00%0d%0aSet-Cookie: a=b",
        "HTML": "<script>alert(1)</script>",
        "a semicolon": "a;name=other;b.png",
        "an ending of ours": f"{CANARY}.bundle.json",
        "256 characters": "a" * 256,
    }
    for name, value in names.items():
        disposition = f'form-data; name="file"; filename="{value}"'
        yield _good(f"name of {name}", lambda known=disposition: posted(form(_png(), known)))
    odd = {"NUL": "\0", "control characters": "\x01\x07\x1b", "a tab": "\t", "CR": "a\rb"}
    for name, value in odd.items():
        disposition = f'form-data; name="file"; filename="{value}"'
        yield _open(f"name of {name}", lambda known=disposition: posted(form(_png(), known)))
    long = f'form-data; name="file"; filename="{CANARY * 1000}"'
    yield _open("name of 10 kB", lambda: posted(form(_png(), long)))
    starred = "form-data; name=\"file\"; filename*=utf-8''f%C3%A4ce.png"
    yield _open("name as filename*", lambda: posted(form(_png(), starred)))
    both = starred + '; filename="a.png"'
    yield _good("both kinds of names", lambda: posted(form(_png(), both)))
    wrong = 'form-data; name="file"; filename*=wrong-1\'\'a%ff; filename="a.png"'
    yield _good("filename* of no charset", lambda: posted(form(_png(), wrong)))
    bare = "form-data; name=file; filename=a.png"
    yield _good("names without quotes", lambda: posted(form(_png(), bare)))
    twice = 'form-data; name="other"; name="file"; filename="a.png"'
    yield _open("two names", lambda: posted(form(_png(), twice)))
    open_quote = 'form-data; name="file"; filename="' + CANARY
    yield _open("name that is not closed", lambda: posted(form(_png(), open_quote)))
    yield _open("RFC 2047", lambda: posted(form(_png(), _NAME.replace(CANARY, "=?utf-8?b?YQ==?="))))


def _headers() -> Iterator[Case]:
    encoded = base64.b64encode(files.plain())
    head = b"Content-Transfer-Encoding: base64\r\n"
    yield _open("base64", lambda: posted(form(encoded, None, head)), TYPE)
    gzip = b"Content-Encoding: gzip\r\n"
    yield _good("Content-Encoding within", lambda: posted(form(_png(), None, gzip)))
    charset = b"Content-Type: image/png; charset=utf-7\r\n"
    yield _good("charset of a part", lambda: posted(form(_png(), None, charset)))
    yield _good("unknown headers", lambda: posted(form(_png(), None, b"X-" + _MARK + b": 1\r\n")))
    yield _open("header without colon", lambda: posted(form(_png(), None, _MARK + b"\r\n")))
    yield _open("header without name", lambda: posted(form(_png(), None, b": 1\r\n")))
    yield _open("folded header", lambda: posted(form(_png(), None, b"X-A: 1\r\n 2\r\n")))
    yield _open("NUL in a header", lambda: posted(form(_png(), None, b"X-A: \0\r\n")))
    length = b"Content-Length: 5\r\n"
    yield _good("Content-Length within", lambda: posted(form(_png(), None, length)))
    twice = f"Content-Disposition: {_NAME}\r\n".encode()
    yield _open("two dispositions", lambda: posted(form(_png(), None, twice)))


def _bombs() -> Iterator[Case]:
    many = b"".join(b"X-%d: a\r\n" % number for number in range(10_000))
    yield _open("10,000 headers in a part", lambda: posted(form(_png(), None, many)))
    large = b"X-A: " + _MARK * 100_000 + b"\r\n"
    yield _open("header of 1 MB in a part", lambda: posted(form(_png(), None, large)))
    name = b"X-" + b"a" * MEGABYTE + b": 1\r\n"
    yield _open("header name of 1 MB in a part", lambda: posted(form(_png(), None, name)))
    tight = f"--{BOUNDARY}\r\n\r\n".encode()
    yield _bad("100,000 empty parts", lambda: posted(tight * 100_000))
    almost = f"\r\n--{BOUNDARY[:-1]}".encode()
    yield Case(
        "form: 100,000 almost-boundaries in a picture",
        lambda: posted(form(_png() + almost * 100_000)),
        expects(GOOD),
    )
    yield Case("form: 3 MB of CR LF", lambda: posted(form(b"\r\n" * 1_500_000)), expects(TYPE))
    yield Case("form: 3 MB of CR", lambda: posted(form(b"\r" * 3_000_000)), expects(TYPE))


def _types() -> Iterator[Case]:
    kinds = {
        "no type": "",
        "urlencoded": "application/x-www-form-urlencoded",
        "multipart/mixed": f"multipart/mixed; boundary={BOUNDARY}",
        "multipart/related": f"multipart/related; boundary={BOUNDARY}",
        "text": "text/plain",
        "XML": "application/xml",
        "almost a form": f"multipart/form-dataX; boundary={BOUNDARY}",
        "nonsense": ";;;=",
        "latin letters": "multipart/form-d\xe4ta",
        "a list": f"text/plain, {_KIND}{BOUNDARY}",
        "6 kB": "a/" + CANARY * 500,
    }
    for name, kind in kinds.items():
        yield Case(
            f"form: type is {name}",
            lambda kind=kind: posted(form(_png()), kind=kind or " "),
            expects(MEDIA),
            "unsupported-media-type",
        )
    for kind in (f"image/{CANARY}", "image/png", "application/octet-stream"):
        yield Case(
            f"form: type is {kind}",
            lambda kind=kind: posted(form(_png()), kind=kind),
            expects(TYPE),
            "unsupported-image-type",
        )
        yield Case(
            f"form: a picture as {kind}",
            lambda kind=kind: posted(_png(), kind=kind),
            expects(GOOD),
            like=lambda: posted(form(_png())),
        )
    yield Case(
        "form: type given twice",
        lambda: posted(form(_png()), **{"content-type": f"image/{CANARY}"}),
        expects(GOOD, MEDIA, MALFORMED, 400),
    )
    for coding in ("gzip", "br", CANARY):
        yield Case(
            f"form: Content-Encoding {coding}",
            lambda coding=coding: posted(form(_png()), **{"Content-Encoding": coding}),
            expects(MEDIA),
            "unsupported-media-type",
        )


def _padding() -> bytes:
    return _MARK * (3 * MEGABYTE // len(_MARK))


def _spaced() -> bytes:
    return form(_png()).replace(BOUNDARY.encode() + b"\r\n", BOUNDARY.encode() + b" \t\r\n", 1)


def _inside() -> bytes:
    data = _png()
    return form(data[:200] + f"\r\n--{BOUNDARY}\r\n".encode() + data[200:])


def _several(*parts: tuple[str, bytes]) -> bytes:
    end = f"--{BOUNDARY}--\r\n".encode()
    return b"".join(form(content, name).removesuffix(end) for name, content in parts) + end


def _bare(part: bytes) -> bytes:
    return f"--{BOUNDARY}\r\n".encode() + part + f"\r\n--{BOUNDARY}--\r\n".encode()


def _mixed() -> bytes:
    inner = form(_png()).replace(BOUNDARY.encode(), b"inner")
    head = b"Content-Type: multipart/mixed; boundary=inner\r\n"
    return form(inner, 'form-data; name="file"', head)
