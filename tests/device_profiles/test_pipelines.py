"""Camera pipelines: what they may say, and that nothing else gets through."""

from __future__ import annotations

import re
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewright.device_profiles.errors import ProfileError
from edgewright.device_profiles.pipelines import CameraShape, elements_of, fill_pipeline, pipeline_problem
from edgewright.device_profiles.profile import list_profiles, load_profile

CAPS = "video/x-raw,width={width},height={height},framerate={fps}/1"
GOOD = f"v4l2src device=/dev/video{{sensor}} ! {CAPS} ! videoconvert ! appsink drop=true"
SHIPPED = [(name, kind) for name in list_profiles() for kind in load_profile(name).gstreamer]

WRONG = {
    GOOD.replace("v4l2src", "filesrc location=/etc/shadow"): "'filesrc' is no element",
    GOOD.replace("v4l2src", "souphttpsrc"): "no element",
    GOOD.replace("videoconvert", "tee"): "'tee' is no element",
    GOOD.replace("appsink drop=true", "filesink location=/etc/passwd"): "'filesink' is no element",
    GOOD.replace("videoconvert", "v4l2src"): "must begin with one camera",
    GOOD.replace("videoconvert", "appsink"): "must end with appsink",
    GOOD.removesuffix(" ! appsink drop=true"): "must end with appsink",
    f"{CAPS} ! appsink": "must begin with a camera",
    GOOD + " ! ": "must end with appsink",
    GOOD.replace("videoconvert", ""): "nothing between",
    "": "lacks the placeholder {width}",
    GOOD.replace("{fps}", "30"): "lacks the placeholder {fps}",
    GOOD.replace("{sensor}", "{camera}"): "{camera} is no placeholder",
    GOOD.replace("/dev/video{sensor}", "/dev/sda"): "is no camera",
    GOOD.replace("/dev/video{sensor}", "/dev/video{sensor}/../sda"): "is no camera",
    GOOD.replace("drop=true", "name=sink"): "names an element",
    GOOD.replace("drop=true", "drop=$(reboot)"): "no property of appsink",
    GOOD.replace("drop=true", "drop=true;reboot"): "no property",
    GOOD.replace("drop=true", "drop=`reboot`"): "no property",
    GOOD.replace("drop=true", 'drop="true"'): "no property",
    GOOD.replace("drop=true", "drop=true & reboot"): "'&' is no property",
    GOOD.replace("drop=true", "drop=true > /etc/x"): "no property",
    GOOD.replace("drop=true", "drop=true\nreboot"): "no property",
    GOOD.replace("video/x-raw,", "video/x-raw(memory:$HOME),"): "no element",
    GOOD + "  " * 400: "characters; at most",
}


@pytest.mark.parametrize(("text", "said"), WRONG.items(), ids=range(len(WRONG)))
def test_what_is_refused_and_why(text: str, said: str) -> None:
    problem = pipeline_problem(text)
    assert problem is not None
    assert said in problem
    with pytest.raises(ProfileError, match=re.escape(said)):
        fill_pipeline(text, CameraShape())


@pytest.mark.parametrize(("name", "kind"), SHIPPED)
def test_a_shipped_pipeline_is_filled_in(name: str, kind: str) -> None:
    text = load_profile(name).gstreamer[kind].value
    filled = fill_pipeline(text, CameraShape(640, 480, 15, 2))
    assert "width=640,height=480,framerate=15/1" in filled
    assert "{" not in filled
    assert elements_of(text)[-1] == "appsink"
    assert "drop=true max-buffers=1" in filled


def test_which_camera_each_board_reads() -> None:
    first = {name: elements_of(load_profile(name).gstreamer["csi"].value)[0] for name, kind in SHIPPED if kind == "csi"}
    assert first["raspberry-pi-5"] == first["raspberry-pi-zero-2w"] == "libcamerasrc"
    assert first["jetson-nano"] == first["jetson-agx-orin"] == "nvarguscamerasrc"
    assert "generic-x86-vnni" not in first


@pytest.mark.parametrize("shape", [{"width": 0}, {"height": 99999}, {"fps": True}, {"sensor": -1}, {"fps": "30; x"}])
def test_a_shape_is_made_of_numbers(shape: dict[str, int]) -> None:
    with pytest.raises(ProfileError, match="is a whole number from"):
        CameraShape(**shape)


@given(st.text(alphabet=st.sampled_from(GOOD + "$`;|&<>\\'\"*?~#()[]\n%^"), max_size=30), st.integers(0, len(GOOD)))
def test_no_sign_that_a_shell_minds_gets_through_but_those_of_gstreamer(text: str, place: int) -> None:
    whole = GOOD[:place] + text + GOOD[place:]
    if pipeline_problem(whole) is None:
        assert not set(whole.replace("(memory:NVMM)", "")) & set("$`;|&<>\\'\"*?~#()[]\n%^")


@pytest.mark.parametrize(("text", "fine"), [("", True), ("nosuchelement ! ", False)])
def test_gstreamer_itself_understands_the_form(text: str, fine: bool) -> None:
    """With test pictures for the camera, in the system's own Python, which has GStreamer."""
    pipeline = load_profile("raspberry-pi-5").gstreamer["csi"].value.replace("libcamerasrc", "videotestsrc")
    pipeline = fill_pipeline(pipeline, CameraShape(64, 48, 10)).replace("videoconvert ! ", text + "videoconvert ! ")
    code = """import sys, gi; gi.require_version("Gst", "1.0"); from gi.repository import Gst; Gst.init(None)
line = Gst.parse_launch(sys.argv[1] + " name=sink"); line.set_state(Gst.State.PLAYING)
sink = line.get_by_name("sink"); sample = sink.emit("pull-sample"); line.set_state(Gst.State.NULL)
assert sample.get_buffer().get_size() == 64 * 48 * 3"""
    done = subprocess.run(["/usr/bin/python3", "-c", code, pipeline], capture_output=True, text=True, check=False)
    assert (done.returncode == 0) == fine, done.stderr
