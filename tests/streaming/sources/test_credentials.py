"""Passwords, user names and tokens in addresses and pipelines: no form of writing them gets one shown."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from edgeseg.errors import EdgeSegError
from edgeseg.streaming.config import DisplayConfig, RunConfig, SourceConfig
from edgeseg.streaming.sources import opening
from edgeseg.streaming.sources.credentials import redacted, secrets_in, without_secrets
from edgeseg.streaming.sources.live.address import Route, address_from_source
from edgeseg.streaming.sources.opening import open_frame_reader

if TYPE_CHECKING:
    from typing import NoReturn

    from edgeseg.streaming.sources.live.address import Address

# Part of every secret below.
MARK = "Zq7"
FORMS = [
    "rtsp://admin:Zq7pw@10.0.0.7:554/live",
    "rtsp://admin:p@Zq7:word@cam/live",
    "rtsp://admin:Zq7/x@cam/live",
    "rtsp://admin:a?Zq7@cam/live",
    "rtsp://admin:a#Zq7@cam/live",
    "rtsp://admin:12/Zq7@cam/live",
    "rtsp://admin:a b Zq7@cam/live",
    "rtsp://admin:a\"Zq7'x@cam/live",
    "rtsp://admin:[Zq7]@cam/live",
    "rtsp://admin:pä¬Zq7@cam/live",
    "rtsp://admin:Zq7@[fe80::1]:554/live",
    "rtsp://admin:Zq7@[fe80::1%25eth0]/live",
    "RTSP://admin:Zq7@cam/live",
    "rtsp://Zq7token@cam/live",
    "rtsp://admin:%5AZq7%2F@cam/",
    "http://cam/v?user=x&pwd=Zq7&fps=5",
    "http://cam/v?usr=a&loginuse=Zq7",
    "http://cam/v?auth=Zq7",
    "http://cam/v?apikey=Zq7",
    "http://cam/v?Zq7",
    "http://cam/v?a=Zq7;b=Zq7",
    "http://cam/v#Zq7",
    "http://cam/v?x#Zq7",
    "http://cam/v#a?Zq7",
    "http://cam/token/Zq7/x",
    "http://cam/user=admin&password=Zq7&channel=1&stream=0.sdp",
    "rtsp://cam:554/user=admin_password=Zq7_channel=1_stream=0.sdp?real_stream",
    "http://cam/v;pwd=Zq7",
    "rtsps://unifi:7441/gGr4x5FTs1Zq7MzQ9?enableSrtp",
    "http://cam/eyJhbGciOiJIUzI1NiJ9Zq7.eyJzdWIiOiIxIn0.abcZq7/x",
    "srt://h:1?passphrase=Zq7&streamid=#!::r=Zq7",
    "srt://h:1?streamid=Zq7",
    "rtmp://h/app/key pubUser=a pubPasswd=Zq7",
    "rtsp:/admin:Zq7@h/x",
    "rtsp//admin:Zq7@h/x",
    "admin:Zq7@h/x",
    "//admin:Zq7@h/x",
    "rtsp:admin:Zq7@h",
    "rstp://u:Zq7@h",
    "ftp://u:Zq7@h",
    "rtspsrc location=rtsp://u:Zq7@h ! y",
    "rtspsrc location=rtsp://c user-pw=Zq7 ! x",
    'rtspsrc location="rtsp://u:a Zq7@h/x" latency=50 ! x',
    "rtspsrc location='rtsp://u:a ! Zq7@h/x' ! x",
    "rtspsrc location=rtsp://u:a Zq7@h/x ! x",
    "rtspsrc location=rtsp://u:a\\ Zq7@h/x ! x",
    'rtspsrc location=rtsp://c user-pw="a Zq7" ! x',
    "rtspsrc location=rtsp://c user-pw='a ! Zq7' ! x",
    'rtspsrc location=rtsp://c user-pw = "a\\" Zq7" ! x',
    "rtspsrc user_pw=Zq7 ! x",
    "souphttpsrc location=http://c user-id=Zq7 user-pw=a,Zq7 proxy-pw=Zq7 ! x",
    'souphttpsrc extra-headers="h,Authorization=(string)\\"Bearer Zq7\\"" ! x',
    "souphttpsrc extra-headers=h,Authorization=(string)Bearer\\ Zq7 ! x",
    'souphttpsrc cookies="{a=Zq7}" ! x',
    "souphttpsrc location=http://c/v?token=Zq7 ! x",
    'souphttpsrc location="http://c/v?a=b c&token=Zq7" ! x',
    "Authorization: Bearer Zq7",
    "curl -H 'Authorization: Basic Zq7'",
    "rtspsrc location=rtsp://u:Zq7@h",
    "uridecodebin uri=rtsps://u:Zq7@h/x ! y",
    "rtsp://u:Zq7@h/x ! decodebin user-pw=Zq7",
    "rtsp://u:p ! Zq7@h/x",
    "rtsp://u:\\Zq7@h/x",
    "rtsp://u:\\/Zq7@h",
    "rtsp://u:Zq7\n@h/x",
    "rtsp://u:a\tZq7@h/x",
    " rtsp://u:Zq7@h/x",
    "rtsp://:Zq7@h/x",
    "rtsp://Zq7:@h/x",
    "http://cam:8080/Zq7@h",
    "rtsp://u:Zq7@h@2x/y",
    "rtsp://cam/live?u=admin&p=Zq7",
    "rtsp://cam/live?user=admin&password=Zq7@x",
    "http://cam/v?url=http://u:Zq7@h/x",
    "http://cam/cgi?usr=admin&pwd=%5AZq7",
    "https://cam/x?access_token=Zq7&width=3",
    "http://cam/x?sid=Zq7",
    "--source=rtsp://u:Zq7@h/x",
    "--web-token=Zq7abc",
]
PLAIN = [
    "rtsp://10.0.0.7/live",
    "udp://@:5000",
    "csi://1?fps=30&width=1280",
    "videotestsrc ! videoconvert",
    "rtspsrc location=rtsp://camera/path latency=50 ! rtph264depay ! video/x-raw, format=BGRx",
    "http://cam/axis-cgi/mjpg/video.cgi?resolution=640x480&fps=25&camera=1",
    "rtsp://cam/cam/realmonitor?channel=1&subtype=0",
    "rtsp://cam:554/Streaming/Channels/101",
    "rtsp://cam/h264Preview_01_main",
    "http://cam/stream@720p",
    "v4l2src device=/dev/video0 ! image/jpeg,width=640,framerate=30/1 ! jpegdec",
    "x264enc key-int-max=30 ! fakesink",
    "http://[::1]:80/x",
    "photos/",
    "/data/x=1/clip.mp4",
]
ODD = "/?#@:;&=!%[]{}<>()'\"\\ \t|^~`$*,+äß漢\u202e\x1b"


@pytest.mark.parametrize("text", FORMS)
def test_no_secret_is_shown(text: str) -> None:
    shown = redacted(text)

    assert MARK not in shown
    assert "***" in shown
    assert redacted(shown) == shown


@pytest.mark.parametrize("text", PLAIN)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redacted(text) == text


@pytest.mark.parametrize("seed", range(20))
def test_a_password_of_any_letters(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(100):
        noise = "".join(chance.choices(ODD, k=chance.randint(0, 6)))
        password = noise + MARK + "x" + "".join(chance.choices(ODD + "abc123", k=chance.randint(0, 6)))
        for spelled in (password, quote(password), quote(password, safe="")):
            for address in (
                f"rtsp://admin:{spelled}@cam:554/live?fps=5",
                f"https://{spelled}:x@[::1]/live",
                f"admin:{spelled}@cam/live",
            ):
                assert MARK not in redacted(address), address
                assert MARK not in redacted(f"rtspsrc location={address} latency=5 ! x"), address
            secrets = secrets_in(f"rtsp://admin:{spelled}@cam:554/live?fps=5")
            assert MARK not in without_secrets(f"cannot open {spelled}!", secrets), spelled


def test_what_a_library_says_of_an_address_hides_its_secrets() -> None:
    secrets = secrets_in("http://admin:a%20Zq7@cam/x?key=Zq7key")
    said = without_secrets("admin:a%20Zq7 or 'a Zq7' at /x?key=Zq7key", secrets)

    assert said == "*** or '***' at /x?key=***"


@pytest.mark.parametrize("error", [ValueError, OSError, RuntimeError, EdgeSegError])
def test_what_opening_raises_hides_them(
    monkeypatch: pytest.MonkeyPatch,
    error: type[Exception],
) -> None:
    """And so does the traceback: nothing is left of the error that said it."""

    def fail(target: Address) -> NoReturn:
        msg = f"bad address {target}"
        raise error(msg)

    monkeypatch.setitem(opening.OPENERS, Route.NETWORK, fail)
    with pytest.raises(EdgeSegError, match=r"bad address rtsp://\*\*\*@cam") as told:
        open_frame_reader(["rtsp://admin:Zq7@cam/"])

    assert told.value.__cause__ is None


@pytest.mark.parametrize("source", ["admin:Zq7@cam/x", "rtsp:/admin:Zq7@cam/x", "rstp://admin:Zq7@cam/x"])
def test_a_source_that_is_none_is_named_without_its_password(source: str) -> None:
    with pytest.raises(EdgeSegError, match=r"\*\*\*@cam/x") as told:
        open_frame_reader([source])

    assert MARK not in str(told.value)


def test_records_do_not_show_them() -> None:
    source = "rtsp://admin:Zq7@cam/"

    assert MARK not in repr(address_from_source(source))
    assert MARK not in repr(
        RunConfig(source=SourceConfig(sources=(source,)), display=DisplayConfig(web_token="Zq7token"))
    )
