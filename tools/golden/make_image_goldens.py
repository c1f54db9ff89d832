#!/usr/bin/env python3
"""Makes tests/golden/image: small image files, and in cases.json what Pillow 13.0.0 reads from them and how it resizes.

usage: make_image_goldens.py

Each line of cases.json is a case: a `file` with the `width`, `height` and `rgb` (hex) of
ImageOps.exif_transpose(Image.open(file)).convert("RGB") and the `tolerance` of a byte (0; 2 for JPEG, where another build of
libjpeg may round elsewhere); or a `filter` with the `from`, `to` and `rgb` of what Image.resize makes of it. PNG files that
Pillow does not write (interlaced, 16 bits a colour) are put together here. One case is not as Pillow has it, which clips
grey values of 16 bits at 255; here they keep their upper byte, as libpng and browsers show them.
"""
import io
import json
import pathlib
import random
import struct
import zlib

import PIL
from PIL import Image, ImageOps

assert PIL.__version__ == "13.0.0", PIL.__version__
FOLDER = pathlib.Path(__file__).resolve().parent.parent.parent / "tests/golden/image"
RANDOM = random.Random(1)


def picture(width, height, mode="RGB", noise=40):
    """Slopes with noise: something for every filter and every coefficient."""
    image = Image.new("RGBA", (width, height))
    for y in range(height):
        for x in range(width):
            values = (x * 255 // width, y * 255 // height, (x * 5 + y * 11) % 256, 255 if (x + y) % 3 else 60)
            image.putpixel((x, y), tuple(max(0, min(255, value + RANDOM.randint(-noise, noise) if i < 3 else value)) for i, value in enumerate(values)))
    return image if mode == "RGBA" else image.convert(mode)


def saved(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width, height, depth, colour, rows, interlaced=False, more=b""):
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, int(interlaced))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + more + chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows))) + chunk(b"IEND", b"")


def adam7(image):
    """An interlaced file of 8-bit RGB."""
    rows = []
    for x0, y0, dx, dy in ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)):
        for y in range(y0, image.height, dy):
            row = b"".join(bytes(image.getpixel((x, y))) for x in range(x0, image.width, dx))
            if row:
                rows.append(row)
    return png(image.width, image.height, 8, 2, rows, interlaced=True)


def deep(width, height, n_channels, colour):
    return png(width, height, 16, colour, [bytes(RANDOM.randrange(256) for _ in range(width * n_channels * 2)) for _ in range(height)])


def on_larger_screen(gif):
    """The first frame from (2, 1) on, on a screen that it does not cover."""
    at = gif.index(b",")
    width, height = struct.unpack("<HH", gif[at + 5:at + 9])
    return gif[:6] + struct.pack("<HH", width + 3, height + 2) + gif[10:at + 1] + struct.pack("<HH", 2, 1) + gif[at + 5:]


def exif(orientation):
    block = Image.Exif()
    block[0x0112] = orientation
    return block


