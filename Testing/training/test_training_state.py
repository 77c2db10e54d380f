"""What a killed run finds again: a whole state of its own, every random state, and a log without repeats."""

import errno
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from SAM2_3dMedLib.training import state_files
from SAM2_3dMedLib.training.distributed import Processes
from SAM2_3dMedLib.training.random_states import Randomness
from SAM2_3dMedLib.training.recipe import RecipeError
from SAM2_3dMedLib.training.resuming import take_up
from SAM2_3dMedLib.training.run_log import RunLog
from SAM2_3dMedLib.training.state import Progress, StateError, TrainState
from SAM2_3dMedLib.training.state_files import has_state, read_state
from SAM2_3dMedLib.training.trainer import Trainer

CPU = torch.device("cpu")


def _state(recipe, step: int = 0) -> TrainState:
    state = TrainState(recipe, CPU, data="3 cases, checksum 0")
    state.progress.step = step
    return state


def test_a_state_of_another_run_is_refused_and_the_difference_told(tmp_path, small, small_recipe) -> None:
    with pytest.raises(StateError, match="no saved training state"):
        read_state(tmp_path)
    _state(small_recipe()).save(tmp_path)
    with pytest.raises(StateError, match="recipe 'small', not 'other'"):
        _state(small_recipe(name="other")).load(tmp_path)
    with pytest.raises(StateError, match=r"whose weight_decay is 0.05, and the recipe says 0.1"):
        _state(small_recipe(weight_decay=0.1)).load(tmp_path)
    with pytest.raises(StateError, match=r"on other cases \(3 cases, checksum 0; now 4 cases"):
        TrainState(small_recipe(), CPU, data="4 cases, checksum 1").load(tmp_path)
    longer = [stage | {"steps": 50} for stage in small["stages"]]
    _state(small_recipe(stages=longer, log_every=5)).load(tmp_path)


def test_a_damaged_state_is_said_to_be_so(tmp_path, small_recipe) -> None:
    path = _state(small_recipe()).save(tmp_path)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(StateError, match="is damaged"):
        read_state(tmp_path)


def test_a_full_disk_leaves_the_former_state_and_says_so(tmp_path, small_recipe, monkeypatch) -> None:
    _state(small_recipe(), step=1).save(tmp_path)

    def full(tensors, path, metadata):
        Path(path).write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(state_files, "save_file", full)
    with pytest.raises(StateError, match=r"could not be written .*No space left.* go on with --resume"):
        _state(small_recipe(), step=2).save(tmp_path)
    assert read_state(tmp_path)[1]["progress"]["step"] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["state.safetensors"]


def _end_at(number):
    """Stands in for `write_bytes_whole`: the process ends when the piece of this number is due."""
    written = []

    def write(path, data):
        if len(written) == number:
            raise KeyboardInterrupt
        written.append(path)
        path.write_bytes(data)
        return path

    return write


@pytest.mark.parametrize("ends_at", ["first piece", "second piece", "index"])
def test_the_former_compact_state_remains_until_the_new_one_is_whole(
    tmp_path, small_recipe, monkeypatch, ends_at
) -> None:
    monkeypatch.setattr(state_files, "PIECE_BYTES", 12 * 2**20)
    _state(small_recipe(), step=1).write_compact(tmp_path)
    before = read_state(tmp_path)[1]["progress"]["step"]
    later = _state(small_recipe(), step=2)
    with monkeypatch.context() as broken:
        if ends_at == "index":
            broken.setattr(state_files, "write_text_whole", _end_at(0))
        else:
            broken.setattr(state_files, "write_bytes_whole", _end_at(0 if ends_at == "first piece" else 1))
        with pytest.raises(KeyboardInterrupt):
            later.write_compact(tmp_path)
    assert read_state(tmp_path)[1]["progress"]["step"] == before == 1
    pieces = later.write_compact(tmp_path)
    assert read_state(tmp_path)[1]["progress"]["step"] == 2
    assert set(tmp_path.iterdir()) == {*pieces, tmp_path / "compact.json"}
    pieces[0].unlink()
    with pytest.raises(StateError, match="lacks the piece"):
        read_state(tmp_path)


def test_pieces_of_version_0_2_0_are_still_read(tmp_path, small_recipe) -> None:
    pieces = _state(small_recipe(), step=5).write_compact(tmp_path)
    for number, piece in enumerate(pieces):
        piece.rename(tmp_path / f"compact.{number:02d}")
    (tmp_path / "compact.json").unlink()
    assert has_state(tmp_path)
    assert read_state(tmp_path)[1]["progress"]["step"] == 5


