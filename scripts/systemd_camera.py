"""Shows an H.264 file as an RTSP camera. Run with Debian's /usr/bin/python3: PORT FILE.

Each visitor sees it from the beginning, at its own speed; at its end the connection ends, as when a camera restarts.
"""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402 - the versions must be named first

PORT, FILE = sys.argv[1:]

Gst.init(None)
server, camera = GstRtspServer.RTSPServer(), GstRtspServer.RTSPMediaFactory()
server.set_address("127.0.0.1")
server.set_service(PORT)
camera.set_launch(f'( filesrc location="{FILE}" ! qtdemux ! h264parse ! rtph264pay name=pay0 pt=96 config-interval=1 )')
server.get_mount_points().add_factory("/cam", camera)
server.attach(None)
sys.stdout.write("ready\n")
sys.stdout.flush()
GLib.MainLoop().run()
