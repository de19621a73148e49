"""What is read of a session's WebVTT, whatever it holds."""

from __future__ import annotations

import random
import time

import pytest

from ut_clips_dagster.results_api.transcripts import MAX_TRANSCRIPT_BYTES
from ut_clips_dagster.transcripts.webvtt_text import Cue, Transcript, read_transcript, write_webvtt

EXAMPLE = b"""\xef\xbb\xbfWEBVTT - a title
X-TIMESTAMP-MAP=LOCAL:00:00:00.000,MPEGTS:0

STYLE
::cue(v) { color: red }

REGION
id:low width:40%

NOTE nobody should see this

intro
00:00:02.000 --> 00:00:05.500 region:low align:start
<v.loud Mary &amp; Bob>Fish &amp; <i>chips</i>,
  5 &lt; 6

01:00:05.500 --> 01:00:09.000
second
"""


def test_cues_keep_times_lines_identifier_and_settings_and_the_file_its_styles() -> None:
    transcript = read_transcript(EXAMPLE)
    first, second = transcript.cues
    lines = ("<v.loud Mary &amp; Bob>Fish &amp; <i>chips</i>,", "  5 &lt; 6")
    assert first == Cue(2000, 5500, lines, "intro", "region:low align:start")
    assert (first.voice, first.text) == ("Mary & Bob", "Fish & chips, 5 < 6")
    assert second == Cue(3605500, 3609000, ("second",))
    assert (second.voice, second.text) == (None, "second")
    assert transcript.styles == ("::cue(v) { color: red }",)
    assert transcript.regions == ("id:low width:40%",)
    assert transcript.problem is None


def test_what_is_written_is_read_again_as_the_same() -> None:
    transcript = read_transcript(EXAMPLE)
    written = write_webvtt(transcript)
    assert written.startswith(b"WEBVTT\n\n")
    assert b"nobody should see this" not in written
    assert read_transcript(written) == transcript


def test_cue_that_ends_before_it_begins_is_dropped() -> None:
    times = ["00:01.000 --> 00:01.000", "00:02.000 --> 00:01.000", "00:03.000 --> 00:03.001"]
    content = "WEBVTT\n\n" + "\n\n".join(f"{span}\ntext" for span in times)
    transcript = read_transcript(content.encode())
    assert transcript == Transcript((Cue(3000, 3001, ("text",)),))


def test_times_with_commas_are_a_problem_and_not_a_silent_session() -> None:
    content = b"WEBVTT\n\n00:00:01,000 --> 00:00:02,000\nlost\n\n00:00:03,000 --> 00:00:04,000\nlost\n"
    transcript = read_transcript(content)
    assert transcript.cues == ()
    assert not transcript.is_readable
    assert transcript.problem == (
        "It holds 2 lines with --> and not one cue that can be read: "
        "WebVTT writes 00:00:01.000, with a point and not with a comma."
    )


def test_cues_that_are_lost_among_others_are_counted() -> None:
    transcript = read_transcript(b"WEBVTT\n\n00:01.000 --> 00:02.000\nkept\n\n00:03,000 --> 00:04,000\nlost\n")
    assert [cue.text for cue in transcript.cues] == ["kept"]
    assert transcript.is_readable
    assert transcript.problem == "1 of 2 cues cannot be read, and are left out."


@pytest.mark.parametrize("content", [b"WEBVTT", b"WEBVTT\n\n", b"WEBVTT\n\nNOTE nobody spoke\n"])
def test_session_in_which_nothing_is_said_is_no_problem(content: bytes) -> None:
    assert read_transcript(content) == Transcript(())
    assert read_transcript(content).is_readable


@pytest.mark.parametrize(
    ("line", "voice", "text"),
    [
        ("Hm. <v Ann>Yes", "Ann", "Hm. Yes"),
        ("<v Ann>Yes</v> <v Bob>No</v>", "Ann", "Yes No"),
        ("<v\tAnn\u00a0Lee >Yes", "Ann Lee", "Yes"),
        ("<v>Yes", None, "Yes"),
        ("<v >Yes", None, "Yes"),
        ("<video>Yes", None, "Yes"),
        ("<b>Yes</b>&nbsp;&nbsp;no", None, "Yes no"),
        ("1 < 2", None, "1 < 2"),
        ("&lt;b&gt; is bold", None, "<b> is bold"),
        ("&#x1F600; &unknown;", None, "\U0001f600 &unknown;"),
        ("a\u2028b\u0000c", None, "a b\ufffdc"),
        ("", None, ""),
    ],
)
def test_text_is_unescaped_without_tags_and_with_its_voice(line: str, voice: str | None, text: str) -> None:
    cue = read_transcript(f"WEBVTT\n\n00:01.000 --> 00:02.000\n{line}\n".encode()).cues[0]
    assert (cue.voice, cue.text) == (voice, text)


def test_character_number_of_more_digits_than_python_reads_stays_as_it_is() -> None:
    line = f"&#{'9' * 5000};"
    assert read_transcript(f"WEBVTT\n\n00:01.000 --> 00:02.000\n{line}\n".encode()).cues[0].text == line


def test_mutated_transcripts_are_read_without_an_error_and_written_so_that_they_read_the_same() -> None:
    dice = random.Random(11)
    pieces = (
        b"--> |\n\n|\r|\0|<v |>|STYLE\n|REGION\n|NOTE |&#|\xff|00:00:09.000| --> |WEBVTT|\xe2\x80\xa8|:|id:x".split(
            b"|"
        )
    )
    read = 0
    for _ in range(1000):
        content = bytearray(EXAMPLE)
        for _ in range(dice.randint(1, 6)):
            at = dice.randrange(len(content))
            content[at : at + dice.randint(0, 4)] = dice.choice(pieces)
        transcript = read_transcript(bytes(content))
        read += bool(transcript.cues)
        if transcript.is_readable:
            assert all(isinstance(cue.text, str) and cue.voice != "" for cue in transcript.cues)
            again = read_transcript(write_webvtt(transcript))
            assert again.cues == transcript.cues, bytes(content)
            assert again.problem is None
    assert 700 < read < 1000


HOSTILE = {
    "empty lines": b"\n",
    "arrows": b"-->\n",
    "cues without text": b"00:01.000 --> 00:02.000\n",
    "openings of tags": b"<v ",
    "digits": b"1",
    "digits before a colon": b"9:",
    "escapes": b"&#",
    "spaces": b" ",
    "zeros": b"\0",
    "no UTF-8": b"\xff",
    "settings": b"a:b ",
}


@pytest.mark.parametrize("where", ["in the header", "in a cue", "in its settings"])
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_content_takes_time_in_proportion_to_its_length(name: str, where: str) -> None:
    before = {"in the header": b"WEBVTT ", "in a cue": b"WEBVTT\n\n00:01.000 --> 00:02.000\n<v ",
              "in its settings": b"WEBVTT\n\n00:01.000 --> 00:02.000 "}[where]  # fmt: skip
    size = MAX_TRANSCRIPT_BYTES // 32
    content = (before + HOSTILE[name] * (size // len(HOSTILE[name])))[:size]
    begun = time.process_time()
    transcript = read_transcript(content)
    assert transcript.is_readable in (True, False)
    assert all(isinstance(cue.text, str) and cue.voice != "" for cue in transcript.cues)
    assert write_webvtt(transcript).startswith(b"WEBVTT")
    assert time.process_time() - begun < 5, "a regular expression goes back and forth"