def _draws(randomness: Randomness) -> list[float]:
    values = [randomness.rng.random(), float(torch.rand((), generator=randomness.generator)), float(torch.rand(()))]
    return values


def test_all_three_generators_go_on_where_they_were() -> None:
    first = Randomness(3, CPU)
    _draws(first)
    saved = json.loads(json.dumps(first.snapshot()))
    expected = [_draws(first) for _ in range(2)]
    second = Randomness(4, CPU)
    second.restore(saved)
    assert [_draws(second) for _ in range(2)] == expected


def test_processes_draw_differently_and_each_finds_its_own_draws_again(tmp_path, small_recipe) -> None:
    states = []
    expected = []
    for rank in (0, 1):
        randomness = Randomness(1, CPU)
        randomness.part_from(rank, step=0)
        states.append(randomness.snapshot())
        expected.append(_draws(randomness))
    assert not set(expected[0]) & set(expected[1])
    _state(small_recipe()).save(tmp_path, states)
    for rank in (0, 1):
        resumed = _state(small_recipe())
        resumed.load(tmp_path, rank)
        assert _draws(resumed.randomness) == expected[rank]
    third = _state(small_recipe())
    third.load(tmp_path, rank=2)
    assert not set(_draws(third.randomness)) & {*expected[0], *expected[1]}


def test_the_papers_parts_learn_at_a_rate_of_their_own(store, small, small_recipe) -> None:
    stage = small["stages"][0] | {"learning_rate": 1e-3, "final_learning_rate": 1e-3, "warmup_steps": 0}
    told = []
    sink = type("Sink", (), {"write": staticmethod(told.append)})
    trainer = Trainer(small_recipe(stages=[stage], parts_rate=5.0), store, CPU, [sink])
    trainer.run()
    names = {parameter: name for name, parameter in trainer.state.network.named_parameters()}
    rates = {names[p]: group["lr"] for group in trainer.state.optimizer.param_groups for p in group["params"]}
    assert len(rates) == len(names)
    assert rates["adapter.up.weight"] == rates["boundary_fusion.gate"] == pytest.approx(5e-3)
    assert rates["memory_encoder.out_proj.weight"] == rates["memory_encoder.out_proj.bias"] == pytest.approx(1e-3)
    assert [facts["lr"] for facts in told if "lr" in facts] == pytest.approx([1e-3])
    with pytest.raises(RecipeError, match="parts_rate"):
        small_recipe(parts_rate=0.0)


def test_the_log_of_a_killed_run_loses_what_its_state_does_not_have(tmp_path) -> None:
    log = RunLog(tmp_path / "log.jsonl")
    log.path.write_text('{"step": 1, "to{"step": 1, "total": 0.5}\n')  # two halves, as older versions left them
    for step in range(1, 7):
        log.write({"step": step, "total": {2: np.nan, 3: np.inf}.get(step, 0.5)})
        if step in (2, 4, 6):
            log.write({"step": step, "validation": {"box": 0.5}})
    with log.path.open("a") as stream:
        stream.write('{"step": 7, "tot')  # killed in the middle of a line
    log.go_on_from(Progress(step=4, validated=2))
    lines = [json.loads(line) for line in log.path.read_text().splitlines()]
    assert [line["step"] for line in lines if "total" in line] == [1, 2, 3, 4]
    assert [line["step"] for line in lines if "validation" in line] == [2]
    assert [line["total"] for line in lines if "total" in line] == [0.5, None, None, 0.5]


class _AnotherHost(Processes):
    """Two processes of which the other one sees no saved state."""

    def gather(self, value):
        return [value, (0, value[1])]


def test_hosts_that_do_not_see_the_same_state_are_told_to_share_it(tmp_path, store, small_recipe) -> None:
    first = Trainer(small_recipe(), store, CPU)
    first.state.progress.step = 4
    first.save(tmp_path)
    (tmp_path / ".partial-1.safetensors").touch()  # the kill met a save
    take_up(first, tmp_path, RunLog(tmp_path / "log.jsonl"))
    assert first.state.progress.step == 4
    assert [path.name for path in tmp_path.iterdir()] == ["state.safetensors"]
    second = Trainer(small_recipe(), store, CPU, processes=_AnotherHost())
    with pytest.raises(StateError, match=r"process 0: step 4, .*; process 1: step 0, .* share"):
        take_up(second, tmp_path, RunLog(tmp_path / "log.jsonl"))
