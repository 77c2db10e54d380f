"""Prompts files that hold no prompts: one sentence on stderr, exit code 2, nothing written."""

import json
import os

import pytest


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "not valid JSON"),
        ("[]", "objects"),
        ('{"objects": []}', "objects"),
        ('{"objects": {"a": 3}}', "list"),
        ('{"objects": {"a": [3]}}', "type"),
        ('{"objects": {"a": []}}', "Nothing to segment"),
        ('{"objects": {"a": [{"type": "star"}]}}', "star"),
        ('{"objects": {"a": [{"type": "point"}]}}', "position"),
        ('{"objects": {"a": [{"type": "point", "position": [1, 2]}]}}', "three numbers"),
        ('{"objects": {"a": [{"type": "point", "position": [1, 2, 99]}]}}', "outside"),
        ('{"objects": {"a": [{"type": "point", "position": [1, 2, 3], "axis": "Q"}]}}', "axis"),
        (
            '{"objects": {"a": [{"type": "mask", "axis": "K", "index": 77, "shape": [28, 32], "runs": [896]}]}}',
            "slice 77",
        ),
        ('{"objects": {"a": [{"type": "point", "position": [1, 2, 3]}]}, "colors": {"a": 7}}', "color"),
        ('{"version": 7, "objects": {}}', "version"),
        ('{"objects": {"a": [{"type": "point", "position": [NaN, 2, 3]}]}}', "three numbers"),
        ('{"objects": {"a": [{"type": "point", "position": [1e999, 2, 3]}]}}', "three numbers"),
        ('{"space": "ras", "objects": {"a": [{"type": "point", "position": [NaN, 2, 3]}]}}', "three numbers"),
        ('{"objects": {"a": [{"type": "box", "corner_a": [1, 1, 2], "corner_b": [1, 2, -Infinity]}]}}', "corner_b"),
        ('{"objects": {"a": [{"type": "point", "position": "123"}]}}', "three numbers"),
        ('{"objects": {"a": [{"type": "point", "position": ["1", "2", "3"]}]}}', "three numbers"),
        ('{"objects": {"a": [{"type": "point", "position": [1' + "0" * 400 + ", 2, 3]}]}}", "three numbers"),
        ('{"objects": {"a": [{"type": "point", "position": [1' + "0" * 5000 + ", 2, 3]}]}}", "no prompts"),
        ("[" * 100_000, "no prompts"),
        ('{"objects": {"a": [{"type": ["point"], "position": [1, 2, 3]}]}}', "type"),
        ('{"objects": {"": [{"type": "point", "position": [1, 2, 3]}]}}', "name"),
        ('{"objects": {"a": [{"type": "point", "position": [1, 2, 3]}], "b": []}}', "no prompts for 'b'"),
        (json.dumps({"objects": {"a": [{"type": "point", "position": [1, 2, 3]}] * 2000}}), "2000 prompts"),
        (json.dumps({"objects": {f"o{n}": [{"type": "point", "position": [1, 2, 3]}] for n in range(300)}}), "300"),
        (
            '{"objects": {"a": [{"type": "mask", "axis": "K", "index": 3, "shape": [3, 3], "runs": [0, 9]}]}}',
            "[28, 32]",
        ),
        (
            '{"objects": {"a": [{"type": "mask", "index": 3, "shape": [999999, 999999], "runs": [0, 999998000001]}]}}',
            "[28, 32]",
        ),
        ('{"objects": {"a": [{"type": "mask", "axis": [1], "index": 3, "shape": [3, 3], "runs": [9]}]}}', "I, J or K"),
        ('{"space": "lps", "objects": {}}', "space"),
        ('{"objects": {"a": [{"type": "mask", "axis": "K", "index": 3, "shape": [28, 32], "runs": [896]}]}}', "empty"),
        ('{"objects": {"\\ud800": [{"type": "point", "position": [1, 2, 3]}]}}', "cannot be shown"),
        (json.dumps({"objects": {"a" * 100_000: [{"type": "point", "position": [1, 2, 3]}]}}), "longer than 200"),
        (
            '{"objects": {"a": [{"type": "point", "position": [1, 2, 3], "postive": false}]}}',
            '"postive", which is none',
        ),
        ('{"objects": {"a": [{"type": "point", "position": [1, 2, 3], "index": 5}]}}', '"index", which is none'),
        (
            '{"objects": {"a": [{"type": "box", "corner_a": [1, 1, 2], "corner_b": [9, 9, 2], "positive": false}]}}',
            'A box in the prompts file has an entry "positive", which is none',
        ),
        (
            '{"objects": {"a": [{"type": "box", "axis": "I", "corner_a": [1, 1, 2], "corner_b": [9, 9, 2]}]}}',
            "says 'axis' I and is flat along K",
        ),
        ('{"objects": {}, "colours": {}}', '"colours", which is none'),
        ('{"objects": {"a": [{"type": "point", "position": [1, 2, 3]}], "a": []}}', '"a" twice'),
        (json.dumps({"objects": {"a": [0] * 2000}}), "2000 prompts"),
        (
            '{"objects": {"a": [{"type": "point", "position": [1, 2, 3]}, '
            '{"type": "point", "position": [1, 2, 3.4], "axis": "I", "positive": false}]}}',
            "positive and a negative point in voxel 1,2,3",
        ),
        ('\ufeff{"objects": {"a": [{"type": "point", "position": [1, 2, 99]}]}}', "outside the volume"),
    ],
)
def test_prompt_files(refused, ct, out, weights, tmp_path, content, said):
    file = tmp_path / "prompts.json"
    file.write_text(content, encoding="utf-8")
    refused("segment", ct, "--weights", weights, "--output", out, "--prompts", file, said=said)


def test_binary_prompt_file(refused, ct, out, weights):
    refused("segment", ct, "--weights", weights, "--output", out, "--prompts", ct, said="cannot be read")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in folders")
def test_a_pipe_is_not_waited_for(refused, ct, out, weights, tmp_path):
    os.mkfifo(tmp_path / "prompts.json")
    refused("segment", ct, "--weights", weights, "--output", out, "--prompts", tmp_path / "prompts.json", said="pipe")