def files():
    for subsampling in (0, 1, 2):
        yield f"jpeg_{subsampling}.jpg", saved(picture(19, 13), "JPEG", subsampling=subsampling, quality=80)
    yield "jpeg_progressive.jpg", saved(picture(17, 18), "JPEG", progressive=True)
    yield "jpeg_grey.jpg", saved(picture(9, 11, "L"), "JPEG")
    yield "jpeg_cmyk.jpg", saved(picture(10, 9).convert("CMYK"), "JPEG")
    for orientation in range(2, 9):
        yield f"jpeg_turned_{orientation}.jpg", saved(picture(5, 3), "JPEG", exif=exif(orientation))
    yield "png_rgb.png", saved(picture(7, 5), "PNG")
    yield "png_rgba.png", saved(picture(7, 5, "RGBA"), "PNG")
    yield "png_grey.png", saved(picture(7, 5, "L"), "PNG")
    yield "png_grey_alpha.png", saved(picture(7, 5, "RGBA").convert("LA"), "PNG")
    yield "png_bits.png", saved(picture(19, 5, "1"), "PNG")
    yield "png_palette.png", saved(picture(9, 5).quantize(11), "PNG")
    yield "png_palette_transparent.png", saved(picture(9, 5).quantize(4), "PNG", transparency=1)
    yield "png_turned.png", saved(picture(5, 4), "PNG", exif=exif(6))
    yield "png_interlaced.png", adam7(picture(11, 10))
    yield "png_rgb_16.png", deep(5, 3, 3, 2)
    yield "png_rgba_16.png", deep(5, 3, 4, 6)
    yield "png_grey_2.png", png(6, 2, 2, 0, [b"\x1b\x40", b"\xe4\x90"])
    yield "webp_lossy.webp", saved(picture(17, 11), "WEBP", quality=70)
    yield "webp_lossless.webp", saved(picture(9, 7), "WEBP", lossless=True)
    yield "webp_alpha.webp", saved(picture(9, 7, "RGBA"), "WEBP", lossless=True, exact=True)
    yield "webp_turned.webp", saved(picture(6, 4), "WEBP", lossless=True, exif=exif(8))
    yield "webp_animated.webp", saved(picture(8, 6), "WEBP", lossless=True, save_all=True, append_images=[picture(8, 6)])
    yield "gif.gif", saved(picture(9, 9).quantize(16), "GIF", interlace=0)
    yield "gif_interlaced.gif", saved(picture(9, 21).quantize(9), "GIF", interlace=1)
    yield "gif_grey.gif", saved(picture(9, 5, "L"), "GIF")
    yield "gif_transparent.gif", saved(picture(9, 5).quantize(8), "GIF", transparency=3)
    yield "gif_animated.gif", saved(picture(6, 5).quantize(8), "GIF", save_all=True, append_images=[picture(6, 5).quantize(8)])
    yield "gif_small_frame.gif", on_larger_screen(saved(picture(5, 4).quantize(8), "GIF"))
    yield "gif_small_transparent.gif", on_larger_screen(saved(picture(5, 4).quantize(8), "GIF", transparency=2))
    yield "bmp_24.bmp", saved(picture(7, 5), "BMP")
    yield "bmp_32.bmp", saved(picture(7, 5, "RGBA"), "BMP")
    upright = bytearray(saved(picture(3, 4), "BMP"))
    upright[22:26] = struct.pack("<i", -4)
    yield "bmp_from_top.bmp", bytes(upright)


def decoded(name, data):
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    return {"file": name, "width": image.width, "height": image.height, "tolerance": 2 if name.startswith("jpeg") else 0, "rgb": image.tobytes().hex()}


def resized(size, to, kind):
    image = picture(*size, noise=120)
    result = image.resize(to, getattr(Image.Resampling, kind.upper()))
    return {"filter": kind, "from": {"width": size[0], "height": size[1], "rgb": image.tobytes().hex()},
            "to": {"width": to[0], "height": to[1], "rgb": result.tobytes().hex()}}


def main():
    FOLDER.mkdir(parents=True, exist_ok=True)
    lines = []
    for name, data in files():
        (FOLDER / name).write_bytes(data)
        lines.append(decoded(name, data))
    (FOLDER / "png_grey_16.png").write_bytes(grey := png(3, 1, 16, 0, [b"\x00\x80\x7f\xff\xff\x00"]))
    assert len(grey) > 0
    lines.append({"file": "png_grey_16.png", "width": 3, "height": 1, "tolerance": 0, "rgb": "000000" "7f7f7f" "ffffff"})
    for kind in ("bilinear", "bicubic"):
        for size, to in (((1, 1), (3, 2)), ((13, 7), (5, 3)), ((7, 9), (16, 16)), ((23, 5), (4, 11)), ((9, 9), (9, 4)), ((6, 5), (1, 1)), ((31, 2), (8, 2))):
            lines.append(resized(size, to, kind))
    (FOLDER / "cases.json").write_text("[\n" + ",\n".join(json.dumps(line) for line in lines) + "\n]\n")


if __name__ == "__main__":
    main()
