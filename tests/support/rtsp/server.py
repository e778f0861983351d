"""An RTSP camera whose pixels say when they were made. Run with Debian's /usr/bin/python3: PORT WIDTH HEIGHT FPS.

The upper part of every picture is two rows of 16 black and white blocks: 32 bits of the monotonic clock in
milliseconds, most significant first. A tick that comes late is left out, as a real camera does.
"""

import sys
import time

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402 - the versions must be named first

PORT, WIDTH, HEIGHT, FPS = sys.argv[1], *(int(text) for text in sys.argv[2:5])
BLOCK = WIDTH // 16
LAUNCH = (
    f"( appsrc name=source is-live=true format=time do-timestamp=true block=false max-bytes=1000000 "
    f"caps=video/x-raw,format=I420,width={WIDTH},height={HEIGHT},framerate={FPS}/1 "
    f"! x264enc tune=zerolatency speed-preset=ultrafast key-int-max={FPS} "
    f"! rtph264pay name=pay0 pt=96 config-interval=1 )"
)
CHROMA = bytes([128]) * (WIDTH * HEIGHT // 2)


def picture(now: float) -> bytes:
    bits = f"{int(now * 1000) & 0xFFFFFFFF:032b}"
    rows = []
    for half in (bits[:16], bits[16:]):
        row = b"".join((b"\xeb" if bit == "1" else b"\x10") * BLOCK for bit in half)
        rows.append(row.ljust(WIDTH, b"\x80") * BLOCK)
    luma = b"".join(rows)
    return luma + b"\x80" * (WIDTH * HEIGHT - len(luma)) + CHROMA


class Camera(GstRtspServer.RTSPMediaFactory):
    def do_configure(self, media: GstRtspServer.RTSPMedia) -> None:
        source = media.get_element().get_by_name("source")
        GLib.timeout_add(round(1000 / FPS), self.push, source)

    @staticmethod
    def push(source: Gst.Element) -> bool:
        buffer = Gst.Buffer.new_wrapped(picture(time.monotonic()))
        return source.emit("push-buffer", buffer) == Gst.FlowReturn.OK


Gst.init(None)
server, camera = GstRtspServer.RTSPServer(), Camera()
server.set_address("127.0.0.1")
server.set_service(PORT)
camera.set_launch(LAUNCH)
camera.set_shared(True)
server.get_mount_points().add_factory("/cam", camera)
server.attach(None)
sys.stdout.write("ready\n")
sys.stdout.flush()
GLib.MainLoop().run()
